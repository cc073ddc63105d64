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

/// Flags of mounts, to be set and to be taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    set: u64,
    clear: u64,
}

impl MountFlags {
    /// What these options of `mount(8)` mean, of which the last counts.
    pub fn of<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = Self::default();
        options.into_iter().for_each(|option| flags.set(option));
        flags
    }

    /// Adds the flag that an option means, or takes it back. Other options change nothing.
    fn set(&mut self, option: &str) {
        let (flag, is_set) = match option {
            "ro" => (libc::MOUNT_ATTR_RDONLY, true),
            "nosuid" => (libc::MOUNT_ATTR_NOSUID, true),
            "nodev" => (libc::MOUNT_ATTR_NODEV, true),
            "noexec" => (libc::MOUNT_ATTR_NOEXEC, true),
            "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, true),
            "noatime" => return self.set_times(libc::MOUNT_ATTR_NOATIME),
            "strictatime" => return self.set_times(libc::MOUNT_ATTR_STRICTATIME),
            "relatime" => return self.set_times(libc::MOUNT_ATTR_RELATIME),
            "rw" => (libc::MOUNT_ATTR_RDONLY, false),
            "suid" => (libc::MOUNT_ATTR_NOSUID, false),
            "dev" => (libc::MOUNT_ATTR_NODEV, false),
            "exec" => (libc::MOUNT_ATTR_NOEXEC, false),
            "diratime" => (libc::MOUNT_ATTR_NODIRATIME, false),
            _ => return,
        };
        self.set = if is_set { self.set | flag } else { self.set & !flag };
    }

    /// Linux has these as one number.
    fn set_times(&mut self, times: u64) {
        self.clear |= libc::MOUNT_ATTR__ATIME;
        self.set = self.set & !libc::MOUNT_ATTR__ATIME | times;
    }
}

/// Changes the flags of a detached mount, and with `whole_tree` of those below it.
pub fn set_flags(mount: BorrowedFd<'_>, flags: MountFlags, whole_tree: bool) -> io::Result<()> {
    let MountFlags { set: attr_set, clear: attr_clr } = flags;
    if attr_set | attr_clr == 0 {
        return Ok(());
    }
    let attributes = libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd: 0 };
    set(mount, &attributes, if whole_tree { libc::AT_RECURSIVE } else { 0 })
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
