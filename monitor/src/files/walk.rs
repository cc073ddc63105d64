//! Where a path of the guest's leads to, walked so that no link of procfs is followed that is a monitor's.
//!
//! Links of procfs such as `/proc/self/fd/7` lead to an open file itself, and the host follows them wherever in a
//! path, or in another link, they are. So a path is first walked by the host with the promise that none is followed
//! (`RESOLVE_NO_MAGICLINKS`). That holds of nearly every path, and it costs nothing more where the call takes the
//! promise itself, as `openat2(2)` does. Only if there is one, the path is walked here, name by name, and whose
//! link it is decides.
//!
//! What was found is held at a number that is never the guest's: no thread of the guest's can put another file
//! there before it is used.

use std::os::fd::{AsFd, BorrowedFd};

use monitor_sys::{
    Errno,
    descriptors::{self, Scratch},
};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, fstatvfs, openat2,
    readlinkat,
};

use super::{
    neighbour::Viewer,
    proc_self::{self, Leads, Place},
};

/// How many links a path may lead through (Linux's `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// How often a path is walked again that somebody has changed meanwhile. Linux, which walks it once, would not say
/// `ELOOP` of it.
pub const WALKS_MAX: usize = 100;

/// Whether a link at a path's end is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is: what it leads to is meant.
    Followed,
    /// It is not: it is meant itself.
    Itself,
}

/// A file that a path leads to.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: Scratch,
    /// Whether it is the program of a guest, by its name in procfs.
    pub is_program: bool,
}

/// A place from which the rest of a path can be walked by the host, with [`WITHOUT_MAGIC`].
#[derive(Debug)]
pub struct Spot {
    /// Where the rest begins.
    pub at: Scratch,
    /// The last name, with what slashes are behind it; empty if the path leads to `at` itself.
    pub name: Vec<u8>,
    /// Whether `at` is the program of a guest, by its name in procfs.
    pub is_program: bool,
}

/// The promise that no link of the kind is followed: `ELOOP` if there is one.
pub const WITHOUT_MAGIC: ResolveFlags = ResolveFlags::NO_MAGICLINKS;

/// The file that a path leads to if it passes no link of the kind; else `ELOOP`.
pub fn plainly(viewer: &Viewer<'_>, place: &Place<'_>, end: End) -> Result<Found, Errno> {
    let flags = if end == End::Itself { OFlags::NOFOLLOW } else { OFlags::empty() };
    let file = open(place.directory, place.path, flags, WITHOUT_MAGIC)?;
    if proc_self::may_be_meant(place.path) && proc_self::is_hidden(viewer, file.as_fd()) {
        return Err(Errno::ENOENT);
    }
    Ok(Found { file, is_program: false })
}

/// The file that a path leads to. `ENOENT` if that is by a link that is a monitor's.
pub fn find(viewer: &Viewer<'_>, place: &Place<'_>, end: End) -> Result<Found, Errno> {
    match plainly(viewer, place, end) {
        Err(Errno::ELOOP) => {}
        found => return found,
    }
    for _ in 0..WALKS_MAX {
        let spot = spot(viewer, place, end)?;
        if spot.name.is_empty() {
            return Ok(Found { file: spot.at, is_program: spot.is_program });
        }
        match plainly(viewer, &Place { directory: spot.at.as_fd(), path: &spot.name }, end) {
            // The last name was none of a link of the kind a moment ago.
            Err(Errno::ELOOP) => {}
            found => return found,
        }
    }
    Err(Errno::ELOOP)
}

/// The end of a path in which there are links of the kind.
pub fn spot(viewer: &Viewer<'_>, place: &Place<'_>, end: End) -> Result<Spot, Errno> {
    let (at, path) = match place.path {
        [b'/', ..] => (open(CWD, b"/", OFlags::DIRECTORY, WITHOUT_MAGIC)?, place.path),
        path => (open(place.directory, b".", OFlags::DIRECTORY, WITHOUT_MAGIC)?, path),
    };
    let mut walk = Walk { viewer, at, rest: path.to_vec(), links: 0, is_program: false };
    loop {
        if let Some(name) = walk.step(end)? {
            return Ok(Spot { at: walk.at, name, is_program: walk.is_program });
        }
    }
}

