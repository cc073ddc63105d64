//! Files of `/proc/<pid>` whose true content would be the monitor's: memory maps,
//! the environment, the auxiliary vector. The guest gets a file in memory with
//! its own part of them, as of when it was opened.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::fd::{BorrowedFd, OwnedFd},
};

use monitor_launch::LAUNCH_VARIABLE;
use monitor_sys::{Errno, guest_memory::GUEST_END};
use rustix::fs::{MemfdFlags, Stat, fstat, memfd_create, stat};
use zerocopy::IntoBytes;

/// The process that looks.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// The monitor's program, by which a monitor is known.
    pub monitor: Option<BorrowedFd<'a>>,
    /// The process's own auxiliary vector.
    pub auxiliary: &'a [u64],
}

/// What of a process a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Lines that begin with a range of addresses, other lines belonging to the
    /// one before.
    Maps,
    /// The environment the program was executed with.
    Environment,
    /// The auxiliary vector.
    Auxiliary,
}

/// The file to be seen in place of `file`, which is called `name`; `None` if it
/// may be seen itself.
pub fn substitute(
    viewer: &Viewer<'_>,
    name: &str,
    file: BorrowedFd<'_>,
) -> Result<Option<OwnedFd>, Errno> {
    let Some((folder, kind)) = split(name) else { return Ok(None) };
    if !is_a_monitors(viewer, folder) {
        return Ok(None);
    }
    let own = folder.ends_with(&format!("/{}", std::process::id()));
    let content = match kind {
        Kind::Maps => guest_maps(&read(file)?),
        Kind::Environment => without_launch_variable(read(file)?),
        Kind::Auxiliary if own => viewer.auxiliary.as_bytes().to_vec(),
        // Another guest's is in its monitor's memory only.
        Kind::Auxiliary => Vec::new(),
    };
    file_with(&content).map(Some)
}

/// The process's folder, and what the file in it shows.
fn split(name: &str) -> Option<(&str, Kind)> {
    let (folder, file) = name.rsplit_once('/')?;
    let kind = match file {
        "maps" | "smaps" | "numa_maps" => Kind::Maps,
        "environ" => Kind::Environment,
        "auxv" => Kind::Auxiliary,
        _ => return None,
    };
    let process = folder.rsplit_once("/task/").map_or(folder, |(process, _)| process);
    Some((process, kind))
}

/// Whether the process of that folder runs the same program as this one.
fn is_a_monitors(viewer: &Viewer<'_>, folder: &str) -> bool {
    let Some(monitor) = viewer.monitor else { return true };
    let same = |one: Stat, other: Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
    match (fstat(monitor), stat(format!("{folder}/exe"))) {
        (Ok(monitor), Ok(program)) => same(monitor, program),
        _ => true,
    }
}

fn read(file: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut copy = File::from(file.try_clone_to_owned().map_err(|_| Errno::EMFILE)?);
    let mut content = Vec::new();
    copy.read_to_end(&mut content).map_err(|_| Errno::EIO)?;
    Ok(content)
}

fn file_with(content: &[u8]) -> Result<OwnedFd, Errno> {
    let memory = memfd_create("proc", MemfdFlags::CLOEXEC);
    let memory = memory.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let mut file = File::from(memory);
    file.write_all(content).map_err(|_| Errno::ENOMEM)?;
    file.rewind().map_err(|_| Errno::EIO)?;
    Ok(file.into())
}

/// The entries of guest memory.
fn guest_maps(content: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut is_shown = false;
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        if let Some(start) = start_of_range(line) {
            is_shown = start < GUEST_END;
        }
        if is_shown {
            shown.extend(line);
        }
    }
    shown
}

/// The address a line begins with: `start-end perms …`, or in `numa_maps`
/// `start policy …`. Attributes (`Rss:  4 kB`) begin with a capital and a colon.
fn start_of_range(line: &[u8]) -> Option<u64> {
    let word = line.split(|&byte| byte == b' ').next()?;
    let digits = word.split(|&byte| byte == b'-').next()?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_number = digits.len() >= 8 && !digits.contains(|letter: char| letter.is_uppercase());
    if is_number { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn without_launch_variable(mut content: Vec<u8>) -> Vec<u8> {
    if content.starts_with(LAUNCH_VARIABLE.as_bytes()) {
        let end = content.iter().position(|&byte| byte == 0).map_or(content.len(), |end| end + 1);
        content.drain(..end);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::{Kind, guest_maps, split, without_launch_variable};

    #[test]
    fn the_monitors_mappings_are_left_out() {
        let content = b"\
00400000-00401000 r-xp 00000000 00:00 0 /bin/true
Size:                  4 kB
Rss:                   4 kB
4000000000-4000001000 rw-p 00000000 00:00 0
VmFlags: rd wr
555500000000-555500001000 r-xp 00000000 00:00 0 /km
Size:                  4 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
";
        let shown = String::from_utf8(guest_maps(content)).unwrap();

        assert_eq!(shown.lines().count(), 5);
        assert!(shown.ends_with("VmFlags: rd wr\n"));
    }

    #[test]
    fn the_launch_variable_is_left_out_of_the_environment() {
        let strip = |content: &[u8]| without_launch_variable(content.to_vec());

        assert_eq!(strip(b"KM_LAUNCH=961\0A=1\0"), b"A=1\0");
        assert_eq!(strip(b"A=1\0KM_LAUNCH=961\0"), b"A=1\0KM_LAUNCH=961\0");
        assert_eq!(strip(b"KM_LAUNCH=961"), b"");
    }

    #[test]
    fn names_split_into_process_and_kind() {
        assert_eq!(split("/proc/7/maps"), Some(("/proc/7", Kind::Maps)));
        assert_eq!(split("/proc/7/task/9/smaps"), Some(("/proc/7", Kind::Maps)));
        assert_eq!(split("/host/proc/7/auxv"), Some(("/host/proc/7", Kind::Auxiliary)));
        assert_eq!(split("/proc/7/status"), None);
    }
}
