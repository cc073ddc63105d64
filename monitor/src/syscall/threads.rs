//! Threads and processes: their start, their numbers, their end.

use monitor_sys::{Errno, abi::variants, guest_copy, process};

use super::{Answer, Args, Reply, low_word, process_control::TASK_SIZE};
use crate::{
    process::fork::{self, Birth},
    thread::{
        Thread,
        start::{self, Start},
    },
};

/// `sizeof(struct robust_list_head)`.
const ROBUST_HEAD_LEN: u64 = 24;
/// `CLONE_ARGS_SIZE_VER0`: the first version of `struct clone_args`.
const CLONE_ARGS_MIN: u64 = 64;
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const SIGCHLD: u64 = 17;
/// The low byte of clone's flags is the signal a child process ends with.
const EXIT_SIGNAL: u64 = 0xff;

pub(super) fn clone(thread: &mut Thread, args: Args) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = args;
    let request = Request {
        flags: flags & 0xffff_ffff & !EXIT_SIGNAL,
        exit_signal: flags & EXIT_SIGNAL,
        stack,
        tls,
        parent_tid,
        child_tid,
        // The old call has one place for both.
        pidfd: parent_tid,
    };
    request.carry_out(thread)
}

pub(super) fn fork(thread: &mut Thread, _args: Args) -> Answer {
    Request { exit_signal: SIGCHLD, ..Request::default() }.carry_out(thread)
}

pub(super) fn vfork(thread: &mut Thread, _args: Args) -> Answer {
    let flags = CLONE_VM | CLONE_VFORK;
    Request { flags, exit_signal: SIGCHLD, ..Request::default() }.carry_out(thread)
}

/// `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
/// stack_size, tls, then what is newer and must be zero here.
pub(super) fn clone3(thread: &mut Thread, args: Args) -> Answer {
    let [at, size, ..] = args;
    if size < CLONE_ARGS_MIN {
        return Err(Errno::EINVAL);
    }
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_len, tls] =
        guest_copy::read::<[u64; 8]>(at)?;
    let more = size.min(88) - CLONE_ARGS_MIN;
    let more = usize::try_from(more / 8).expect("at most three words");
    let newer = guest_copy::read_array::<u64>(at + CLONE_ARGS_MIN, more)?;
    if newer.iter().any(|&word| word != 0)
        || flags & EXIT_SIGNAL != 0
        || exit_signal & !EXIT_SIGNAL != 0
        || (stack == 0) != (stack_len == 0)
    {
        return Err(Errno::EINVAL);
    }
    let stack = stack.wrapping_add(stack_len);
    let request = Request { flags, exit_signal, stack, tls, parent_tid, child_tid, pidfd };
    request.carry_out(thread)
}

/// What `clone` and `clone3` ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Request {
    flags: u64,
    exit_signal: u64,
    stack: u64,
    tls: u64,
    parent_tid: u64,
    child_tid: u64,
    pidfd: u64,
}

impl Request {
    fn carry_out(self, thread: &mut Thread) -> Answer {
        let Self { flags, stack, tls, parent_tid, child_tid, .. } = self;
        if flags & CLONE_SETTLS != 0 && tls >= TASK_SIZE {
            return Err(Errno::EPERM);
        }
        if flags & CLONE_THREAD != 0 {
            let start = Start { flags, stack, tls, parent_tid, child_tid };
            let number = start::start(thread, start)?;
            return Ok(number.map_or(Reply::Again, Reply::Value));
        }
        let birth = Birth {
            flags: flags & !(CLONE_VM | CLONE_VFORK | CLONE_SETTLS),
            exit_signal: self.exit_signal,
            stack,
            tls: (flags & CLONE_SETTLS != 0).then_some(tls),
            parent_tid,
            child_tid,
            pidfd: self.pidfd,
        };
        let child = match (flags & CLONE_VM != 0, flags & CLONE_VFORK != 0) {
            (true, true) => fork::vfork(thread, &birth)?,
            (false, _) => fork::fork(thread, &birth)?,
            // A process that runs on in its parent's memory, beside it.
            (true, false) => return Err(Errno::EINVAL),
        };
        Ok(child.map_or(Reply::Again, Reply::Value))
    }
}

pub(super) fn futex(thread: &mut Thread, args: Args) -> Answer {
    super::forward(thread, variants::futex(args[1]).ok_or(Errno::ENOSYS)?, args)
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
    if thread.process.host.trace.is_some() {
        let number = u64::try_from(monitor_sys::abi::number::EXIT_GROUP).expect("231");
        super::trace::print(&thread.process, number, args, Ok(Reply::EndThread(0)));
    }
    process::exit_group(low_word(args[0]) & 0xff)
}
