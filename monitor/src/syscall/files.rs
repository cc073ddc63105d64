//! Files: opening with a look at what was opened, the guest's own
//! `/proc/self/exe`, and what only some arguments of a call make harmless.

use std::os::fd::AsFd;

use monitor_sys::{
    Errno,
    abi::{Forwardable, number, variants},
    descriptors,
    files::{self, Opened},
    forward, guest_copy,
    host_call::to_u64,
};

use super::{Answer, Args, Reply, low_word, reply};
use crate::{
    files::{
        proc_self,
        proc_view::{self, Viewer},
    },
    thread::Thread,
};

/// `CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_FLAGS: u64 = 6;
/// `AT_SYMLINK_NOFOLLOW`.
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// `PATH_MAX`.
const PATH_MAX: usize = 4096;

pub(super) fn open(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPEN, args, 0)
}

pub(super) fn creat(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::CREAT, args, 0)
}

pub(super) fn openat(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPENAT, args, 1)
}

pub(super) fn openat2(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPENAT2, args, 1)
}

fn open_path(thread: &Thread, number: usize, args: Args, path: usize) -> Answer {
    let memory = thread.process.memory.guest_memory();
    if names_hidden(args[path]) {
        return Err(Errno::ENOENT);
    }
    if names_executable(args[path]) {
        let executable = &thread.process.executable;
        return reply(files::open_instead(number, args, executable)?);
    }
    finish(thread, files::open(memory, number, args)?)
}

/// A file of procfs that would show the monitor is replaced by one that shows the
/// guest.
fn finish(thread: &Thread, opened: Opened) -> Answer {
    let answer = reply(opened.outcome)?;
    let (Reply::Value(descriptor), Some(name)) = (answer, opened.name_on_proc) else {
        return Ok(answer);
    };
    let memory = thread.process.memory.guest_memory();
    let number = low_word(descriptor).cast_signed();
    let file = descriptors::borrow(memory, number)?;
    let process = &thread.process;
    let monitor = process.host.monitor.as_ref().map(AsFd::as_fd);
    let viewer = Viewer { monitor, auxiliary: &process.auxiliary };
    if let Some(shown) = proc_view::substitute(&viewer, &name, file)? {
        descriptors::replace(memory, number, &shown)?;
    }
    Ok(answer)
}

pub(super) fn getdents(thread: &mut Thread, args: Args) -> Answer {
    list(thread, Forwardable::GETDENTS, args)
}

pub(super) fn getdents64(thread: &mut Thread, args: Args) -> Answer {
    list(thread, Forwardable::GETDENTS64, args)
}

/// Leaves the monitor's descriptors out of a process's list of its own.
fn list(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    loop {
        let answer = super::forward(thread, call, args)?;
        let Reply::Value(len @ 1..) = answer else { return Ok(answer) };
        let memory = thread.process.memory.guest_memory();
        let directory = descriptors::borrow(memory, low_word(args[0]).cast_signed())?;
        let name = files::name_on_proc(directory);
        if !name.is_some_and(|name| proc_self::is_own_list(&name)) {
            return Ok(answer);
        }
        let mut entries = vec![0; usize::try_from(len).map_err(|_| Errno::EINVAL)?];
        guest_copy::read_bytes(args[1], &mut entries)?;
        let shown = proc_self::without_hidden(&entries, call.call().number == number::GETDENTS64);
        if !shown.is_empty() {
            guest_copy::write_bytes(args[1], &shown)?;
            return Ok(Reply::Value(to_u64(shown.len())));
        }
    }
}

pub(super) fn open_by_handle_at(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    finish(thread, files::open(memory, number::OPEN_BY_HANDLE_AT, args)?)
}

pub(super) fn readlink(thread: &mut Thread, args: Args) -> Answer {
    if names_executable(args[0]) {
        return copy_executable(thread, args[1], args[2]);
    }
    if names_hidden(args[0]) {
        return Err(Errno::ENOENT);
    }
    super::forward(thread, Forwardable::READLINK, args)
}

pub(super) fn readlinkat(thread: &mut Thread, args: Args) -> Answer {
    if names_executable(args[1]) {
        return copy_executable(thread, args[2], args[3]);
    }
    if names_hidden(args[1]) {
        return Err(Errno::ENOENT);
    }
    super::forward(thread, Forwardable::READLINKAT, args)
}

/// Calls about what a path leads to.
macro_rules! about_path {
    ($($handler:ident $call:ident $path:literal;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            about_path(thread, Forwardable::$call, args, $path)
        })*
    };
}

about_path! {
    stat STAT 0;
    access ACCESS 0;
    statfs STATFS 0;
    newfstatat NEWFSTATAT 1;
    faccessat FACCESSAT 1;
    faccessat2 FACCESSAT2 1;
    statx STATX 1;
}

/// The name of the process's own program leads to the guest's.
fn about_path(thread: &Thread, call: Forwardable, args: Args, path: usize) -> Answer {
    // Where it matters that a link is not followed, the link itself is asked for.
    let flags_at = match call.call().number {
        number::NEWFSTATAT | number::FACCESSAT2 => Some(3),
        number::STATX => Some(2),
        _ => None,
    };
    let follows = flags_at.is_none_or(|at| args[at] & AT_SYMLINK_NOFOLLOW == 0);
    if follows && names_executable(args[path]) {
        return reply(files::with_path(call, args, &thread.process.executable)?);
    }
    super::forward(thread, call, args)
}

/// Whether the path at `address` is a name of the process's own program.
fn names_executable(address: u64) -> bool {
    let path = guest_copy::read_string(address, PATH_MAX);
    path.is_ok_and(|path| proc_self::names_executable(&path))
}

/// Whether the path at `address` is a name of a descriptor of the monitor's.
fn names_hidden(address: u64) -> bool {
    let path = guest_copy::read_string(address, PATH_MAX);
    path.is_ok_and(|path| proc_self::names_hidden(&path))
}

fn copy_executable(thread: &Thread, buffer: u64, len: u64) -> Answer {
    use std::os::unix::ffi::OsStrExt;
    let path = thread.process.executable.as_os_str().as_bytes();
    let len = match low_word(len).cast_signed() {
        ..=0 => return Err(Errno::EINVAL),
        len => usize::try_from(len).unwrap_or(0).min(path.len()),
    };
    forward::check_pointer(buffer, to_u64(len))?;
    guest_copy::write_bytes(buffer, &path[..len])?;
    Ok(Reply::Value(to_u64(len)))
}

pub(super) fn fcntl(thread: &mut Thread, args: Args) -> Answer {
    let call = variants::fcntl(args[1]).ok_or(Errno::EINVAL)?;
    super::forward(thread, call, args)
}

/// An unknown request is refused as by a file that does not know it.
pub(super) fn ioctl(thread: &mut Thread, args: Args) -> Answer {
    forward::check_descriptor(args[0])?;
    let call = variants::ioctl(args[1]).ok_or(Errno::ENOTTY)?;
    super::forward(thread, call, args)
}

pub(super) fn close_range(_thread: &mut Thread, args: Args) -> Answer {
    let (first, last) = (low_word(args[0]), low_word(args[1]));
    if first > last || args[2] & !CLOSE_RANGE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    forward::close_range(first, last, args[2]).map(Reply::Value)
}
