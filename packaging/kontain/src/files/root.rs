//! The root directory of a node, or of an image that is to become one. Paths are looked up in it: a link there leads
//! to no other place than it will on the node.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Found;
use super::found::LARGEST;
use crate::error::{NodeError, Result};

/// Write permission for the group and for others.
pub(super) const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Only who owns a file may rename or remove it.
const STICKY: u32 = 0o1000;
/// As many links as Linux follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The root directory.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = sys::open(path, flags, Mode::empty())
            .map_err(|error| NodeError::system("open the root directory", path, error))?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// Whether it is the root of the node that runs this.
    pub fn is_this_node(&self) -> bool {
        self.path == Path::new("/")
    }

    /// A file's path as whoever called us sees it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(relative(path))
    }

    /// What is at a path; none if nothing is. Refuses what is not a plain file that only root can have written.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Found>> {
        let (parent, name) = Self::split(path)?;
        let Some(directory) = self.trusted_directory(parent)? else { return Ok(None) };
        Found::read(directory.as_fd(), name, &self.shown(path))
    }

    /// The text of a file that is only looked at: what cannot be read is not there. Links are followed in the root.
    pub fn look(&self, path: &Path) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let status = self.open_at(path, OFlags::PATH).and_then(sys::fstat).ok()?;
        if !FileType::from_raw_mode(status.st_mode).is_file() {
            return None;
        }
        let file = File::from(self.open_at(path, flags).ok()?);
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Opens a plain file that is only looked at, whatever its length. Links are followed in the root.
    pub(crate) fn open_file(&self, path: &Path) -> Option<File> {
        let status = self.open_at(path, OFlags::PATH).and_then(sys::fstat).ok()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let is_file = FileType::from_raw_mode(status.st_mode).is_file();
        if is_file { self.open_at(path, flags).ok().map(File::from) } else { None }
    }

    /// The text of a file of whoever: no link is followed, and only a plain file is opened. None if there is nothing;
    /// why not, if it is something else, or longer than it may be.
    pub(crate) fn look_unlinked(
        &self,
        path: &Path,
        longest: usize,
    ) -> std::result::Result<Option<String>, String> {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let open = |flags: OFlags| {
            let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            sys::openat2(&self.directory, relative(path), flags, Mode::empty(), resolve)
        };
        let status = match open(OFlags::PATH).and_then(sys::fstat) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => return Err("it is a link, or behind one".to_owned()),
            other => other.map_err(|error| error.to_string())?,
        };
        if !FileType::from_raw_mode(status.st_mode).is_file() {
            return Err("it is no plain file".to_owned());
        }
        let file = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
        let file = File::from(file.map_err(|error| error.to_string())?);
        let mut bytes = Vec::new();
        let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > longest {
            return Err(format!("it is longer than {longest} bytes"));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether there is anything at a path.
    pub fn exists(&self, path: &Path) -> bool {
        self.open_at(path, OFlags::PATH).is_ok()
    }

    /// Whether there is a file that can be executed at a path.
    pub fn is_program(&self, path: &Path) -> bool {
        let status = self.open_at(path, OFlags::PATH).and_then(sys::fstat);
        status.is_ok_and(|status| {
            FileType::from_raw_mode(status.st_mode).is_file() && status.st_mode & 0o111 != 0
        })
    }

    /// Finds the character device at a path, without opening it: no link is followed, not even in the root, and what is
    /// not this very device is an error.
    pub(crate) fn device(&self, path: &Path, number: (u32, u32)) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let device = sys::openat2(&self.directory, relative(path), flags, Mode::empty(), resolve)?;
        let status = sys::fstat(&device)?;
        let is_device = FileType::from_raw_mode(status.st_mode).is_char_device();
        if !is_device || (sys::major(status.st_rdev), sys::minor(status.st_rdev)) != number {
            let (major, minor) = number;
            return Err(io::Error::other(format!("it is not the device {major}:{minor}")));
        }
        Ok(device)
    }

    /// Names in a directory, in their order; none where there is no such directory.
    pub fn names(&self, path: &Path) -> Vec<OsString> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(directory) = self.open_at(path, flags).and_then(Dir::new) else { return Vec::new() };
        let entries = directory.flatten().map(|entry| entry.file_name().to_owned());
        let name = |name: std::ffi::CString| OsString::from_vec(name.into_bytes());
        let mut names: Vec<_> =
            entries.map(name).filter(|name| name != "." && name != "..").collect();
        names.sort();
        names
    }

    /// Those of a path's directories that are not there, the outermost first.
    pub(crate) fn missing(&self, directory: &Path) -> Vec<PathBuf> {
        let missing = directory.ancestors().take_while(|path| !self.exists(path));
        let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
        missing.reverse();
        missing
    }

    /// Splits a path into its directory and the file's name.
    pub(super) fn split(path: &Path) -> Result<(&Path, &OsStr)> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if path.is_absolute() => Ok((parent, name)),
            _ => Err(NodeError::refused(path, "it is no absolute path of a file", "name one")),
        }
    }

    /// Opens a directory that nobody but root can change, nor one above it, nor one above what a link on the way leads to;
    /// none if it is not there.
    pub(super) fn trusted_directory(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let names = |path: &Path| -> Vec<OsString> {
            path.iter().rev().filter(|name| *name != "/").map(OsStr::to_owned).collect()
        };
        let (mut left, mut at, mut links) = (names(path), PathBuf::from("/"), 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(name);
            let fault = |error| self.system("open", &next, error);
            let opened = match self.open_at(&next, OFlags::PATH | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(None),
                other => other.map_err(fault)?,
            };
            match FileType::from_raw_mode(sys::fstat(&opened).map_err(fault)?.st_mode) {
                FileType::Directory => {
                    self.demand_trusted(opened.as_fd(), &next)?;
                    at = next;
                }
                FileType::Symlink if links < LINKS_MAX => {
                    links += 1;
                    let target = sys::readlinkat(&opened, c"", Vec::new()).map_err(fault)?;
                    let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    left.extend(names(target));
                }
                FileType::RegularFile
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {
                    let (shown, fix) = (self.shown(&next), "put a directory there");
                    return Err(NodeError::refused(&shown, "it is no directory", fix));
                }
            }
        }
        let opened = self.open_at(&at, OFlags::PATH | OFlags::DIRECTORY);
        opened.map(Some).map_err(|error| self.system("open", path, error))
    }

    /// Makes a directory in one that is there. Says whether it was not there yet.
    pub(super) fn make_directory(&self, path: &Path) -> Result<bool> {
        let (parent, name) = Self::split(path)?;
        let fault = |error| self.system("make", path, error);
        let gone = || NodeError::Changed { path: self.shown(parent), left: Vec::new() };
        let above = self.trusted_directory(parent)?.ok_or_else(gone)?;
        match sys::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Ok(false),
            other => other.map_err(fault)?,
        }
        // What will be in it must not be on the disk without it.
        let above = self.open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(fault)?;
        match sys::fsync(above) {
            Err(Errno::INVAL) => Ok(true),
            other => other.map(|()| true).map_err(fault),
        }
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_directory(&self, path: &Path) {
        let Ok((parent, name)) = Self::split(path) else { return };
        if let Ok(Some(above)) = self.trusted_directory(parent) {
            // It may have got other entries: then it stays.
            let _ = sys::unlinkat(above, name, AtFlags::REMOVEDIR);
        }
    }

    /// Who can write a directory decides what is in its files.
    fn demand_trusted(&self, directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let status = sys::fstat(directory).map_err(|error| self.system("look at", path, error))?;
        let shown = self.shown(path);
        if !is_trusted(status.st_uid) {
            let reason = format!("the directory belongs to user {}", status.st_uid);
            return Err(NodeError::refused(&shown, reason, "chown root"));
        }
        if status.st_mode & WRITABLE_BY_OTHERS != 0 && status.st_mode & STICKY == 0 {
            let reason =
                format!("others than root can write it (mode {:o})", status.st_mode & 0o7777);
            return Err(NodeError::refused(&shown, reason, "chmod go-w"));
        }
        Ok(())
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = relative(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        sys::openat2(&self.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    fn system(&self, doing: &'static str, path: &Path, error: Errno) -> NodeError {
        NodeError::system(doing, &self.shown(path), error)
    }
}

/// Whether a file of this user's is as good as root's: whoever runs us could write it anyway.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
