//! The attributes of a mount.
#![expect(unsafe_code, reason = "mount_setattr(2) has no wrapper in rustix or nix")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How mounts made below a mount reach its copies, and theirs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// Only in.
    Slave,
    /// Neither way.
    Private,
    /// Neither way, and no copies.
    Unbindable,
}

/// What a mount is to become. What is not named stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// How mounts propagate.
    pub propagation: Option<Propagation>,
    /// Whether links in it lead nowhere.
    pub no_symlinks: bool,
    /// Whether nothing in it can be changed.
    pub read_only: bool,
}

/// Makes a detached mount (from `open_tree(2)` with `OPEN_TREE_CLONE`) read-only.
pub fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    set(mount, &attributes, 0)
}

/// Has owners in a detached mount be as in a user namespace whose owners are those of the file system.
/// With `whole_tree` this goes for the mounts below it, too.
pub fn map_owners(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    whole_tree: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    set(mount, &attributes, if whole_tree { libc::AT_RECURSIVE } else { 0 })
}

/// Changes a mount of this thread's mount namespace, by a descriptor of its root, and with
/// `whole_tree` those below it.
///
/// `EINVAL` says that the descriptor is not of a mount's root.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    wanted: MountAttributes,
    whole_tree: bool,
) -> io::Result<()> {
    let flag = |is_wanted, flag| if is_wanted { flag } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: flag(wanted.no_symlinks, libc::MOUNT_ATTR_NOSYMFOLLOW)
            | flag(wanted.read_only, libc::MOUNT_ATTR_RDONLY),
        attr_clr: 0,
        propagation: wanted.propagation.map_or(0, number),
        userns_fd: 0,
    };
    set(mount, &attributes, if whole_tree { libc::AT_RECURSIVE } else { 0 })
}

fn number(propagation: Propagation) -> u64 {
    match propagation {
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    }
}

fn set(mount: BorrowedFd<'_>, attributes: &libc::mount_attr, flags: i32) -> io::Result<()> {
    // SAFETY: the path is a C string that lives for ever, and the structure is of exactly
    // the size that is passed and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
