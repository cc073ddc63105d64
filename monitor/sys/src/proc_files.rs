//! What a file of procfs is, whatever path led to it.
//!
//! A path proves nothing: every part of procfs can be mounted elsewhere, under any
//! name. A file's name here is the one inside procfs, as in `/12/maps`: the
//! kernel's own name for the open file, with the mount's root in place of the
//! mount's point.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

use nix::{
    errno::Errno,
    sys::{
        stat::{FileStat, SFlag, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use crate::{
    descriptors, proc_mount,
    proc_name::{self, Identity},
    procfs::Procfs,
};

/// The mode of `/proc/<pid>/mem`, which nobody can change, and of no other file of
/// a process.
const MEMORY_MODE: u32 = 0o600;

/// The root of the true procfs that was at `/proc` when the first monitor started.
static ROOT: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// See [`place`].
static PLACE: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// A file of procfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcFile {
    /// Its path from procfs's root.
    Named(String),
    /// One whose name cannot be found out.
    Nameless,
    /// One whose place is empty: its process has ended, or something is mounted over it.
    Gone,
}

impl ProcFile {
    /// The path from procfs's root, if it is known.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Nameless | Self::Gone => None,
        }
    }

    /// Why nothing is done with one that has no name.
    pub fn refusal(&self) -> Errno {
        if *self == Self::Gone { Errno::ENOENT } else { Errno::EACCES }
    }
}

/// Takes hold of procfs before the guest can put something in its place: of what the monitor before this one had, which is
/// hidden, or of what is found.
pub fn prepare(inherited: Option<OwnedFd>) {
    ROOT.get_or_init(|| {
        inherited.filter(|root| proc_mount::is_root(root.as_fd())).or_else(find).inspect(keep_root)
    });
    place();
}

fn find() -> Option<OwnedFd> {
    descriptors::hide(proc_mount::find()?).ok()
}

fn keep_root(root: &OwnedFd) {
    descriptors::keep_always(0, root);
}

/// The place at which the guest had the same procfs when the monitor started, and by which most files are named.
fn place() -> Option<BorrowedFd<'static>> {
    let place = PLACE.get_or_init(|| {
        let folder = proc_mount::at_its_place()?;
        let [own, other] = [root()?, folder.as_fd()].map(|root| Identity::of(root).ok());
        let is_another = is_of_root(folder.as_fd()) && own != other;
        let hidden = is_another.then(|| descriptors::hide(folder).ok()).flatten()?;
        descriptors::keep_always(1, &hidden);
        Some(hidden)
    });
    place.as_ref().map(AsFd::as_fd)
}

/// Procfs's root, if there is a true procfs at `/proc`, or there can be one.
pub fn root() -> Option<BorrowedFd<'static>> {
    let found = ROOT.get_or_init(|| find().inspect(keep_root));
    found.as_ref().map(AsFd::as_fd)
}

/// The roots of that procfs by which most of its files are named.
pub(crate) fn roots() -> impl Iterator<Item = BorrowedFd<'static>> {
    [root(), place()].into_iter().flatten()
}

/// Whether the file is on the very procfs that [`root`] is of, not on that of another namespace.
pub fn is_of_root(file: BorrowedFd<'_>) -> bool {
    let device = |file: BorrowedFd<'_>| fstat(file).map(|status| status.st_dev).ok();
    root().and_then(device).is_some_and(|own| device(file) == Some(own))
}

/// Opens a file of the monitor's procfs by its path from the root, for reading.
pub fn open(path: &str) -> Result<File, Errno> {
    Procfs::OWN.open(path)
}

/// The content of a file of procfs.
pub fn read(path: &str) -> Result<Vec<u8>, Errno> {
    Procfs::OWN.read(path)
}

/// Where a link of procfs leads to, as the kernel words it.
pub fn link(path: &str) -> Result<Vec<u8>, Errno> {
    Procfs::OWN.link(path)
}

/// What the file is if it is one of procfs.
pub fn identify(file: BorrowedFd<'_>) -> Option<ProcFile> {
    is_on_proc(file).then(|| proc_name::find(file))
}

