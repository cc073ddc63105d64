//! Links of `/proc/<pid>` that would lead to the monitor: `exe`, and the names of
//! its descriptors. They are known by what they are, whatever path names them.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    path::PathBuf,
};

use monitor_sys::{Errno, descriptors, guest_memory::GuestMemory, proc_files};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};

use super::neighbour::{self, Owner, Viewer};

/// `AT_FDCWD`, as the kernel takes it.
const WORKING_DIRECTORY: u64 = 0xffff_ff9c;

/// How often a link may lead to a link (Linux's `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// A path and where it starts.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    directory: BorrowedFd<'a>,
    path: &'a [u8],
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

/// Where the link at a path's end leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// It is no link of procfs to the monitor.
    Elsewhere,
    /// To the program of a guest, which is found by this path.
    Program(PathBuf),
    /// To a descriptor of a monitor's.
    Hidden,
}

/// Looks at the end of a path. `EACCES` if it is the program of a neighbour who
/// does not say which.
pub fn look(viewer: &Viewer<'_>, place: &Place<'_>) -> Result<Leads, Errno> {
    if !may_be_meant(place.path) {
        return Ok(Leads::Elsewhere);
    }
    let found = if place.path.is_empty() {
        proc_files::identify(place.directory)
    } else {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(link) = openat(place.directory, place.path, flags, Mode::empty()) else {
            return Ok(Leads::Elsewhere);
        };
        proc_files::identify(std::os::fd::AsFd::as_fd(&link))
    };
    let name = found.as_ref().and_then(proc_files::ProcFile::name);
    let Some((process, rest)) = name.and_then(neighbour::split) else {
        return Ok(Leads::Elsewhere);
    };
    let number = rest.strip_prefix("fd/").or_else(|| rest.strip_prefix("fdinfo/"));
    if let Some(number) = number.and_then(|number| number.parse().ok()) {
        let owner = neighbour::owner(viewer, process);
        let hidden = neighbour::is_hidden(viewer, process, owner, number);
        return Ok(if hidden { Leads::Hidden } else { Leads::Elsewhere });
    }
    if rest == "exe" { program(viewer, process) } else { Ok(Leads::Elsewhere) }
}

/// The same, having followed links that are not of procfs at the path's end.
pub fn look_through(viewer: &Viewer<'_>, place: &Place<'_>) -> Result<Leads, Errno> {
    let directory = place.directory;
    let mut path = place.path.to_vec();
    for _ in 0..LINKS_MAX {
        let found = look(viewer, &Place { directory, path: &path })?;
        if found != Leads::Elsewhere {
            return Ok(found);
        }
        let Ok(target) = readlinkat(directory, path.as_slice(), Vec::new()) else { break };
        let target = target.into_bytes();
        if target.starts_with(b"/") {
            path = target;
        } else {
            let folder = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
            path.truncate(folder);
            path.extend(target);
        }
    }
    Ok(Leads::Elsewhere)
}

fn program(viewer: &Viewer<'_>, process: &str) -> Result<Leads, Errno> {
    let path = match neighbour::owner(viewer, process) {
        Owner::Other => return Ok(Leads::Elsewhere),
        Owner::Own => {
            let program = viewer.program.ok_or(Errno::EACCES)?;
            format!("/proc/thread-self/fd/{}", program.as_raw_fd())
        }
        Owner::Guest([program, ..]) => {
            format!("/proc/{process}/fd/{}", program.ok_or(Errno::EACCES)?)
        }
    };
    Ok(Leads::Program(PathBuf::from(path)))
}

/// Whether a path ends as these links do, or in the link that a descriptor is.
fn may_be_meant(path: &[u8]) -> bool {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    last == b"exe" || last.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd, os::unix::ffi::OsStrExt};

    use rustix::fs::CWD;

    use super::{Leads, Place, look};
    use crate::files::neighbour::Viewer;

    fn leads(path: &[u8]) -> Leads {
        let program = File::open("/dev/null").unwrap();
        let (program, heap) = (Some(program.as_fd()), [0; 2]);
        let viewer = Viewer { monitor: None, program, auxiliary: &[], heap, own_filter: false };
        look(&viewer, &Place { directory: CWD, path }).unwrap()
    }

    #[test]
    fn the_process_knows_its_program_by_any_name() {
        let own = format!("/proc/{}/exe", std::process::id());
        let dir = std::env::temp_dir().join(format!("km-exe-{}", std::process::id()));
        std::os::unix::fs::symlink("/proc/self", &dir).unwrap();
        let by_link = dir.join("exe");

        for path in [own.as_bytes(), b"/proc/self/exe", b"/proc/thread-self/exe"] {
            assert!(matches!(leads(path), Leads::Program(_)), "{}", path.escape_ascii());
        }
        assert!(matches!(leads(by_link.as_os_str().as_bytes()), Leads::Program(_)));
        std::fs::remove_file(dir).unwrap();
    }

    #[test]
    fn other_paths_are_other_files() {
        for path in [&b"/proc/1/exe/x"[..], b"/proc/self/fd", b"/proc/self/fd/0", b"/bin/exe"] {
            assert_eq!(leads(path), Leads::Elsewhere, "{}", path.escape_ascii());
        }
    }
}
