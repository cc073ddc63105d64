//! Programs: headers of ELF files and the first line of scripts.
#![no_main]

use std::fs::File;
use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use monitor::loader::{elf, script};
use monitor_sys::guest_memory::{GUEST_END, PAGE};
use rustix::fs::{MemfdFlags, memfd_create};

fuzz_target!(|bytes: &[u8]| {
    if let Some(found) = script::parse(&bytes[..bytes.len().min(script::HEAD_LEN)]) {
        assert!(!found.path.as_os_str().is_empty(), "an interpreter has a name");
    }
    let mut file = File::from(memfd_create("elf", MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all(bytes).expect("there is memory");
    let Ok(program) = elf::read(&file) else { return };
    assert!(!program.segments.is_empty(), "there is something to load");
    for segment in &program.segments {
        let end = segment.address.checked_add(segment.memory_len);
        assert!(end.is_some_and(|end| end <= GUEST_END), "{segment:?} leaves the guest's memory");
        assert!(segment.file_len <= segment.memory_len, "{segment:?} is longer in the file");
        assert!(segment.alignment.is_power_of_two() && segment.alignment >= PAGE, "{segment:?}");
    }
});
