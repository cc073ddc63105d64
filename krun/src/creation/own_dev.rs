//! The links and devices that every `/dev` has, where the image's own directory serves as
//! `/dev`.
//!
//! libcontainer makes them and fails where they are, so without a mount on `/dev` a root
//! filesystem would run only once. runc passes over those that exist. What is taken away
//! here is made again a moment later.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, makedev, openat2, readlinkat, statat,
    unlinkat,
};
use rustix::io::Errno;

/// The links libcontainer makes, and what they lead to.
const LINKS: [(&str, &[u8]); 5] = [
    ("fd", b"/proc/self/fd"),
    ("stdin", b"/proc/self/fd/0"),
    ("stdout", b"/proc/self/fd/1"),
    ("stderr", b"/proc/self/fd/2"),
    // Where the host has it.
    ("kcore", b"/proc/kcore"),
];

/// The devices libcontainer makes, with their numbers.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Takes the links and devices away that are just as libcontainer will make them.
///
/// The image decides what lies in `rootfs`: nothing of it is followed.
pub(crate) fn clear(rootfs: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let rootfs = openat2(CWD, rootfs, flags, Mode::empty(), ResolveFlags::empty())?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let dev = match openat2(&rootfs, "dev", flags, Mode::empty(), inside) {
        Ok(dev) => dev,
        // No directory of the image's own: libcontainer makes one, or says what is wrong.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    for (name, target) in LINKS {
        let found = readlinkat(&dev, name, Vec::new());
        if found.is_ok_and(|found| found.as_bytes() == target) {
            remove(&dev, name)?;
        }
    }
    for (name, major, minor) in DEVICES {
        let found = statat(&dev, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_device = |status: Stat| {
            FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
                && status.st_rdev == makedev(major, minor)
        };
        if found.is_ok_and(is_device) {
            remove(&dev, name)?;
        }
    }
    Ok(())
}

fn remove(dev: &OwnedFd, name: &str) -> io::Result<()> {
    match unlinkat(dev, name, AtFlags::empty()) {
        // On a read-only file system nothing can be made again either.
        Ok(()) | Err(Errno::NOENT | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::clear;

    #[test]
    fn just_what_is_made_again_is_taken_away() {
        let rootfs = tempfile::tempdir().unwrap();
        let dev = rootfs.path().join("dev");
        fs::create_dir(&dev).unwrap();
        symlink("/proc/self/fd", dev.join("fd")).unwrap();
        symlink("/proc/kcore", dev.join("kcore")).unwrap();
        symlink("/somewhere/else", dev.join("stdin")).unwrap();
        fs::write(dev.join("stdout"), "a file").unwrap();

        clear(rootfs.path()).unwrap();

        assert!(!dev.join("fd").is_symlink() && !dev.join("kcore").is_symlink());
        assert!(dev.join("stdin").is_symlink() && dev.join("stdout").is_file());
    }

    #[test]
    fn a_dev_that_leads_out_of_the_root_is_left_alone() {
        let (rootfs, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink("/proc/self/fd", outside.path().join("fd")).unwrap();
        symlink(outside.path(), rootfs.path().join("dev")).unwrap();

        clear(rootfs.path()).unwrap();

        assert!(outside.path().join("fd").is_symlink());
    }
}
