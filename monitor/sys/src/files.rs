//! Opening files for the guest.
//!
//! `open(2)` follows only declared pointers, but what it opens could be a door
//! into the monitor: `/proc/<pid>/mem` writes any memory of a process, ours and
//! that of every other monitor in the container. Such a file is closed again
//! before the guest learns its number.

use std::{
    ffi::CString,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::statfs::{PROC_SUPER_MAGIC, fstatfs},
};

use crate::{
    abi::{Arg, Call, Forwardable, lookup},
    forward,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, decode, to_u64},
};

/// The calls that open a file by its path.
const OPENING: [&str; 5] = ["open", "openat", "openat2", "creat", "open_by_handle_at"];

/// What came of opening a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The call's outcome, as the guest shall see it.
    pub outcome: Outcome,
    /// The file's name, if it is one of procfs.
    pub name_on_proc: Option<String>,
}

/// Makes one of the opening calls for the guest.
///
/// `EACCES` if the file would lead into a process's memory.
///
/// # Panics
///
/// If `number` is none of them.
pub fn open(memory: &GuestMemory, number: usize, args: [u64; 6]) -> Result<Opened, Errno> {
    let outcome = forward::forward(memory, opening(number), args)?;
    let plain = Opened { outcome, name_on_proc: None };
    let Outcome::Returned(result) = outcome else { return Ok(plain) };
    let Ok(descriptor) = i32::try_from(decode(result)?) else { return Ok(plain) };
    // SAFETY: the kernel just opened it for this process, and it stays open while
    // it is borrowed, unless the guest closes it from another thread; then the
    // questions below fail or are about another file of the guest's.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if !is_on_proc(file) {
        return Ok(plain);
    }
    let name_on_proc = name_of(file);
    // Where procfs hides its names, because no `/proc` is mounted here, any file
    // of it counts as a door.
    if name_on_proc.as_ref().is_none_or(|name| name.ends_with("/mem")) {
        // SAFETY: as above. The guest has not been told the number.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        return Err(Errno::EACCES);
    }
    Ok(Opened { outcome, name_on_proc })
}

/// The name of an open file or directory of the guest's, if it is one of procfs.
pub fn name_on_proc(file: BorrowedFd<'_>) -> Option<String> {
    if is_on_proc(file) { name_of(file) } else { None }
}

/// Opens `path` where the guest said another name for it.
///
/// # Panics
///
/// If `number` is not that of an opening call.
pub fn open_instead(number: usize, args: [u64; 6], path: &Path) -> Result<Outcome, Errno> {
    with_path(opening(number), args, path)
}

/// Makes a call for the guest with `path` in place of its first string.
pub fn with_path(call: Forwardable, args: [u64; 6], path: &Path) -> Result<Outcome, Errno> {
    let row = call.call();
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::ENOENT)?;
    let mut host = args;
    let first = row.args.iter().position(|kind| *kind == Arg::Str);
    for (at, kind) in row.args.iter().enumerate() {
        if Some(at) == first {
            host[at] = to_u64(path.as_ptr().addr());
        } else {
            forward::check(*kind, at, &args)?;
        }
    }
    // SAFETY: the first string is ours and lives until the call returns; the other
    // arguments were checked against the row, as in `forward`.
    Ok(unsafe { host_call::interruptible(row.number, &host) })
}

fn is_on_proc(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).is_ok_and(|status| status.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The path by which the kernel knows an open file.
fn name_of<T: AsFd>(file: T) -> Option<String> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    std::fs::read_link(link).ok()?.into_os_string().into_string().ok()
}

/// The row, with its pointers declared: the obligation that the row itself does
/// not keep, what the opened file can do, is kept by [`open`].
fn opening(number: usize) -> Forwardable {
    let row = u64::try_from(number).ok().and_then(lookup);
    let row: &'static Call =
        row.filter(|row| OPENING.contains(&row.name)).expect("an opening call");
    Forwardable(row)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::open;
    use crate::{
        abi::number,
        guest_copy,
        guest_memory::{GuestMemory, GuestSpan},
        host_call::Outcome,
    };

    fn open_path(at: u64, path: &str) -> Result<Outcome, Errno> {
        let memory = GuestMemory::claim().unwrap();
        memory.map(GuestSpan::new(at, 4096).unwrap(), 3, 0x22, None, 0).unwrap();
        guest_copy::write_bytes(at, format!("{path}\0").as_bytes()).unwrap();
        open(&memory, number::OPEN, [at, 0, 0, 0, 0, 0]).map(|opened| opened.outcome)
    }

    #[test]
    fn no_way_to_the_memory_of_a_process_is_open() {
        for (at, path) in [
            (0x50_0000, "/proc/self/mem"),
            (0x50_1000, "/proc/thread-self/mem"),
            (0x50_2000, "/proc/1/mem"),
            (0x50_3000, "/proc/self/root/../proc/self/task/../mem"),
        ] {
            assert_eq!(open_path(at, path), Err(Errno::EACCES), "{path}");
        }
    }

    #[test]
    fn other_files_open_as_ever() {
        assert!(matches!(open_path(0x51_0000, "/proc/self/status"), Ok(Outcome::Returned(3..))));
        assert!(matches!(open_path(0x51_1000, "/dev/null"), Ok(Outcome::Returned(3..))));
        assert_eq!(open_path(0x51_2000, "/nowhere"), Err(Errno::ENOENT));
    }
}
