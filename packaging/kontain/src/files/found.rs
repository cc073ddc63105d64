//! A file as it was found: its bytes, and what tells it from another one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::root::{WRITABLE_BY_OTHERS, is_trusted};
use crate::error::{NodeError, Result};

/// Engines' files are some kilobytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// What tells one file from another: its file system's number and its own.
pub(super) type Inode = (u64, u64);

/// Which file something is, for as long as this is kept: while it is open no other one gets its number.
#[derive(Debug)]
pub(super) struct Pinned {
    inode: Inode,
    _file: OwnedFd,
}

impl Pinned {
    /// What is at a name; none if nothing is, or it cannot be told.
    pub(super) fn at(directory: impl AsFd, name: &OsStr) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::new(sys::openat(directory, name, flags, Mode::empty()).ok()?).ok()
    }

    /// An open file.
    pub(super) fn new(file: OwnedFd) -> rustix::io::Result<Self> {
        let status = sys::fstat(&file)?;
        Ok(Self { inode: (status.st_dev, status.st_ino), _file: file })
    }

    /// Which one it is.
    pub(super) fn inode(&self) -> Inode {
        self.inode
    }
}

impl PartialEq for Pinned {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

/// A file as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
    pub(super) status: Stat,
    /// Kept open: its extended attributes are a new one's.
    pub(super) file: OwnedFd,
}

impl Found {
    /// Reads a file; none if there is nothing. Neither waits for a fifo's writer nor follows a link.
    pub(super) fn read(
        directory: BorrowedFd<'_>,
        name: &OsStr,
        shown: &Path,
    ) -> Result<Option<Self>> {
        let status = match sys::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|error| NodeError::system("look at", shown, error))?,
        };
        demand_plain(directory, name, &status, shown)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = sys::openat(directory, name, flags | OFlags::NOCTTY, Mode::empty());
        let file = match opened {
            Err(Errno::NOENT | Errno::LOOP) => {
                return Err(NodeError::Changed { path: shown.to_owned(), left: Vec::new() });
            }
            other => other.map_err(|error| NodeError::system("open", shown, error))?,
        };
        let read_error = |error| NodeError::system("read", shown, error);
        let file = File::from(file);
        let mut bytes = Vec::new();
        let count = (&file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if count as u64 > LARGEST {
            return Err(too_large(shown));
        }
        // What it is now: it may not be what was looked at before.
        let status =
            sys::fstat(&file).map_err(|error| NodeError::system("look at", shown, error))?;
        demand_plain(directory, name, &status, shown)?;
        Ok(Some(Self { bytes, status, file: file.into() }))
    }

    /// Whether it is this very file, with the same bytes.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.inode() == other.inode() && self.bytes == other.bytes
    }

    /// Which one it is.
    pub(super) fn inode(&self) -> Inode {
        (self.status.st_dev, self.status.st_ino)
    }
}

/// The text of a file that must be one.
pub(crate) fn text<'a>(bytes: &'a [u8], shown: &Path) -> Result<&'a str> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let fix = "remove its first three bytes, which not every engine reads over";
        return Err(NodeError::refused(shown, "it begins with a byte order mark", fix));
    }
    str::from_utf8(bytes).map_err(|error| {
        let reason = format!("byte {} is not UTF-8", error.valid_up_to() + 1);
        NodeError::refused(shown, reason, "write it as UTF-8")
    })
}

fn demand_plain(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    status: &Stat,
    shown: &Path,
) -> Result<()> {
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => return demand_ours(status, shown),
        FileType::Symlink => {
            let to = sys::readlinkat(directory, name, Vec::new()).unwrap_or_default();
            let reason = format!("it is a symbolic link to {}", to.to_string_lossy());
            let fix = "name the file itself with --config, or put it here";
            return Err(NodeError::refused(shown, reason, fix));
        }
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => "a device",
    };
    Err(NodeError::refused(shown, format!("it is {kind}"), "remove it, or put a file there"))
}

fn demand_ours(status: &Stat, shown: &Path) -> Result<()> {
    if !is_trusted(status.st_uid) {
        let reason = format!("it belongs to user {}", status.st_uid);
        return Err(NodeError::refused(shown, reason, "chown root"));
    }
    // Root's group, too: with an access control list the group's bits are what anybody named there may do at most.
    if status.st_mode & WRITABLE_BY_OTHERS != 0 {
        let reason = format!("others than root can write it (mode {:o})", status.st_mode & 0o7777);
        return Err(NodeError::refused(shown, reason, "chmod go-w"));
    }
    if u64::try_from(status.st_size).unwrap_or(u64::MAX) > LARGEST {
        return Err(too_large(shown));
    }
    Ok(())
}

fn too_large(shown: &Path) -> NodeError {
    let reason = format!("it is larger than {} MiB", LARGEST >> 20);
    NodeError::refused(shown, reason, "no engine's configuration is: look what it is")
}
