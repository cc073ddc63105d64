//! Resource limits. Those that would count the monitor's own memory are kept on the
//! host with the monitor's share added; see [`limits`]. That of descriptors is moved
//! for a moment when the monitor takes one of its own: the guest waits.

use monitor_sys::{Errno, abi::Forwardable, descriptors, guest_copy};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{Answer, Args, Reply, low_word};
use crate::{
    memory::limits::{self, NO_LIMIT},
    thread::Thread,
};

/// `RLIMIT_DATA`.
const DATA: u32 = 2;
/// `RLIMIT_STACK`.
const STACK: u32 = 3;
/// `RLIMIT_NOFILE`.
const DESCRIPTORS: u32 = 7;
/// `RLIMIT_AS`.
const ADDRESS_SPACE: u32 = 9;

/// The limit, if it counts the guest's memory only.
fn of_memory(resource: u64) -> Option<Resource> {
    match low_word(resource) {
        DATA => Some(Resource::Data),
        ADDRESS_SPACE => Some(Resource::As),
        _ => None,
    }
}

/// Keeps the limit of descriptors from being moved, if it is asked for.
fn steady(resource: u64) -> Option<descriptors::Room> {
    (low_word(resource) == DESCRIPTORS).then(descriptors::steady_limit)
}

pub(super) fn get(thread: &mut Thread, args: Args) -> Answer {
    let Some(resource) = of_memory(args[0]) else {
        let _steady = steady(args[0]);
        return super::forward(thread, Forwardable::GETRLIMIT, args);
    };
    tell(args[1], getrlimit(resource))
}

pub(super) fn setrlimit(thread: &mut Thread, args: Args) -> Answer {
    let Some(resource) = of_memory(args[0]) else {
        let _steady = steady(args[0]);
        let answer = super::forward(thread, Forwardable::SETRLIMIT, args);
        follow(thread, args[0]);
        return answer;
    };
    change(None, resource, args[1]).map(|_| Reply::Value(0))
}

pub(super) fn prlimit64(thread: &mut Thread, args: Args) -> Answer {
    let [process, resource, new, old, ..] = args;
    let Some(limit) = of_memory(resource) else {
        let _steady = steady(resource);
        let answer = super::forward(thread, Forwardable::PRLIMIT64, args);
        follow(thread, resource);
        return answer;
    };
    let process = Pid::from_raw(low_word(process).cast_signed());
    let before = if new != 0 {
        change(process, limit, new)?
    } else {
        let [soft, hard] = monitor_sys::process::limit_of(low_word(args[0]), low_word(resource))?;
        Rlimit { current: finite(soft), maximum: finite(hard) }
    };
    if old == 0 { Ok(Reply::Value(0)) } else { tell(old, before) }
}

/// Sets the limit at the guest's address, and returns what it was on the host.
fn change(process: Option<Pid>, resource: Resource, at: u64) -> Result<Rlimit, Errno> {
    let [soft, hard] = guest_copy::read::<[u64; 2]>(at)?;
    let new =
        Rlimit { current: finite(limits::to_host(soft)), maximum: finite(limits::to_host(hard)) };
    prlimit(process, resource, new).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

fn tell(at: u64, limit: Rlimit) -> Answer {
    let guests = |limit: Option<u64>| limits::to_guest(limit.unwrap_or(NO_LIMIT));
    guest_copy::write(at, &[guests(limit.current), guests(limit.maximum)])?;
    Ok(Reply::Value(0))
}

fn finite(limit: u64) -> Option<u64> {
    (limit != NO_LIMIT).then_some(limit)
}

/// The stack follows its limit.
fn follow(thread: &Thread, resource: u64) {
    if low_word(resource) == STACK {
        let limit = getrlimit(Resource::Stack).current;
        thread.process.memory.extend_stack(limit.unwrap_or(NO_LIMIT));
    }
}
