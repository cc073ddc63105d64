//! `exec` where krun itself cannot go, or could not come back from: a container with a user namespace, and cgroups
//! below a container's.
//!
//! libcontainer joins all of a container's namespaces but that of users, which has to be the first: the
//! rights over the others come with it. A process cannot leave it again. So a child of krun's goes
//! there and has libcontainer make the program's process beside it, as krun's child.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};
use procfs::process::MountInfo;

use super::sub_cgroup::{self, SubCgroup};
use crate::container::process::ProcessName;
use crate::in_child;
use crate::rootless::HiddenCgroups;

/// Calls `build`, and if need be in a child: in the user namespace of `init`, if that has one, and in these
/// cgroups, or those below.
///
/// `build` is told whether the process that it gives is to be a child of its caller's parent. The error is its
/// own, or says what else went wrong.
pub(super) fn build(
    init: Option<ProcessName>,
    sub_cgroup: &SubCgroup,
    cgroups: &[PathBuf],
    hierarchies: &[MountInfo],
    build: impl FnOnce(bool) -> Result<i32, String>,
) -> Result<i32, String> {
    if init.is_none() && !sub_cgroup.is_by_krun() {
        return build(false);
    }
    in_child::run(None, || {
        // libcontainer takes whoever is in a user namespace for unprivileged, and forgives that it cannot
        // enter a cgroup.
        sub_cgroup::enter(sub_cgroup.directories(cgroups))?;
        // Or it would enter the container's.
        let _hidden = sub_cgroup
            .is_by_krun()
            .then(|| HiddenCgroups::begin(hierarchies))
            .transpose()
            .map_err(|error| format!("hide the cgroups: {error}"))?;
        init.map_or(Ok(()), join).map_err(|error| format!("join the user namespace: {error}"))?;
        build(true)
    })
}

fn join(init: ProcessName) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{}/ns/user", init.pid))?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWUSER)?)
}
