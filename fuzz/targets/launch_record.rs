//! The launch record, and the line by which a check tells what it has found out: what is taken is what would be
//! written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::seccomp::Filters;
use monitor_launch::{Findings, LaunchRecord};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = LaunchRecord::decode(bytes) {
        assert_eq!(LaunchRecord::decode(&record.encode()), Ok(record.clone()));
        let _any_answer = Filters::decode(&record.filters);
    }
    if let Ok(line) = std::str::from_utf8(bytes)
        && let Some(findings) = Findings::from_line(line)
    {
        assert_eq!(Findings::from_line(&findings.to_line()), Some(findings));
    }
});
