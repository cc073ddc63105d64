//! Socket calls with pointers behind pointers.

use monitor_sys::{
    Errno,
    abi::{
        Forwardable, number,
        variants::{self, UNKNOWN_LEVEL},
    },
    guest_copy,
    host_call::Outcome,
    messages,
};

use super::{Answer, Args, Reply, low_word, reply};
use crate::thread::Thread;

/// `sizeof(struct mmsghdr)`: a header, the bytes sent or received, padding.
const MULTIPLE_LEN: u64 = 64;
/// Where the count of bytes lies in it.
const COUNT_AT: u64 = 56;
/// `UIO_MAXIOV`: the most messages of one call.
const MESSAGES_MAX: u32 = 1024;
/// `MSG_DONTWAIT`.
const DONT_WAIT: u64 = 0x40;
/// `MSG_WAITFORONE`.
const WAIT_FOR_ONE: u64 = 0x1_0000;

pub(super) fn sendmsg(thread: &mut Thread, args: Args) -> Answer {
    reply(messages::send(thread.process.memory.guest_memory(), args[0], args[1], args[2])?)
}

pub(super) fn recvmsg(thread: &mut Thread, args: Args) -> Answer {
    reply(messages::receive(thread.process.memory.guest_memory(), args[0], args[1], args[2])?)
}

pub(super) fn sendmmsg(thread: &mut Thread, args: Args) -> Answer {
    let [socket, vector, count, flags, ..] = args;
    if low_word(count) == 0 {
        let memory = thread.process.memory.guest_memory();
        return reply(messages::of_none(memory, number::SENDMMSG, socket, flags, 0)?);
    }
    each_message(vector, count, |at, _| {
        messages::send(thread.process.memory.guest_memory(), socket, at, flags)
    })
}

/// The time limit is looked at by the kernel only between messages, and only
/// matters for more than one: here the call ends when no message waits.
pub(super) fn recvmmsg(thread: &mut Thread, args: Args) -> Answer {
    let [socket, vector, count, flags, timeout, _] = args;
    if low_word(count) == 0 || timeout != 0 {
        // The time limit is looked at before the socket, and both are before the first message.
        let memory = thread.process.memory.guest_memory();
        let answer = reply(messages::of_none(memory, number::RECVMMSG, socket, flags, timeout)?);
        if low_word(count) == 0 || answer != Ok(Reply::Value(0)) {
            return answer;
        }
    }
    each_message(vector, count, |at, done| {
        let waits = done == 0 || (flags & WAIT_FOR_ONE == 0 && timeout == 0);
        let flags = flags & !WAIT_FOR_ONE | if waits { 0 } else { DONT_WAIT };
        messages::receive(thread.process.memory.guest_memory(), socket, at, flags)
    })
}

/// One call for each element, until one fails; the number that succeeded.
fn each_message(
    vector: u64,
    count: u64,
    mut call: impl FnMut(u64, u64) -> Result<Outcome, Errno>,
) -> Answer {
    let count = u64::from(low_word(count).min(MESSAGES_MAX));
    for done in 0..count {
        let at = vector.wrapping_add(done * MULTIPLE_LEN);
        let answer = call(at, done).and_then(reply);
        match answer {
            Ok(Reply::Value(bytes)) => guest_copy::write(at + COUNT_AT, &low_word(bytes))?,
            stopped if done == 0 => return stopped,
            _ => return Ok(Reply::Value(done)),
        }
    }
    Ok(Reply::Value(count))
}

pub(super) fn getsockopt(thread: &mut Thread, args: Args) -> Answer {
    with_option(thread, variants::getsockopt, args)
}

pub(super) fn setsockopt(thread: &mut Thread, args: Args) -> Answer {
    with_option(thread, variants::setsockopt, args)
}

/// What has no row is answered as the socket answers what it does not know.
fn with_option(
    thread: &Thread,
    row: impl Fn(u64, u64) -> Option<Forwardable>,
    args: Args,
) -> Answer {
    if let Some(call) = row(args[1], args[2]) {
        return super::forward(thread, call, args);
    }
    let [socket, _, _, value, len, _] = args;
    let unknown = [socket, UNKNOWN_LEVEL, 0, value, len, 0];
    super::forward(thread, row(UNKNOWN_LEVEL, 0).ok_or(Errno::ENOPROTOOPT)?, unknown)
}
