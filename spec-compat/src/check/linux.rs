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
