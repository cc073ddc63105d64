//! `--no-pivot`: no mount of `proc` or `sysfs` may be left outside of the container's root file system.
//!
//! Without `pivot_root` the host's mounts stay in the container's mount namespace, below its root and out of
//! reach. But a user namespace that the container makes may mount a `proc` of its own if there is one in the mount
//! namespace of which nothing is masked. libcontainer takes away the uppermost ones at `/proc` and `/sys`; here all
//! that no other mount covers go, as with runc, as the last of the hooks at `createContainer`. The host keeps its
//! own, also where its mounts are shared with the container's namespace.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, MountOptFields, Process};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount as mount_new, mount_change, unmount,
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

/// Takes them away from the mount namespace that the calling process is in. What other mounts cover stays, as with
/// runc.
pub(crate) fn take_away(order: &BareMountsOrder) -> Result<(), BareMountError> {
    let fault = |path: &Path, source| BareMountError { path: path.into(), source };
    let all = Process::myself()
        .and_then(|own| own.mountinfo())
        .map_err(|error| fault(Path::new("/proc/self/mountinfo"), io::Error::other(error)))?;
    let roots = [order.rootfs.as_path(), Path::new("/")].map(mount_at);
    let [Ok(container), Ok(host)] = roots else { return Err(fault(&order.rootfs, UNKNOWN.into())) };
    if container == host {
        return Err(fault(&order.rootfs, io::Error::other("the root file system is no mount")));
    }
    // What was mounted last lies on top.
    for bare in all.0.iter().rev().filter(|mount| is_bare(mount)) {
        if !is_below(&all.0, bare, container) {
            let path = decoded(&bare.mount_point);
            take_one_away(&all.0, bare, &path).map_err(|errno| fault(&path, errno.into()))?;
        }
    }
    Ok(())
}

/// The kernel does not say which mount it is.
const UNKNOWN: Errno = Errno::NOSYS;

fn is_bare(mount: &MountInfo) -> bool {
    ["proc", "sysfs"].contains(&mount.fs_type.as_str())
}

/// Whether the mount lies in the one with the number `container`, or in one that does.
fn is_below(all: &[MountInfo], mount: &MountInfo, container: i32) -> bool {
    let mut number = mount.mnt_id;
    // The root's is its own.
    for _ in all {
        if number == container {
            return true;
        }
        let Some(found) = all.iter().find(|one| one.mnt_id == number) else { return false };
        number = found.pid;
    }
    false
}

/// The number of the mount that a path leads to.
fn mount_at(path: &Path) -> Result<i32, Errno> {
    let found = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?;
    let number = i32::try_from(found.stx_mnt_id).map_err(|_| UNKNOWN)?;
    StatxFlags::from_bits_retain(found.stx_mask)
        .contains(StatxFlags::MNT_ID)
        .then_some(number)
        .ok_or(UNKNOWN)
}

/// `mountinfo` has blanks, tabs, ends of lines and backslashes as three octal digits: proc_pid_mountinfo(5).
fn decoded(path: &Path) -> PathBuf {
    let mut rest = path.as_os_str().as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let [first, others @ ..] = rest {
        let digits = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = byte.filter(|_| *first == b'\\') {
            bytes.push(byte);
            rest = others.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn take_one_away(all: &[MountInfo], mount: &MountInfo, path: &Path) -> Result<(), Errno> {
    match mount_at(path) {
        Ok(number) if number == mount.mnt_id => {}
        // Another mount lies on it, or it went with the one that it was in.
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    // What is shared, the host's would go, too: this one where what it lies on is, what lies in it where it is itself.
    if let Some(below) = all.iter().find(|one| one.mnt_id == mount.pid) {
        let is_shared = |field: &MountOptFields| matches!(field, MountOptFields::Shared(_));
        if below.mount_point != mount.mount_point {
            mount_change(decoded(&below.mount_point), MountPropagationFlags::DOWNSTREAM)?;
        } else if below.opt_fields.iter().any(is_shared) {
            // No path leads to it.
            return Err(Errno::BUSY);
        }
    }
    mount_change(path, MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    match unmount(path, UnmountFlags::DETACH) {
        // It must not go alone, as where the namespace's owner is not the host's root.
        Err(Errno::INVAL | Errno::PERM) => {
            mount_new(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, Some(c"size=0k"))
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::decoded;

    #[test]
    fn blanks_are_read_as_the_kernel_writes_them() {
        for (written, path) in [
            ("/a\\040b", "/a b"),
            ("/\\134040", "/\\040"),
            ("/plain", "/plain"),
            ("/odd\\9", "/odd\\9"),
        ] {
            assert_eq!(decoded(Path::new(written)), Path::new(path));
        }
    }
}
