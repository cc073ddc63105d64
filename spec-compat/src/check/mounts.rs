//! The `mounts` section.

use crate::Fault;
use crate::field::{Field, is_c_string};

pub(super) fn check(mounts: &Field<'_>, faults: &mut Vec<Fault>) {
    const DESTINATION: &str = "a path in the container";
    const OPTION: &str = "text";
    for mount in mounts.elements(faults) {
        // A relative destination is deprecated and means one from the root; runc takes it.
        let destination = mount.child("destination");
        if let Some(text) = destination.required_text(DESTINATION, faults)
            && (text.is_empty() || !is_c_string(text))
        {
            faults.push(destination.fault(DESTINATION));
        }
        let mut binds = false;
        for option in mount.child("options").elements(faults) {
            option.c_string(faults);
            binds |= matches!(option.text(OPTION, &mut Vec::new()), Some("bind" | "rbind"));
        }
        // By itself it is no file system of Linux's: runc fails with "no such device".
        let kind = mount.child("type");
        kind.c_string(faults);
        let source = mount.child("source");
        source.c_string(faults);
        if binds && !source.is_present() {
            faults.push(source.fault("the path of what is bound"));
        }
        if !binds && kind.text(OPTION, &mut Vec::new()) == Some("bind") {
            faults.push(kind.fault("the option bind or rbind with it"));
        }
    }
}
