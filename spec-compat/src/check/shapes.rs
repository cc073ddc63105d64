//! Where objects belong there are objects.
//!
//! The typed form would take a list for an object's members in their order. Only what the specification
//! knows is looked at: other members may hold anything.

use crate::Fault;
use crate::field::Field;

/// Sections, their sections, and what is in lists (`[]`) and under names of the user's choice (`*`), as far
/// as they are objects.
const OBJECTS: &[&str] = &[
    "root",
    "process",
    "process.user",
    "process.consoleSize",
    "process.capabilities",
    "process.rlimits.[]",
    "process.scheduler",
    "process.ioPriority",
    "process.execCPUAffinity",
    "mounts.[]",
    "mounts.[].uidMappings.[]",
    "mounts.[].gidMappings.[]",
    "hooks",
    "hooks.prestart.[]",
    "hooks.createRuntime.[]",
    "hooks.createContainer.[]",
    "hooks.startContainer.[]",
    "hooks.poststart.[]",
    "hooks.poststop.[]",
    "annotations",
    "linux",
    "linux.uidMappings.[]",
    "linux.gidMappings.[]",
    "linux.sysctl",
    "linux.namespaces.[]",
    "linux.devices.[]",
    "linux.netDevices",
    "linux.netDevices.*",
    "linux.resources",
    "linux.resources.devices.[]",
    "linux.resources.memory",
    "linux.resources.cpu",
    "linux.resources.pids",
    "linux.resources.blockIO",
    "linux.resources.blockIO.weightDevice.[]",
    "linux.resources.blockIO.throttleReadBpsDevice.[]",
    "linux.resources.blockIO.throttleWriteBpsDevice.[]",
    "linux.resources.blockIO.throttleReadIOPSDevice.[]",
    "linux.resources.blockIO.throttleWriteIOPSDevice.[]",
    "linux.resources.hugepageLimits.[]",
    "linux.resources.network",
    "linux.resources.network.priorities.[]",
    "linux.resources.rdma",
    "linux.resources.rdma.*",
    "linux.resources.unified",
    "linux.seccomp",
    "linux.seccomp.syscalls.[]",
    "linux.seccomp.syscalls.[].args.[]",
    "linux.intelRdt",
    "linux.memoryPolicy",
    "linux.personality",
    "linux.timeOffsets",
    "linux.timeOffsets.*",
];

pub(super) fn check(root: &Field<'_>, faults: &mut Vec<Fault>) {
    for path in OBJECTS {
        let start = vec![root.clone()];
        let places = path.split('.').fold(start, |places, name| {
            places.iter().flat_map(|place| below(place, name)).collect()
        });
        for place in &places {
            place.object(faults);
        }
    }
}

fn below<'a>(place: &Field<'a>, name: &str) -> Vec<Field<'a>> {
    match name {
        // That it is no list is said where it is used.
        "[]" => place.elements(&mut Vec::new()),
        "*" => place.members(),
        _ => vec![place.child(name)],
    }
}
