//! Which procfs a file is of: the one that the monitor found at its start, or another one, as of another namespace, in
//! which the same numbers are other processes'.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat},
    sys::stat::{Mode, fstat},
};

use crate::{
    descriptors::Scratch,
    proc_files::{self, own_link},
    proc_mount,
    proc_name::Identity,
};

/// One of them.
#[derive(Clone, Debug)]
pub struct Procfs(Root);

#[derive(Clone, Debug)]
enum Root {
    Own,
    /// Where the guest's threads can get at what is open.
    Held(Arc<Scratch>),
    Plain(Arc<OwnedFd>),
}

impl Procfs {
    /// The monitor's own.
    pub const OWN: Self = Self(Root::Own);

    /// The one that a file is of; `None` if its root is mounted nowhere that the calling thread sees. What is opened to
    /// find it is out of the guest's reach, if there is somebody to reach it.
    pub fn of(file: BorrowedFd<'_>, is_held: bool) -> Option<Self> {
        if proc_files::is_of_root(file) {
            return Some(Self::OWN);
        }
        let device = fstat(file).ok()?.st_dev;
        let roots = proc_files::roots_on(device);
        roots.iter().find_map(|point| Self::at(point, device, is_held))
    }

    fn at(point: &str, device: u64, is_held: bool) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let found = openat(nix::fcntl::AT_FDCWD, point, flags, Mode::empty()).ok()?;
        let root = if is_held {
            Root::Held(Arc::new(Scratch::hold(&found).ok()?))
        } else {
            Root::Plain(Arc::new(found))
        };
        let procfs = Self(root);
        // Anything could have taken its place until now.
        let root = procfs.root().ok()?;
        let is_there = proc_mount::is_root(root) && fstat(root).is_ok_and(|it| it.st_dev == device);
        is_there.then_some(procfs)
    }

    /// The one whose root a path leads to from the root of the monitor's own, for a thread with descriptors of its own.
    pub fn by(way: Option<&str>) -> Result<Self, Errno> {
        let Some(way) = way else { return Ok(Self::OWN) };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let found = openat(proc_files::root().ok_or(Errno::ENOENT)?, way, flags, Mode::empty())?;
        Ok(Self(Root::Plain(Arc::new(found))))
    }

    /// Such a path, which is good while the calling thread has this; `None` for the monitor's own.
    pub fn way(&self) -> Result<Option<String>, Errno> {
        let link = match &self.0 {
            Root::Own => return Ok(None),
            Root::Held(root) => own_link(root.as_ref()),
            Root::Plain(root) => own_link(root.as_ref()),
        };
        proc_files::from_elsewhere(&link).map(Some)
    }

    /// A path in it, from the root of the monitor's own; good while the calling thread has this.
    pub fn path(&self, inside: String) -> String {
        match &self.0 {
            Root::Own => inside,
            Root::Held(root) => format!("{}/{inside}", own_link(root.as_ref())),
            Root::Plain(root) => format!("{}/{inside}", own_link(root.as_ref())),
        }
    }

    /// Its root. `ENOENT` if the monitor has found none.
    pub fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        match &self.0 {
            Root::Own => proc_files::root().ok_or(Errno::ENOENT),
            Root::Held(root) => Ok(root.as_fd()),
            Root::Plain(root) => Ok(root.as_fd()),
        }
    }

    /// Opens a file by its path from the root, for reading. Nothing that is mounted inside is gone through.
    pub fn open(&self, path: &str) -> Result<File, Errno> {
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC);
        openat2(self.root()?, path, how.resolve(ResolveFlag::RESOLVE_NO_XDEV)).map(File::from)
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let mut content = Vec::new();
        let read = self.open(path)?.read_to_end(&mut content);
        let errno = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        read.map(|_| content).map_err(errno)
    }

    /// `EXDEV` if something is mounted over what is at a path, or over a part of the path: it tells of something else.
    pub fn demand_uncovered(&self, path: &str) -> Result<(), Errno> {
        let root = self.root()?;
        let is_own = Identity::at(root, path)?.is_beside(&Identity::of(root)?);
        if is_own { Ok(()) } else { Err(Errno::EXDEV) }
    }

    /// Where a link leads to, as the kernel words it.
    pub fn link(&self, path: &str) -> Result<Vec<u8>, Errno> {
        Ok(readlinkat(self.root()?, path)?.into_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::Procfs;

    #[test]
    fn the_monitors_own_is_known() {
        let own = Procfs::of(File::open("/proc/version").unwrap().as_fd(), false).unwrap();

        assert_eq!(own.way(), Ok(None));
        assert_eq!(own.read("version").unwrap(), std::fs::read("/proc/version").unwrap());
        assert_eq!(own.path("1/maps".to_owned()), "1/maps");
    }

    #[test]
    fn files_of_other_filesystems_are_of_none() {
        let file = File::open("/dev/null").unwrap();

        assert!(Procfs::of(file.as_fd(), false).is_none());
    }
}
