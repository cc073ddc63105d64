//! The monitor's own mount of procfs: one that is attached nowhere, so that nobody can mount anything over a part of it.
//!
//! By its own descriptors' links there the monitor opens files again that it has looked at. A program that may mount
//! could have these links lead elsewhere.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        stat::fstat,
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use crate::host_call::{self, to_u64};

/// The inode of procfs's root.
const ROOT_INODE: u64 = 1;

/// `OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE`.
const CLONE: u64 = 0x8_9001;
/// `AT_EMPTY_PATH | AT_RECURSIVE`.
const WHOLE: u64 = 0x9000;
/// `MS_PRIVATE`.
const PRIVATE: u64 = 1 << 18;
/// `FSOPEN_CLOEXEC`, and `FSMOUNT_CLOEXEC`.
const CLOSE_ON_EXEC: u64 = 1;
/// `FSCONFIG_CMD_CREATE`.
const CREATE: u64 = 6;
/// `MOUNT_ATTR_RDONLY | NOSUID | NODEV | NOEXEC`.
const READ_ONLY: u64 = 0xf;

/// The root of a procfs: of the true one at `/proc`, or of one that is made, if there is none and the process may. What
/// is at `/proc` itself, where the process may not mount: then nobody may where it is.
pub(crate) fn find() -> Option<OwnedFd> {
    match at_its_place() {
        Some(folder) => Some(
            detached(folder.as_fd()).filter(|folder| is_root(folder.as_fd())).unwrap_or(folder),
        ),
        None => made().ok().filter(|folder| is_root(folder.as_fd())),
    }
}

/// The root of the true procfs at `/proc`.
pub(crate) fn at_its_place() -> Option<OwnedFd> {
    File::open("/proc").ok().map(OwnedFd::from).filter(|folder| is_root(folder.as_fd()))
}

/// Whether it is procfs's root.
pub(crate) fn is_root(folder: BorrowedFd<'_>) -> bool {
    let is_procfs =
        fstatfs(folder).is_ok_and(|status| status.filesystem_type() == PROC_SUPER_MAGIC);
    is_procfs && fstat(folder).is_ok_and(|status| status.st_ino == ROOT_INODE)
}

/// What is mounted there, once more, with all that is mounted below it.
fn detached(folder: BorrowedFd<'_>) -> Option<OwnedFd> {
    let clone = call(libc::SYS_open_tree, folder, [empty(), CLONE, 0]).ok()?;
    let attributes: [u64; 4] = [0, 0, PRIVATE, 0];
    let (at, len) = (to_u64(attributes.as_ptr().addr()), to_u64(size_of_val(&attributes)));
    let args = [u64::from(clone.as_raw_fd().unsigned_abs()), empty(), WHOLE, at, len, 0];
    // Else what others mount where it is from would come to it, too.
    //
    // SAFETY: the path is static and the structure lives until the call returns, which changes a mount that is ours.
    unsafe { host_call::raw(libc::SYS_mount_setattr, args) }.ok()?;
    Some(clone)
}

/// One of this process's namespace.
fn made() -> Result<OwnedFd, Errno> {
    let name = to_u64(c"proc".as_ptr().addr());
    // SAFETY: the name is a static string.
    let context =
        owned(unsafe { host_call::raw(libc::SYS_fsopen, [name, CLOSE_ON_EXEC, 0, 0, 0, 0]) }?)?;
    let number = u64::from(context.as_raw_fd().unsigned_abs());
    // SAFETY: this command takes no pointer.
    unsafe { host_call::raw(libc::SYS_fsconfig, [number, CREATE, 0, 0, 0, 0]) }?;
    call(libc::SYS_fsmount, context.as_fd(), [CLOSE_ON_EXEC, READ_ONLY, 0])
}

fn empty() -> u64 {
    to_u64(c"".as_ptr().addr())
}

/// A call about a descriptor that makes another one: `open_tree(2)` with an empty path, or `fsmount(2)`.
fn call(number: i64, about: BorrowedFd<'_>, rest: [u64; 3]) -> Result<OwnedFd, Errno> {
    let args = [u64::from(about.as_raw_fd().unsigned_abs()), rest[0], rest[1], rest[2], 0, 0];
    // SAFETY: `rest` has numbers and the address of a static string.
    owned(unsafe { host_call::raw(number, args) }?)
}

fn owned(number: u64) -> Result<OwnedFd, Errno> {
    let number = i32::try_from(number).map_err(|_| Errno::EMFILE)?;
    // SAFETY: the kernel just made it for this process, which has no other thread yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::{find, is_root};

    #[test]
    fn a_procfs_is_found() {
        assert!(find().is_some_and(|root| is_root(root.as_fd())));
    }
}
