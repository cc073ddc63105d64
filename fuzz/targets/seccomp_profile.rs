//! A workload's seccomp profile and what is made of it: a program that the gate takes, and that says of a call which
//! is named once, and of one that is not named, what the profile says.
#![no_main]

use krun_seccomp::{compile, compile_natively, flags};
use libfuzzer_sys::fuzz_target;
use monitor::seccomp::{
    Action,
    program::{Data, LONGEST, Program},
};
use spec_compat::Config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(profile) = std::str::from_utf8(bytes) else { return };
    let document = format!(
        r#"{{"ociVersion": "1.0.2", "root": {{"path": "r"}}, "process": {{"cwd": "/", "args": ["a"]}},
            "linux": {{"seccomp": {profile}}}}}"#
    );
    let Ok(config) = Config::parse(document.as_bytes()) else { return };
    let Some(profile) = config.seccomp_profile() else { return };
    let _any_answer = (compile_natively(profile), flags(profile));
    let Ok(bytes) = compile(profile) else { return };
    if bytes.len() / 8 > LONGEST {
        return;
    }
    let program = Program::decode(&bytes).expect("the gate takes what krun makes");
    let action = |number| Action::from_word(program.run(&Data::new(number, 0, [0; 6])));
    // getpid(2), by number and name: a call without arguments, which C libraries do not hide.
    let rules = || profile.syscalls().iter().flatten();
    let names = || rules().filter(|rule| rule.names().iter().any(|name| name == "getpid"));
    if let (Some(rule), 1) = (names().next(), names().count())
        && rule.args().iter().flatten().next().is_none()
    {
        let says = format!("{:?}", rule.action());
        assert_eq!(
            says.ends_with("Allow"),
            action(39) == Action::Allow,
            "{says}: {:?}",
            action(39)
        );
    }
});
