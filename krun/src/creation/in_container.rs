//! Directories and mounts of a container that waits for start, opened from the host's side.
//!
//! The image decides what lies in the root file system: links lead to places below it, and the
//! kernel's magic ones nowhere.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, fstatfs, major, minor, openat2, statat,
};

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;

/// Opens `path` below `root`.
pub(super) fn open_below(root: &Path, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat2(CWD, root, directory, Mode::empty(), ResolveFlags::empty())?;
    open_in(&root, path, flags)
}

/// The same below a directory that is open.
pub(super) fn open_in(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), inside)?)
}

/// Opens `path` in the container whose first process is `pid`.
pub(super) fn open(pid: i32, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_below(&PathBuf::from(format!("/proc/{pid}/root")), path, flags)
}

/// The directory at `path` of the container, if it is on a tmpfs of the container's own. Something
/// else may have been mounted over it, even a tmpfs of the host's.
pub(super) fn own_tmpfs(pid: i32, path: &Path) -> io::Result<Option<OwnedFd>> {
    let directory = open(pid, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let device = statat(&directory, c"", AtFlags::EMPTY_PATH)?.st_dev;
    let is_own = fstatfs(&directory)?.f_type == TMPFS && !is_mounted_here(device)?;
    Ok(is_own.then_some(directory))
}

/// Whether the file system is krun's own too: then it is not the container's new one.
pub(super) fn is_mounted_here(device: u64) -> io::Result<bool> {
    let name = format!("{}:{}", major(device), minor(device));
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map_err(io::Error::other)?;
    Ok(mounts.into_iter().any(|mount| mount.majmin == name))
}

#[cfg(test)]
mod tests {
    use super::is_mounted_here;

    #[test]
    fn a_file_system_of_the_hosts_is_known() {
        let root = rustix::fs::stat("/proc/self").unwrap();

        assert!(is_mounted_here(root.st_dev).unwrap());
        assert!(!is_mounted_here(rustix::fs::makedev(4000, 1)).unwrap());
    }
}
