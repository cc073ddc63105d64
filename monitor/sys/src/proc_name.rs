//! What a file of procfs is called inside it, proven: the kernel's own name for the open file is a path, parts of which
//! can be moved or covered while it is read, so what is found by that path must be that very file.

use std::{
    ffi::CString,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::Mode,
};

use crate::{
    descriptors::Scratch,
    proc_files::{self, ProcFile, own_link},
};

/// How often a name is looked for while it changes.
const TRIES: u32 = 8;

/// Which file it is, and on which mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    mount: u64,
    device: [u32; 2],
    inode: u64,
    /// Whether it is what is mounted there.
    is_mounted: bool,
}

impl Identity {
    /// An open file's. `ENOSYS` before Linux 5.8.
    pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::find(file, "", libc::AT_EMPTY_PATH)
    }

    /// That of what a path leads to, not followed at its end.
    pub(crate) fn at(directory: BorrowedFd<'_>, path: &str) -> Result<Self, Errno> {
        Self::find(directory, path, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
    }

    fn find(directory: BorrowedFd<'_>, path: &str, flags: i32) -> Result<Self, Errno> {
        const WANTED: u32 = libc::STATX_MNT_ID | libc::STATX_INO;
        let path = CString::new(path).map_err(|_| Errno::ENOENT)?;
        let mut status = MaybeUninit::<libc::statx>::zeroed();
        let directory = directory.as_raw_fd();
        // SAFETY: the path is a C string, and `status` is writable memory of the structure's size.
        let result =
            unsafe { libc::statx(directory, path.as_ptr(), flags, WANTED, status.as_mut_ptr()) };
        if result != 0 {
            return Err(Errno::last());
        }
        // SAFETY: all-zero bytes are a valid value, whatever the kernel has filled in.
        let status = unsafe { status.assume_init() };
        if status.stx_mask & WANTED != WANTED {
            return Err(Errno::ENOSYS);
        }
        let root = u64::from(libc::STATX_ATTR_MOUNT_ROOT.unsigned_abs());
        Ok(Self {
            mount: status.stx_mnt_id,
            device: [status.stx_dev_major, status.stx_dev_minor],
            inode: status.stx_ino,
            is_mounted: status.stx_attributes & root != 0,
        })
    }

    /// Whether both are on one mount.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.mount == other.mount
    }
}

/// What an open file of procfs is.
pub(crate) fn find(file: BorrowedFd<'_>) -> ProcFile {
    for _ in 0..TRIES {
        match look(file) {
            Ok(Some(name)) => return ProcFile::Named(name),
            // It is elsewhere by now, or covered.
            Ok(None) => {}
            // Nothing is shown of it, whether it is gone or covered.
            Err(Errno::ENOENT | Errno::ESRCH) => return ProcFile::Gone,
            Err(_) => return ProcFile::Nameless,
        }
    }
    ProcFile::Nameless
}

/// Its name; `None` if that changes, or cannot be proven.
fn look(file: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    let own = Identity::of(file)?;
    let Ok(path) = String::from_utf8(proc_files::link(&own_link(&file))?) else { return Ok(None) };
    for root in proc_files::roots() {
        let is_there = Identity::of(root).is_ok_and(|root| root.is_beside(&own));
        if is_there {
            let Ok(point) = String::from_utf8(proc_files::link(&own_link(&root))?) else {
                return Ok(None);
            };
            return proven(&own, root, &path, &point, "");
        }
    }
    let Some((point, inside)) = proc_files::find_mount(own.mount) else { return Ok(None) };
    if own.is_mounted {
        return Ok(Some(inside.trim_end_matches('/').to_owned()));
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let Ok(found) = openat(AT_FDCWD, point.as_str(), flags, Mode::empty()) else {
        return Ok(None);
    };
    let root = Scratch::hold(&found)?;
    let is_root = Identity::of(root.as_fd()).is_ok_and(|it| it.is_beside(&own) && it.is_mounted);
    if is_root { proven(&own, root.as_fd(), &path, &point, &inside) } else { Ok(None) }
}

/// The name of what is at `path`, if that is the file. `root` is what is mounted at `point`: the part `inside` of procfs.
fn proven(
    own: &Identity,
    root: BorrowedFd<'_>,
    path: &str,
    point: &str,
    inside: &str,
) -> Result<Option<String>, Errno> {
    let Some(rest) = path.strip_prefix(point.trim_end_matches('/')) else { return Ok(None) };
    let found = match rest.strip_prefix('/') {
        None if rest.is_empty() => Identity::of(root)?,
        None => return Ok(None),
        Some("") => Identity::of(root)?,
        Some(below) => Identity::at(root, below)?,
    };
    let name = format!("{}{}", inside.trim_end_matches('/'), rest.trim_end_matches('/'));
    Ok((found == *own).then_some(name))
}