/// Whether the open file leads into the memory of a process, or tells of every address whether something is there. One
/// without a name counts as such.
pub(crate) fn leads_into_memory(file: BorrowedFd<'_>, what: &ProcFile) -> bool {
    let Some(name) = what.name() else { return true };
    let has_mode = |status: FileStat| {
        SFlag::from_bits_truncate(status.st_mode).contains(SFlag::S_IFREG)
            && status.st_mode & 0o777 == MEMORY_MODE
    };
    let is_known = name.ends_with("/mem") || name.ends_with("/pagemap");
    is_known || (!name.starts_with("/sys/") && fstat(file).is_ok_and(has_mode))
}

fn is_on_proc(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|status| status.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The path from procfs's root by which this thread finds its own open file.
pub fn own_link<T: AsRawFd + ?Sized>(file: &T) -> String {
    // Not /proc/self: that is empty once the first thread has ended.
    format!("thread-self/fd/{}", file.as_raw_fd())
}

/// The same path as another thread of the process's has to take it, which has other descriptors.
pub fn from_elsewhere(link: &str) -> Result<String, Errno> {
    let rest = link.strip_prefix("thread-self/").ok_or(Errno::EINVAL)?;
    let own = self::link("thread-self")?;
    Ok(format!("{}/{rest}", String::from_utf8_lossy(&own)))
}

/// Where the roots of a filesystem are mounted.
pub(crate) fn roots_on(device: u64) -> Vec<String> {
    let device = format!("{}:{}", libc::major(device), libc::minor(device));
    let table = read("thread-self/mountinfo").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let point = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_root = words.get(2) == Some(&device.as_str()) && words.get(3) == Some(&"/");
        is_root.then(|| unescaped(words.get(4)?)).flatten()
    };
    table.lines().filter_map(point).collect()
}

/// A word of the table, in which blanks and the like are `\` and three octal digits. `None` if there are other bytes
/// behind it than a path's.
fn unescaped(word: &str) -> Option<String> {
    let mut parts = word.split('\\');
    let mut path = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(3)?;
        path.push(char::from(u8::from_str_radix(code, 8).ok()?));
        path.push_str(rest);
    }
    Some(path)
}

/// Where a mount is, and which folder of its filesystem is there.
///
/// Meanwhile another thread can read from the open table, or change what is mounted, and parts of lines follow each
/// other: believed is what is found twice.
pub(crate) fn find_mount(mount: u64) -> Option<(String, String)> {
    const TRIES: u32 = 8;
    let mut before = None;
    for _ in 0..TRIES {
        let found = look_for_mount(mount);
        if found.is_some() && found == before {
            return found;
        }
        before = found;
    }
    None
}

fn look_for_mount(mount: u64) -> Option<(String, String)> {
    let table = String::from_utf8(read("thread-self/mountinfo").ok()?).ok()?;
    // 36 35 98:0 /root /point options … - type source options
    let line = table
        .lines()
        .find(|line| line.split(' ').next().and_then(|word| word.parse().ok()) == Some(mount))?;
    let mut words = line.split(' ').skip(3);
    let (root, point) = (words.next()?, words.next()?);
    // Blanks and the like are escaped: such a mount has no name here.
    let is_path = |path: &str| path.starts_with('/') && !path.contains('\\');
    (is_path(root) && is_path(point)).then(|| (point.to_owned(), root.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::{ProcFile, identify, leads_into_memory};

    fn name(path: &str) -> Option<ProcFile> {
        identify(File::open(path).unwrap().as_fd())
    }

    #[test]
    fn a_file_has_its_name_inside_procfs() {
        let own = std::process::id();

        assert_eq!(name("/proc/self/maps"), Some(ProcFile::Named(format!("/{own}/maps"))));
        assert_eq!(name("/proc"), Some(ProcFile::Named(String::new())));
        assert_eq!(name("/dev/null"), None);
    }

    #[test]
    fn the_memory_of_a_process_is_known_by_its_mode() {
        let memory = File::open("/proc/self/mem").unwrap();
        let status = File::open("/proc/self/status").unwrap();
        let disguised = ProcFile::Named("/version".to_owned());

        assert!(leads_into_memory(memory.as_fd(), &disguised));
        assert!(leads_into_memory(status.as_fd(), &ProcFile::Nameless));
        assert!(!leads_into_memory(status.as_fd(), &disguised));
    }
}
