//! The `linux` section.

use crate::Fault;
use crate::field::Field;

/// The namespaces of Linux, by the specification's names.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

/// The propagation types of `mount(2)`; those with `r` mean the whole tree.
const PROPAGATIONS: [&str; 8] =
    ["shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"];

pub(super) fn check(linux: &Field<'_>, faults: &mut Vec<Fault>) {
    namespaces(&linux.child("namespaces"), faults);
    propagation(&linux.child("rootfsPropagation"), faults);
    for list in ["maskedPaths", "readonlyPaths"] {
        for path in linux.child(list).elements(faults) {
            path.absolute_path(faults);
        }
    }
    for device in linux.child("devices").elements(faults) {
        device.child("path").absolute_path(faults);
        for name in ["major", "minor"] {
            device.child(name).integer(0..=i64::from(u32::MAX), "a device number", faults);
        }
    }
    for rule in linux.child("resources").child("devices").elements(faults) {
        device_rule(&rule, faults);
    }
    for rule in linux.child("seccomp").child("syscalls").elements(faults) {
        for name in rule.child("names").elements(faults) {
            const EXPECTED: &str = "the name of a system call";
            if name.text(EXPECTED, faults).is_some_and(str::is_empty) {
                faults.push(name.fault(EXPECTED));
            }
        }
    }
}

fn device_rule(rule: &Field<'_>, faults: &mut Vec<Fault>) {
    const TYPE: &str = "one of a, b, c";
    const ACCESS: &str = "some of r, w, m";
    const NUMBER: &str = "a device number, or -1 for all";
    let kind = rule.child("type");
    if kind.text(TYPE, faults).is_some_and(|text| !["a", "b", "c"].contains(&text)) {
        faults.push(kind.fault(TYPE));
    }
    let access = rule.child("access");
    // Further letters are passed over, with a warning.
    let is_access = |text: &str| text.contains(['r', 'w', 'm']);
    if access.required_text(ACCESS, faults).is_some_and(|text| !is_access(text)) {
        faults.push(access.fault(ACCESS));
    }
    for name in ["major", "minor"] {
        rule.child(name).integer(-1..=i64::from(u32::MAX), NUMBER, faults);
    }
}

fn namespaces(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "one of cgroup, ipc, mount, network, pid, time, user, uts";
    let mut seen = Vec::new();
    for namespace in field.elements(faults) {
        let kind = namespace.child("type");
        let Some(text) = kind.required_text(EXPECTED, faults) else {
            continue;
        };
        if !NAMESPACES.contains(&text) {
            faults.push(kind.fault(EXPECTED));
        } else if seen.contains(&text) {
            faults.push(kind.fault("each namespace once"));
        }
        seen.push(text);
        let path = namespace.child("path");
        // An empty path means a new namespace, as an absent one does.
        if path.text("an absolute path", faults).is_some_and(|text| !text.is_empty()) {
            path.absolute_path(faults);
        }
    }
}

fn propagation(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "one of shared, slave, private, unbindable, or these with r in front";
    if let Some(text) = field.text(EXPECTED, faults)
        && !text.is_empty()
        && !PROPAGATIONS.contains(&text)
    {
        faults.push(field.fault(EXPECTED));
    }
}
