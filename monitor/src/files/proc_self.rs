//! Links of `/proc/<pid>` that would lead to the monitor: `exe`, its mapped files, and the names of
//! its descriptors. They are known by what they are, whatever path names them.

use std::os::fd::BorrowedFd;

use monitor_sys::{
    Errno, descriptors,
    guest_memory::{GUEST_END, GuestMemory},
    proc_files::{self, ProcFile},
    procfs::Procfs,
};
use rustix::fs::CWD;

use super::neighbour::{self, Owner, Subject, Viewer};

/// `AT_FDCWD`, as the kernel takes it.
const WORKING_DIRECTORY: u64 = 0xffff_ff9c;

/// A path and where it starts.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) path: &'a [u8],
}

impl<'a> Place<'a> {
    /// From the guest's descriptor, or `AT_FDCWD`. `EBADF` if it is not the guest's.
    pub fn new(memory: &'a GuestMemory, directory: u64, path: &'a [u8]) -> Result<Self, Errno> {
        let low = u32::try_from(directory & 0xffff_ffff).map_err(|_| Errno::EBADF)?;
        let directory = if directory & 0xffff_ffff == WORKING_DIRECTORY || path.starts_with(b"/") {
            CWD
        } else {
            descriptors::borrow(memory, low.cast_signed())?
        };
        Ok(Self { directory, path })
    }
}

/// Where a link leads to.
#[derive(Clone, Debug)]
pub enum Leads {
    /// To where its content says.
    Plainly,
    /// To a file of a guest's or of a process without a monitor, whatever its content says.
    Magically,
    /// To the program of a guest, which this path leads to in that procfs.
    Program(Procfs, String),
    /// To a file that is a monitor's.
    Hidden,
}

/// What an open file, which may be a link, leads to. `EACCES` if it is the program of a neighbour who does not say
/// which.
pub fn leads(viewer: &Viewer<'_>, file: BorrowedFd<'_>) -> Result<Leads, Errno> {
    let Some(found) = proc_files::identify(file) else { return Ok(Leads::Plainly) };
    // Nobody can tell what one without a name is.
    let ProcFile::Named(name) = found else { return Ok(Leads::Hidden) };
    let Some((process, rest)) = neighbour::split(&name) else { return Ok(Leads::Plainly) };
    let number = rest.strip_prefix("fd/").or_else(|| rest.strip_prefix("fdinfo/"));
    let number = number.and_then(|number| number.parse().ok());
    let procfs = Procfs::of(file, viewer.apart.is_some());
    let subject = procfs.as_ref().map(|procfs| Subject { procfs, process });
    let owner = neighbour::owner_in(viewer, procfs.as_ref(), process)?;
    if let Some(number) = number {
        // What cannot be looked at may be a monitor's.
        let hidden =
            subject.is_none_or(|subject| neighbour::is_hidden(viewer, subject, owner, number));
        return Ok(if hidden { Leads::Hidden } else { Leads::Magically });
    }
    if let Some(range) = rest.strip_prefix("map_files/") {
        let start = u64::from_str_radix(range.split('-').next().unwrap_or_default(), 16);
        let is_monitors = owner != Owner::Other && start.is_ok_and(|start| start >= GUEST_END);
        return Ok(if is_monitors { Leads::Hidden } else { Leads::Magically });
    }
    match procfs {
        _ if rest != "exe" => Ok(Leads::Magically),
        Some(procfs) => program(viewer, procfs, process, owner),
        None => Err(Errno::EACCES),
    }
}

/// Whether the file is one that shows, or leads to, what is a monitor's, or may be: there is no room to find out.
pub fn is_hidden(viewer: &Viewer<'_>, file: BorrowedFd<'_>) -> bool {
    matches!(leads(viewer, file), Ok(Leads::Hidden) | Err(Errno::ENOMEM))
}

fn program(
    viewer: &Viewer<'_>,
    procfs: Procfs,
    process: &str,
    owner: Owner,
) -> Result<Leads, Errno> {
    Ok(match owner {
        Owner::Other => Leads::Magically,
        Owner::Own => {
            let program = viewer.program.ok_or(Errno::EACCES)?;
            Leads::Program(Procfs::OWN, proc_files::own_link(&program))
        }
        Owner::Guest([program, ..]) => {
            Leads::Program(procfs, format!("{process}/fd/{}", program.ok_or(Errno::EACCES)?))
        }
    })
}

/// Whether a path ends as these links do, or in the link that a descriptor is, or names the monitor's on its way.
pub fn may_be_meant(path: &[u8]) -> bool {
    let mut names = path.rsplit(|&byte| byte == b'/');
    names.next().is_some_and(may_be_link)
        || names.any(|name| number(name).is_some_and(descriptors::is_ours))
}

fn may_be_link(name: &[u8]) -> bool {
    let is_range = || name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    name == b"exe"
        || name.first().is_some_and(u8::is_ascii_hexdigit)
            && (name.iter().all(u8::is_ascii_digit) || name.contains(&b'-') && is_range())
}

/// A name that is a number.
fn number(name: &[u8]) -> Option<i32> {
    let is_number = name.first().is_some_and(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(name).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd, os::unix::ffi::OsStrExt};

    use rustix::fs::{CWD, Mode, OFlags, openat};

    use super::{Leads, leads, may_be_meant};
    use crate::files::neighbour::Viewer;

    fn link_leads(path: &[u8]) -> Leads {
        let program = File::open("/dev/null").unwrap();
        let (program, heap) = (Some(program.as_fd()), [0; 2]);
        let viewer = Viewer { program, heap, ..Viewer::default() };
        let link = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        leads(&viewer, link.as_fd()).unwrap()
    }

    #[test]
    fn the_process_knows_its_program_by_any_name() {
        let own = format!("/proc/{}/exe", std::process::id());
        let dir = std::env::temp_dir().join(format!("km-exe-{}", std::process::id()));
        std::os::unix::fs::symlink("/proc/self", &dir).unwrap();
        let by_link = dir.join("exe");

        for path in [own.as_bytes(), b"/proc/self/exe", b"/proc/thread-self/exe"] {
            assert!(matches!(link_leads(path), Leads::Program(..)), "{}", path.escape_ascii());
        }
        assert!(matches!(link_leads(by_link.as_os_str().as_bytes()), Leads::Program(..)));
        std::fs::remove_file(dir).unwrap();
    }

    #[test]
    fn other_links_are_followed() {
        for path in [&b"/proc/self/fd/0"[..], b"/proc/self/cwd", b"/proc/thread-self/ns/mnt"] {
            let leads = link_leads(path);
            assert!(matches!(leads, Leads::Magically), "{}: {leads:?}", path.escape_ascii());
        }
        for path in [&b"/proc/self"[..], b"/proc/mounts", b"/etc"] {
            let leads = link_leads(path);
            assert!(matches!(leads, Leads::Plainly), "{}: {leads:?}", path.escape_ascii());
        }
    }

    #[test]
    fn few_names_are_looked_at() {
        for path in [&b"exe"[..], b"/proc/1/exe", b"fd/7", b"12", b"map_files/40-50"] {
            assert!(may_be_meant(path), "{}", path.escape_ascii());
        }
        for path in [&b""[..], b"/", b"-", b"exec", b"fd/7/", b"cafe", b"libc.so.6", b"a7"] {
            assert!(!may_be_meant(path), "{}", path.escape_ascii());
        }
    }
}
