//! Calls by which a process reaches into another, or into itself by its number.
//!
//! Another guest is another monitor: its memory and its descriptors are left alone.

use std::sync::Arc;

use monitor_sys::{
    Errno,
    abi::{Forwardable, number, variants},
    descriptors, forward, nested, process,
};

use super::{Answer, Args, low_word, reply};
use crate::{files::pidfd, thread::Thread};

/// `KCMP_FILE`, which compares two descriptors.
const COMPARE_FILES: u32 = 0;
/// `KCMP_VM`.
const SAME_MEMORY: u64 = 1;
/// `KCMP_EPOLL_TFD`, which compares one with what an epoll instance waits for.
const COMPARE_WITH_TARGET: u32 = 7;

pub(super) fn process_vm_readv(thread: &mut Thread, args: Args) -> Answer {
    copy_within(thread, number::PROCESS_VM_READV, args)
}

pub(super) fn process_vm_writev(thread: &mut Thread, args: Args) -> Answer {
    copy_within(thread, number::PROCESS_VM_WRITEV, args)
}

fn copy_within(thread: &Thread, number: usize, args: Args) -> Answer {
    let whose = own_only(args[0]).map(|()| process::thread_id());
    let memory = thread.process.memory.guest_memory();
    reply(nested::copy_within(memory, number, whose, args)?)
}

/// Process 0 is the caller.
pub(super) fn move_pages(thread: &mut Thread, args: Args) -> Answer {
    if low_word(args[0]) != 0 {
        own_only(args[0])?;
    }
    reply(nested::move_pages(thread.process.memory.guest_memory(), args)?)
}

/// `ESRCH` or `EPERM` for the number of another process.
fn own_only(number: u64) -> Result<(), Errno> {
    match process::find(low_word(number).cast_signed())? {
        process::Whose::Own => Ok(()),
        process::Whose::Other => Err(Errno::EPERM),
    }
}

pub(super) fn kcmp(thread: &mut Thread, args: Args) -> Answer {
    let [first, second, kind, first_index, second_index, _] = args;
    let Some(call) = variants::kcmp(kind) else {
        // Linux looks at the processes before it looks at the type: as it does for one that nobody knows.
        let call = variants::kcmp(SAME_MEMORY).ok_or(Errno::EINVAL)?;
        return super::forward(thread, call, [first, second, u64::MAX, 0, 0, 0]);
    };
    let kind = low_word(kind);
    if [COMPARE_FILES, COMPARE_WITH_TARGET].contains(&kind) {
        check_own(first, first_index)?;
    }
    if kind == COMPARE_FILES {
        check_own(second, second_index)?;
    }
    super::forward(thread, call, args)
}

/// A descriptor of the monitor's is not open in this process.
fn check_own(number: u64, descriptor: u64) -> Result<(), Errno> {
    match process::find(low_word(number).cast_signed())? {
        process::Whose::Own => forward::check_descriptor(descriptor),
        process::Whose::Other => Ok(()),
    }
}

/// Another guest's monitor does not say which descriptors are its own, and for a
/// moment some are open at low numbers: nothing can be had from there.
pub(super) fn pidfd_getfd(thread: &mut Thread, args: Args) -> Answer {
    let [pidfd, descriptor, flags, ..] = args;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let memory = thread.process.memory.guest_memory();
    let file = descriptors::borrow(memory, low_word(pidfd).cast_signed())?;
    let number = pidfd::process_of(file)?;
    match process::find(number)? {
        process::Whose::Own => forward::check_descriptor(descriptor)?,
        process::Whose::Other => return Err(Errno::EPERM),
    }
    // It may stand for any of this process's threads.
    let process = Arc::clone(&thread.process);
    let _idle = process.aside.idle();
    super::forward(thread, Forwardable::PIDFD_GETFD, args)
}
