//! The wait before a process can be put into a cgroup, begun ahead of time.
//!
//! The first write to a `cgroup.procs` waits until every processor has taken notice that processes may
//! no longer fork and end unseen (`cgroup_threadgroup_rwsem`, which a grace period of RCU precedes): 5 to
//! 15 ms. Writes that follow soon find it so. Here a child waits while krun reads and opens what it
//! needs.

use std::fs;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use procfs::process::MountInfo;

use super::memberships;
use crate::own_binary;

/// A child that enters the cgroup it is in. Dropping this waits for its end.
#[derive(Debug)]
pub(crate) struct Forerunner(Pid);

impl Forerunner {
    /// Sends it out, from a process with one thread. Without it nothing is different but the time it takes.
    ///
    /// If krun executes itself after that, the one that was sent before is on its way already.
    pub(crate) fn send(hierarchies: &[MountInfo]) -> Option<Self> {
        if own_binary::is_executed_again() {
            return None;
        }
        let home = memberships::home(hierarchies, &hierarchies.first()?.mount_point).ok()?;
        let file = home.join("cgroup.procs");
        krun_sys::fork_to(|| drop(fs::write(&file, "0"))).ok().map(Self)
    }
}

impl Drop for Forerunner {
    fn drop(&mut self) {
        // Whoever takes leave of all children may have been first.
        let _ = waitpid(self.0, None);
    }
}
