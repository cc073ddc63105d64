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

/// Makes one of the opening calls for the guest.
///
/// `EACCES` if the file would lead into a process's memory.
///
/// # Panics
///
/// If `number` is none of them.
pub fn open(memory: &GuestMemory, number: usize, args: [u64; 6]) -> Result<Outcome, Errno> {
    let outcome = forward::forward(memory, opening(number), args)?;
    let Outcome::Returned(result) = outcome else {
        return Ok(outcome);
    };
    let Ok(descriptor) = i32::try_from(decode(result)?) else {
        return Ok(outcome);
    };
    // SAFETY: the kernel just opened it for this process, and it stays open while
    // it is borrowed, unless the guest closes it from another thread; then the
    // questions below fail or are about another file of the guest's.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if is_process_memory(file) {
        // SAFETY: as above. The guest has not been told the number.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        return Err(Errno::EACCES);
    }
    Ok(outcome)
}

/// The same, but for the path: `path` is opened, where the guest said another.
pub fn open_instead(
    memory: &GuestMemory,
    number: usize,
    args: [u64; 6],
    path: &Path,
) -> Result<Outcome, Errno> {
    let row = opening(number).call();
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::ENOENT)?;
    let mut host = args;
    for (at, kind) in row.args.iter().enumerate() {
        if *kind == Arg::Str {
            host[at] = to_u64(path.as_ptr().addr());
        } else {
            forward::check(*kind, at, &args)?;
        }
    }
    _ = memory;
    // SAFETY: the one string is ours and lives until the call returns; the other
    // arguments were checked against the row, as in `forward`.
    Ok(unsafe { host_call::interruptible(number, &host) })
}

/// Whether a file is some process's memory. Where procfs hides its name, because
/// no `/proc` is mounted here, any file of it counts as that.
fn is_process_memory(file: BorrowedFd<'_>) -> bool {
    let on_proc = fstatfs(file).is_ok_and(|status| status.filesystem_type() == PROC_SUPER_MAGIC);
    on_proc && name_of(file).is_none_or(|name| name.ends_with("/mem"))
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
        open(&memory, number::OPEN, [at, 0, 0, 0, 0, 0])
    }

    #[test]
    fn no_way_to_a_processs_memory_is_open() {
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
