//! Threads: their start, their numbers, their end.

use monitor_sys::{Errno, guest_copy, process};

use super::{Answer, Args, Reply, low_word};
use crate::thread::{
    Thread,
    start::{self, Start},
};

/// `sizeof(struct robust_list_head)`.
const ROBUST_HEAD_LEN: u64 = 24;
/// `CLONE_ARGS_SIZE_VER0`: the first version of `struct clone_args`.
const CLONE_ARGS_MIN: u64 = 64;
/// The low byte of clone's flags is the signal a child process ends with.
const EXIT_SIGNAL: u64 = 0xff;

pub(super) fn clone(thread: &mut Thread, args: Args) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = args;
    let flags = flags & !EXIT_SIGNAL;
    start::start(thread, Start { flags, stack, tls, parent_tid, child_tid }).map(Reply::Value)
}

/// `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
/// stack_size, tls, then what is newer and must be zero here.
pub(super) fn clone3(thread: &mut Thread, args: Args) -> Answer {
    let [at, size, ..] = args;
    if size < CLONE_ARGS_MIN {
        return Err(Errno::EINVAL);
    }
    let [flags, _, child_tid, parent_tid, exit_signal, stack, stack_len, tls] =
        guest_copy::read::<[u64; 8]>(at)?;
    let more = size.min(88) - CLONE_ARGS_MIN;
    let more = usize::try_from(more / 8).expect("at most three words");
    let newer = guest_copy::read_array::<u64>(at + CLONE_ARGS_MIN, more)?;
    if newer.iter().any(|&word| word != 0)
        || flags & EXIT_SIGNAL != 0
        || (stack == 0) != (stack_len == 0)
    {
        return Err(Errno::EINVAL);
    }
    if flags & start::THREAD_FLAGS == start::THREAD_FLAGS && exit_signal != 0 {
        return Err(Errno::EINVAL);
    }
    let stack = stack.wrapping_add(stack_len);
    start::start(thread, Start { flags, stack, tls, parent_tid, child_tid }).map(Reply::Value)
}

#[expect(clippy::unnecessary_wraps, reason = "handlers share one type")]
pub(super) fn set_tid_address(thread: &mut Thread, args: Args) -> Answer {
    thread.clear_at_exit = args[0];
    Ok(Reply::Value(u64::from(process::thread_id())))
}

pub(super) fn set_robust_list(thread: &mut Thread, args: Args) -> Answer {
    if args[1] != ROBUST_HEAD_LEN {
        return Err(Errno::EINVAL);
    }
    thread.robust_list = args[0];
    Ok(Reply::Value(0))
}

/// Only a thread's own list is known here.
pub(super) fn get_robust_list(thread: &mut Thread, args: Args) -> Answer {
    let [thread_id, head, len, ..] = args;
    if thread_id != 0 && low_word(thread_id) != process::thread_id() {
        return Err(Errno::EPERM);
    }
    guest_copy::write(len, &ROBUST_HEAD_LEN)?;
    guest_copy::write(head, &thread.robust_list)?;
    Ok(Reply::Value(0))
}

#[expect(clippy::unnecessary_wraps, reason = "handlers share one type")]
pub(super) fn exit(_thread: &mut Thread, args: Args) -> Answer {
    Ok(Reply::EndThread(low_word(args[0]) & 0xff))
}

pub(super) fn exit_group(thread: &mut Thread, args: Args) -> Answer {
    if thread.process.options.trace.is_some() {
        let number = u64::try_from(monitor_sys::abi::number::EXIT_GROUP).expect("231");
        super::trace::print(&thread.process, number, args, Ok(Reply::EndThread(0)));
    }
    process::exit_group(low_word(args[0]) & 0xff)
}
