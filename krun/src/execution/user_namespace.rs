//! `exec` into a container with a user namespace.
//!
//! libcontainer joins all of a container's namespaces but this one, which has to be the first: the
//! rights over the others come with it. A process cannot leave it again. So a child of krun's goes
//! there and has libcontainer make the program's process beside it, as krun's child.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

use crate::container::memberships;
use crate::container::process::ProcessName;
use crate::in_child;

/// Calls `build` in the user namespace of `init` and in these cgroups.
///
/// `build` gives a process that is a child of its caller's parent. The error is its own, or says what
/// else went wrong.
pub(super) fn build_inside(
    init: ProcessName,
    cgroups: &[PathBuf],
    build: impl FnOnce() -> Result<i32, String>,
) -> Result<i32, String> {
    in_child::run(None, || {
        join(init, cgroups).map_err(|error| format!("join the user namespace: {error}"))?;
        build()
    })
}

fn join(init: ProcessName, cgroups: &[PathBuf]) -> io::Result<()> {
    // libcontainer takes whoever is in a user namespace for unprivileged, and forgives that it cannot
    // enter a cgroup.
    for directory in cgroups {
        memberships::enter(directory)?;
    }
    let namespace = File::open(format!("/proc/{}/ns/user", init.pid))?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWUSER)?)
}
