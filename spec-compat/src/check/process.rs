//! The `process` section: what is run, and as whom.

use crate::Fault;
use crate::field::{Field, is_c_string};

const CAPABILITY_SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// The limits `setrlimit(2)` knows.
const RLIMITS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// The highest number of a user or group, as for runc. From 2³¹ on, not all of Linux and its programs take
/// a number for one, and 2³² - 1 says "as before" to `setresuid(2)`: the program would stay root.
pub const LAST_ID: u32 = i32::MAX.unsigned_abs();

pub(super) fn check(process: &Field<'_>, faults: &mut Vec<Fault>) {
    if !process.is_present() {
        faults.push(process.fault("an object with the program to run"));
        return;
    }
    arguments(&process.child("args"), faults);
    user(&process.child("user"), faults);
    process.child("cwd").absolute_path(faults);
    console_size(&process.child("consoleSize"), faults);
    environment(&process.child("env"), faults);
    capabilities(&process.child("capabilities"), faults);
    limits(&process.child("rlimits"), faults);
}

fn arguments(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "a list with the program and its arguments";
    let before = faults.len();
    let arguments = field.elements(faults);
    if arguments.is_empty() && faults.len() == before {
        faults.push(field.fault(EXPECTED));
    }
    for argument in &arguments {
        argument.c_string(faults);
    }
}

fn user(user: &Field<'_>, faults: &mut Vec<Fault>) {
    // runc's words.
    const EXPECTED: &str = "another number: uids and gids must be in range 0-2147483647";
    let mut ids = vec![user.child("uid"), user.child("gid")];
    ids.extend(user.child("additionalGids").elements(faults));
    // What is no number at all is told as of the wrong type.
    for id in ids.iter().filter(|id| id.is_number()) {
        id.integer(0..=i64::from(LAST_ID), EXPECTED, faults);
    }
}

/// runc cuts bits off, and has another size.
fn console_size(size: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "a number of characters from 0 to 65535";
    for side in ["height", "width"].map(|side| size.child(side)) {
        if side.is_number() {
            side.integer(0..=i64::from(u16::MAX), EXPECTED, faults);
        }
    }
}

fn environment(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "NAME=value";
    for variable in field.elements(faults) {
        let Some(text) = variable.text(EXPECTED, faults) else {
            continue;
        };
        let is_assignment = text.find('=').is_some_and(|equals| equals > 0);
        if !is_assignment || !is_c_string(text) {
            faults.push(variable.fault(EXPECTED));
        }
    }
}

/// A name that no capability has is no fault: the specification wants a warning, which [`crate::Config`] gives.
fn capabilities(field: &Field<'_>, faults: &mut Vec<Fault>) {
    for set in CAPABILITY_SETS {
        for capability in field.child(set).elements(faults) {
            capability.text("a capability such as CAP_CHOWN", faults);
        }
    }
}

fn limits(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "a resource limit such as RLIMIT_NOFILE";
    let mut seen = Vec::new();
    for limit in field.elements(faults) {
        let name = limit.child("type");
        let Some(text) = name.required_text(EXPECTED, faults) else {
            continue;
        };
        if !RLIMITS.contains(&text) {
            faults.push(name.fault(EXPECTED));
        } else if seen.contains(&text) {
            faults.push(name.fault("each resource limit once"));
        }
        seen.push(text);
        let (soft, hard) = (limit.child("soft"), limit.child("hard"));
        if soft.number() > hard.number() {
            faults.push(soft.fault("no more than hard"));
        }
    }
}
