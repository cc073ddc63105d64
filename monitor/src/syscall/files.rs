//! Files: opening with a look at what was opened, the guest's own
//! `/proc/self/exe`, and what only some arguments of a call make harmless.

use monitor_sys::{
    Errno,
    abi::{Forwardable, number, variants},
    files, forward, guest_copy,
};

use super::{Answer, Args, Reply, low_word, reply};
use crate::{files::proc_self, thread::Thread};

/// `CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_FLAGS: u64 = 6;
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
    if names_executable(args[path]) {
        let executable = &thread.process.executable;
        return reply(files::open_instead(memory, number, args, executable)?);
    }
    reply(files::open(memory, number, args)?)
}

pub(super) fn open_by_handle_at(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    reply(files::open(memory, number::OPEN_BY_HANDLE_AT, args)?)
}

pub(super) fn readlink(thread: &mut Thread, args: Args) -> Answer {
    if names_executable(args[0]) {
        return copy_executable(thread, args[1], args[2]);
    }
    super::forward(thread, Forwardable::READLINK, args)
}

pub(super) fn readlinkat(thread: &mut Thread, args: Args) -> Answer {
    if names_executable(args[1]) {
        return copy_executable(thread, args[2], args[3]);
    }
    super::forward(thread, Forwardable::READLINKAT, args)
}

/// Whether the path at `address` is a name of the process's own program.
fn names_executable(address: u64) -> bool {
    let path = guest_copy::read_string(address, PATH_MAX);
    path.is_ok_and(|path| proc_self::names_executable(&path))
}

fn copy_executable(thread: &Thread, buffer: u64, len: u64) -> Answer {
    use std::os::unix::ffi::OsStrExt;
    let path = thread.process.executable.as_os_str().as_bytes();
    let len = match low_word(len).cast_signed() {
        ..=0 => return Err(Errno::EINVAL),
        len => usize::try_from(len).unwrap_or(0).min(path.len()),
    };
    forward::check_pointer(buffer, monitor_sys::host_call::to_u64(len))?;
    guest_copy::write_bytes(buffer, &path[..len])?;
    Ok(Reply::Value(monitor_sys::host_call::to_u64(len)))
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
