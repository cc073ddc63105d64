//! What fits nowhere else.

use std::sync::atomic::Ordering;

use monitor_sys::{Errno, abi::variants, guest_copy, nested};

use super::{Answer, Args, Reply, low_word, reply};
use crate::{
    process::{aside::Aside, identity},
    thread::Thread,
};

pub(super) fn uname(thread: &mut Thread, args: Args) -> Answer {
    let process = &thread.process;
    let suffix = process.host.release_suffix.then(|| process.machine.name());
    guest_copy::write_bytes(args[0], &identity::uname(suffix))?;
    Ok(Reply::Value(0))
}

pub(super) fn semctl(thread: &mut Thread, args: Args) -> Answer {
    super::forward(thread, variants::semctl(args[2]).ok_or(Errno::EINVAL)?, args)
}

pub(super) fn mq_notify(thread: &mut Thread, args: Args) -> Answer {
    Aside::stay(&thread.process);
    thread.process.is_notified_of_messages.store(true, Ordering::Relaxed);
    reply(nested::mq_notify(thread.process.memory.guest_memory(), args[0], args[1])?)
}

pub(super) fn fsconfig(thread: &mut Thread, args: Args) -> Answer {
    if low_word(args[0]).cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    super::forward(thread, variants::fsconfig(args[1]).ok_or(Errno::EOPNOTSUPP)?, args)
}
