//! Where objects belong there are objects, and in a list no list.
//!
//! The typed form would take a list for an object's members in their order.

use serde_json::Value;

use crate::Fault;
use crate::field::Field;

/// Sections and their sections that are objects.
const OBJECTS: [&str; 22] = [
    "root",
    "process",
    "process.user",
    "process.consoleSize",
    "process.capabilities",
    "process.scheduler",
    "process.ioPriority",
    "process.execCPUAffinity",
    "hooks",
    "annotations",
    "linux",
    "linux.sysctl",
    "linux.resources",
    "linux.resources.memory",
    "linux.resources.cpu",
    "linux.resources.pids",
    "linux.resources.blockIO",
    "linux.resources.network",
    "linux.seccomp",
    "linux.intelRdt",
    "linux.personality",
    "linux.timeOffsets",
];

pub(super) fn check(root: &Field<'_>, document: &Value, faults: &mut Vec<Fault>) {
    for path in OBJECTS {
        path.split('.').fold(root.clone(), |field, name| field.child(name)).object(faults);
    }
    lists_in_lists(root, document, faults);
}

fn lists_in_lists(field: &Field<'_>, value: &Value, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                lists_in_lists(&field.child(name), member, faults);
            }
        }
        Value::Array(values) => {
            for (element, value) in field.elements(faults).iter().zip(values) {
                if value.is_array() {
                    faults.push(element.fault("an object, text or a number"));
                } else {
                    lists_in_lists(element, value, faults);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
