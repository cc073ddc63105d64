//! The `hooks` section.

use crate::Fault;
use crate::field::Field;

/// The six points of a container's life at which hooks run, in that order.
pub(crate) const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(super) fn check(hooks: &Field<'_>, faults: &mut Vec<Fault>) {
    for point in POINTS {
        for hook in hooks.child(point).elements(faults) {
            hook.child("path").absolute_path(faults);
            hook.child("args").c_strings(faults);
            hook.child("env").c_strings(faults);
            timeout(&hook.child("timeout"), faults);
        }
    }
}

fn timeout(field: &Field<'_>, faults: &mut Vec<Fault>) {
    if field.is_present() && !field.is_positive_integer() {
        faults.push(field.fault("a number of seconds above 0"));
    }
}
