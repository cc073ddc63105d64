//! A guest's own seccomp filter: what is taken ends for each call, and is the same when it is written and read again.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use monitor::seccomp::{
    Action,
    program::{Data, Program},
};

fuzz_target!(|bytes: &[u8]| {
    // Whole instructions, then what they are asked about.
    let (program, call) = bytes.split_at(bytes.len() / 8 * 8);
    let Some(program) = Program::decode(program) else { return };
    assert_eq!(
        Program::decode(&program.encode()).map(|same| same.encode()),
        Some(program.encode())
    );
    let mut call = Unstructured::new(call);
    let number = call.arbitrary().unwrap_or_default();
    let arguments = call.arbitrary().unwrap_or([u64::MAX; 6]);
    let word = program.run(&Data::new(number, 0x40_0000, arguments));
    let _any_action = Action::from_word(word);
    if let Some(always) = program.run_on_number(number) {
        assert_eq!(word, always, "what does not ask for arguments does not depend on them");
    }
});
