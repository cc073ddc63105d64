//! Threads and processes: their start, their numbers, their end.

use std::sync::atomic::Ordering;

use monitor_sys::{
    Errno,
    abi::{Forwardable, variants},
    forward, guest_copy, nested, process, robust,
};

use super::{Answer, Args, Reply, clone_arguments, low_word, process_control::TASK_SIZE, reply};
use crate::{
    exitless::{actions, first, masks},
    process::{
        alone,
        birth::{self, Birth},
        borrow, fork,
    },
    thread::{
        Thread,
        start::{self, Start},
    },
};

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_DETACHED: u64 = 0x40_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const SIGCHLD: u64 = 17;
/// The highest signal number.
const SIGNAL_MAX: u64 = 64;
/// The low byte of clone's flags is the signal a child process ends with.
const EXIT_SIGNAL: u64 = 0xff;

pub(super) fn clone(thread: &mut Thread, args: Args) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = args;
    let flags = flags & 0xffff_ffff;
    if flags & CLONE_PIDFD != 0 && flags & (CLONE_PARENT_SETTID | CLONE_DETACHED) != 0 {
        // One place for both, or descriptors of what nobody waits for.
        return Err(Errno::EINVAL);
    }
    // A number that is no signal is sent to nobody.
    let exit_signal = flags & EXIT_SIGNAL;
    let exit_signal = if exit_signal > SIGNAL_MAX { 0 } else { exit_signal };
    let flags = flags & !(EXIT_SIGNAL | CLONE_DETACHED);
    let birth = Birth {
        flags,
        exit_signal,
        stack,
        tls: (flags & CLONE_SETTLS != 0).then_some(tls),
        parent_tid,
        child_tid,
        pidfd: parent_tid,
        ..Birth::default()
    };
    carry_out(thread, &birth)
}

pub(super) fn fork(thread: &mut Thread, _args: Args) -> Answer {
    carry_out(thread, &Birth { exit_signal: SIGCHLD, ..Birth::default() })
}

pub(super) fn vfork(thread: &mut Thread, _args: Args) -> Answer {
    let flags = birth::VM | birth::VFORK;
    carry_out(thread, &Birth { flags, exit_signal: SIGCHLD, ..Birth::default() })
}

pub(super) fn clone3(thread: &mut Thread, args: Args) -> Answer {
    let [at, size, ..] = args;
    carry_out(thread, &clone_arguments::read(at, size)?)
}

fn carry_out(thread: &mut Thread, birth: &Birth) -> Answer {
    if birth.tls.is_some_and(|tls| tls >= TASK_SIZE) {
        return Err(Errno::EPERM);
    }
    actions::answer_no_more(thread);
    first::answer_no_more(thread);
    if birth.flags & CLONE_THREAD == 0 {
        masks::settle(thread);
    }
    let number = match (birth.flags & CLONE_THREAD != 0, birth.flags & birth::VM != 0) {
        (true, _) => {
            masks::answer(thread);
            let Birth { flags, stack, parent_tid, child_tid, .. } = *birth;
            let tls = birth.tls.unwrap_or(0);
            start::start(thread, Start { flags, stack, tls, parent_tid, child_tid })?
        }
        (false, true) => borrow::borrow(thread, birth)?,
        (false, false) => fork::fork(thread, birth)?,
    };
    Ok(number.map_or(Reply::Again, Reply::Value))
}

/// `unshare(2)`: a thread with descriptors of its own is noted.
pub(super) fn unshare(thread: &mut Thread, args: Args) -> Answer {
    let answer = process_numbers_last(thread, Forwardable::UNSHARE, args, 0);
    if answer == Ok(Reply::Value(0)) && args[0] & birth::FILES != 0 {
        thread.process.descriptors_differ();
    }
    answer
}

pub(super) fn setns(thread: &mut Thread, args: Args) -> Answer {
    process_numbers_last(thread, Forwardable::SETNS, args, 1)
}

/// A process whose children are to have other numbers gets no further thread, and a machine needs one of the
/// kernel's: so where a machine must be put away for the other namespaces, it is back before that one
/// changes. `flags` is the place of the namespaces among the arguments.
fn process_numbers_last(
    thread: &mut Thread,
    call: Forwardable,
    args: Args,
    flags: usize,
) -> Answer {
    const BOTH: u64 = CLONE_NEWUSER | CLONE_NEWPID;
    // `setns(2)` takes none for any.
    if args[flags] == 0 || args[flags] & CLONE_NEWPID != 0 {
        thread.process.numbers_may_differ.store(true, Ordering::Relaxed);
    }
    if args[flags] & BOTH != BOTH {
        return as_single_thread(thread, call, args);
    }
    let (mut others, mut last) = (args, args);
    others[flags] &= !CLONE_NEWPID;
    last[flags] = CLONE_NEWPID;
    as_single_thread(thread, call, others)?;
    // Who has new users may have new numbers for processes: it is only memory that could be missing.
    super::forward(thread, call, last)
}

/// Where Linux refuses to a process with threads what it grants to one without,
/// the call is made again without the platform's.
fn as_single_thread(thread: &mut Thread, call: Forwardable, args: Args) -> Answer {
    let answer = super::forward(thread, call, args);
    if !matches!(answer, Err(Errno::EINVAL | Errno::EUSERS)) {
        return answer;
    }
    let memory = thread.process.memory.guest_memory().again();
    let again = alone::without_machine(thread, || forward::forward(&memory, call, args));
    again.map_or(answer, |outcome| reply(outcome?))
}

pub(super) fn futex(thread: &mut Thread, args: Args) -> Answer {
    super::forward(thread, variants::futex(args[1]).ok_or(Errno::ENOSYS)?, args)
}

pub(super) fn futex_waitv(thread: &mut Thread, args: Args) -> Answer {
    reply(nested::futex_waitv(thread.process.memory.guest_memory(), args)?)
}

pub(super) fn futex_requeue(thread: &mut Thread, args: Args) -> Answer {
    reply(nested::futex_requeue(thread.process.memory.guest_memory(), args)?)
}

#[expect(clippy::unnecessary_wraps, reason = "handlers share one type")]
pub(super) fn set_tid_address(thread: &mut Thread, args: Args) -> Answer {
    thread.clear_at_exit = args[0];
    Ok(Reply::Value(u64::from(process::thread_id())))
}

pub(super) fn set_robust_list(thread: &mut Thread, args: Args) -> Answer {
    if args[1] != robust::HEAD_LEN {
        return Err(Errno::EINVAL);
    }
    thread.robust_list = args[0];
    thread.announce_robust_futexes();
    Ok(Reply::Value(0))
}

/// Only a thread's own list is known here.
pub(super) fn get_robust_list(thread: &mut Thread, args: Args) -> Answer {
    let [thread_id, head, len, ..] = args;
    if thread_id != 0 && low_word(thread_id) != process::thread_id() {
        return Err(Errno::EPERM);
    }
    guest_copy::write(len, &robust::HEAD_LEN)?;
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
    thread.process.tell_stats();
    robust::exit_group(thread.robust_list, low_word(args[0]) & 0xff)
}
