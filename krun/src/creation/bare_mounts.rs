//! `--no-pivot`: no mount of `proc` or `sysfs` may be left outside of the container's root file system.
//!
//! Without `pivot_root` the host's mounts stay in the container's mount namespace, below its root and out of
//! reach. But a user namespace that the container makes may mount a `proc` of its own if there is one in the mount
//! namespace of which nothing is masked. libcontainer takes away the uppermost ones at `/proc` and `/sys`; here all
//! go, as with runc, as the last of the hooks at `createContainer`.

use std::io;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use serde::{Deserialize, Serialize};

/// What `krun run-hook` is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BareMountsOrder {
    pub(super) rootfs: PathBuf,
    /// The start gate.
    pub(crate) gate: PathBuf,
}

/// Why one is still there.
#[derive(Debug, thiserror::Error)]
#[error("--no-pivot: take {path} away")]
pub(crate) struct BareMountError {
    path: PathBuf,
    source: io::Error,
}

/// Takes them away from the mount namespace that the calling process is in.
pub(crate) fn take_away(order: &BareMountsOrder) -> Result<(), BareMountError> {
    let fault = |path: &Path, source| BareMountError { path: path.into(), source };
    let all = Process::myself()
        .and_then(|own| own.mountinfo())
        .map_err(|error| fault(Path::new("/proc/self/mountinfo"), io::Error::other(error)))?;
    let all: Vec<_> = all.into_iter().collect();
    // What was mounted last lies on top.
    for bare in all.iter().rev().filter(|mount| is_bare(mount, &order.rootfs)) {
        let below = all.iter().find(|mount| mount.mnt_id == bare.pid);
        take_one_away(&bare.mount_point, below)
            .map_err(|errno| fault(&bare.mount_point, errno.into()))?;
    }
    Ok(())
}

fn is_bare(mount: &MountInfo, rootfs: &Path) -> bool {
    ["proc", "sysfs"].contains(&mount.fs_type.as_str()) && !mount.mount_point.starts_with(rootfs)
}

fn take_one_away(path: &Path, below: Option<&MountInfo>) -> Result<(), Errno> {
    // Where the root is shared, the host's would go, too.
    if let Some(below) = below {
        match mount_change(&below.mount_point, MountPropagationFlags::DOWNSTREAM) {
            // Another mount lies on it.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    match unmount(path, UnmountFlags::DETACH) {
        // It went with the one that it was in.
        Err(Errno::NOENT) => Ok(()),
        // It must not go alone, as where the namespace's owner is not the host's root.
        Err(Errno::INVAL | Errno::PERM) => {
            mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, Some(c"size=0k"))
        }
        done => done,
    }
}
