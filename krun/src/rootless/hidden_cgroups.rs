//! The hierarchies of version 1, hidden from libcontainer.
//!
//! libcontainer puts every container into a cgroup of each hierarchy, for which it waits (ADR 10), and takes it for
//! a fault if it may not. runc passes over that in a rootless container. krun, or a child of krun's, then has entered what it may enter, which
//! its children inherit; libcontainer gets a stand-in, whose files are files like others. It is mounted in
//! a namespace of krun's own for as long as this lives, and not in the one that is for the container.

use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use procfs::process::MountInfo;
use rustix::io::{DupFlags, dup3};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::fchdir;

/// Where hierarchies are mounted.
const HIERARCHIES: &str = "/sys/fs/cgroup";
const OWN_NAMESPACE: &str = "/proc/self/ns/mnt";

/// The state of being hidden.
#[derive(Debug)]
pub(crate) struct HiddenCgroups {
    /// Where krun belongs.
    home: OwnedFd,
    directory: OwnedFd,
    /// A copy of that, without the stand-in.
    unchanged: OwnedFd,
}

impl HiddenCgroups {
    /// The `cgroupsPath` to be used with the stand-in: its files are at the top.
    pub(crate) const PATH: &str = "/";

    /// Hides the hierarchies from this process and its children.
    pub(crate) fn begin(hierarchies: &[MountInfo]) -> io::Result<Self> {
        let home = File::open(OWN_NAMESPACE)?.into();
        let directory = File::open(".")?.into();
        unshare(CloneFlags::CLONE_NEWNS)?;
        let unchanged = File::open(OWN_NAMESPACE)?.into();
        let hidden = Self { home, directory, unchanged };
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private)?;
        mount("krun", HIERARCHIES, "tmpfs", MountFlags::empty(), c"mode=755")?;
        for hierarchy in hierarchies.iter().filter(|one| one.fs_type == "cgroup") {
            if hierarchy.mount_point.starts_with(HIERARCHIES) {
                make_stand_in(&hierarchy.mount_point)?;
            }
        }
        Ok(hidden)
    }

    /// The same in a child that ends while they are hidden. The number `place` becomes that of the mount
    /// namespace for the container.
    pub(crate) fn begin_for_good(hierarchies: &[MountInfo], place: &mut OwnedFd) -> io::Result<()> {
        let hidden = ManuallyDrop::new(Self::begin(hierarchies)?);
        Ok(dup3(&hidden.unchanged, place, DupFlags::CLOEXEC)?)
    }

    /// The mount namespace for the container: libcontainer's processes inherit the descriptor.
    pub(crate) fn mounts_for_container(&self) -> String {
        format!("/proc/self/fd/{}", self.unchanged.as_raw_fd())
    }
}

/// Whether all of these would be hidden: libcontainer finds hierarchies that are mounted elsewhere, too.
pub(crate) fn are_hideable(hierarchies: &[MountInfo]) -> bool {
    let mut all = hierarchies.iter().filter(|one| one.fs_type == "cgroup");
    all.all(|one| one.mount_point.starts_with(HIERARCHIES))
}

fn make_stand_in(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    File::create(path.join("cgroup.procs")).map(drop)
}

impl Drop for HiddenCgroups {
    fn drop(&mut self) {
        let back = setns(&self.home, CloneFlags::CLONE_NEWNS).map_err(io::Error::from);
        let back = back.and_then(|()| Ok(fchdir(&self.directory)?));
        if let Err(error) = back {
            // So it is for a child of `exec`'s, which ends here.
            tracing::debug!("go back to the mount namespace: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::MountInfo;

    use super::are_hideable;

    #[test]
    fn what_is_mounted_elsewhere_is_not_hidden() {
        let mounts = |places: &[(&str, &str)]| {
            let lines = places
                .iter()
                .map(|(place, kind)| format!("31 25 0:27 / {place} rw - {kind} cgroup rw"));
            lines.map(|line| MountInfo::from_line(&line).unwrap()).collect::<Vec<_>>()
        };
        let usual = [("/sys/fs/cgroup/pids", "cgroup"), ("/mnt/unified", "cgroup2")];
        let old = [("/sys/fs/cgroup/pids", "cgroup"), ("/cgroup/cpu", "cgroup")];

        assert!(are_hideable(&mounts(&usual)));
        assert!(!are_hideable(&mounts(&old)));
    }
}