/// A walk on its way.
struct Walk<'a> {
    viewer: &'a Viewer<'a>,
    at: Scratch,
    rest: Vec<u8>,
    links: usize,
    is_program: bool,
}

impl Walk<'_> {
    /// Goes on by a name. The last one, if it can be left to the host.
    fn step(&mut self, end: End) -> Result<Option<Vec<u8>>, Errno> {
        let Some(start) = self.rest.iter().position(|&byte| byte != b'/') else {
            // Behind a slash there must be a directory.
            return Ok(Some(if self.rest.is_empty() { Vec::new() } else { b".".to_vec() }));
        };
        let rest = self.rest.split_off(start);
        let split = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(split);
        let is_last = behind.iter().all(|&byte| byte == b'/');
        if is_last && behind.is_empty() && end == End::Itself {
            return Ok(Some(rest));
        }
        let flags = if behind.is_empty() { OFlags::empty() } else { OFlags::DIRECTORY };
        match open(self.at.as_fd(), name, flags, WITHOUT_MAGIC) {
            Err(Errno::ELOOP) => self.follow(name, behind)?,
            // What is wrong with the last one the call itself finds out.
            _ if is_last => return Ok(Some(rest)),
            found => {
                self.at = found?;
                self.rest = behind.to_vec();
            }
        }
        self.is_program &= self.rest.is_empty();
        Ok(None)
    }

    /// Goes where a link leads to that is of the kind, or leads to one.
    fn follow(&mut self, name: &[u8], behind: &[u8]) -> Result<(), Errno> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let link = open(self.at.as_fd(), name, OFlags::NOFOLLOW, ResolveFlags::empty())?;
        let status = fstat(&link).map_err(to_errno)?;
        let is_link = FileType::from_raw_mode(status.st_mode) == FileType::Symlink;
        match proc_self::leads(self.viewer, link.as_fd())? {
            Leads::Hidden => return Err(Errno::ENOENT),
            Leads::Plainly if is_link => return self.read(&link, behind),
            Leads::Program(procfs, path) => {
                let root = procfs.root().map_err(|_| Errno::EACCES)?;
                self.at = open(root, path.as_bytes(), OFlags::empty(), ResolveFlags::empty())?;
                self.is_program = true;
            }
            // Another file has taken its place: the name is looked up once more.
            Leads::Plainly => {
                self.rest = [name, behind].concat();
                return Ok(());
            }
            Leads::Magically => {
                let file = open(self.at.as_fd(), name, OFlags::empty(), ResolveFlags::empty())?;
                // Its number may have become the monitor's just now.
                if proc_self::is_hidden(self.viewer, link.as_fd()) {
                    return Err(Errno::ENOENT);
                }
                self.at = file;
            }
        }
        self.rest = behind.to_vec();
        Ok(())
    }

    /// Goes where the content of a link says. That the host would follow this very link it has just shown.
    fn read(&mut self, link: &Scratch, behind: &[u8]) -> Result<(), Errno> {
        let mount = fstatvfs(link).map_err(to_errno)?;
        if mount.f_flag.contains(NO_LINKS) {
            return Err(Errno::ELOOP);
        }
        let mut path = readlinkat(link, c"", Vec::new()).map_err(to_errno)?.into_bytes();
        if path.starts_with(b"/") {
            self.at = open(CWD, b"/", OFlags::DIRECTORY, WITHOUT_MAGIC)?;
        }
        path.extend(behind);
        self.rest = path;
        Ok(())
    }
}

/// `ST_NOSYMFOLLOW`.
const NO_LINKS: StatVfsMountFlags = StatVfsMountFlags::from_bits_retain(0x2000);

/// Finds a file, at which nothing can be done by the descriptor itself.
fn open(
    at: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<Scratch, Errno> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let opened = || openat2(at, path, flags, Mode::empty(), resolve).map_err(to_errno);
    let file = match opened() {
        Err(Errno::EMFILE) => {
            // The guest has as many as it may have.
            let _room = descriptors::make_room();
            return Scratch::hold(&opened()?);
        }
        file => file?,
    };
    Scratch::hold(&file)
}

fn to_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
