//! Resource limits. Those of address space are not put on the host process: they
//! would count the monitor's own memory. That of descriptors is moved for a moment
//! when the monitor takes one of its own: the guest waits.

use monitor_sys::{Errno, abi::Forwardable, descriptors};

use super::{Answer, Args, Reply, low_word};
use crate::thread::Thread;

/// `RLIMIT_DATA`.
const DATA: u32 = 2;
/// `RLIMIT_NOFILE`.
const DESCRIPTORS: u32 = 7;
/// `RLIMIT_AS`.
const ADDRESS_SPACE: u32 = 9;

/// Whether a limit would starve the monitor.
fn counts_the_monitor(resource: u64) -> bool {
    [DATA, ADDRESS_SPACE].contains(&low_word(resource))
}

/// Keeps the limit of descriptors from being moved, if it is asked for.
fn steady(resource: u64) -> Option<descriptors::Frozen> {
    (low_word(resource) == DESCRIPTORS).then(descriptors::freeze)
}

pub(super) fn getrlimit(thread: &mut Thread, args: Args) -> Answer {
    let _steady = steady(args[0]);
    super::forward(thread, Forwardable::GETRLIMIT, args)
}

pub(super) fn setrlimit(thread: &mut Thread, args: Args) -> Answer {
    if counts_the_monitor(args[0]) {
        return accept(args[1]);
    }
    let _steady = steady(args[0]);
    super::forward(thread, Forwardable::SETRLIMIT, args)
}

pub(super) fn prlimit64(thread: &mut Thread, args: Args) -> Answer {
    let [_, resource, new, old, ..] = args;
    if new == 0 || !counts_the_monitor(resource) {
        let _steady = steady(resource);
        return super::forward(thread, Forwardable::PRLIMIT64, args);
    }
    if old != 0 {
        super::forward(thread, Forwardable::PRLIMIT64, [args[0], resource, 0, old, 0, 0])?;
    }
    accept(new)
}

/// Takes a limit that is not enforced, if it is one at all.
fn accept(limit: u64) -> Answer {
    let [soft, hard] = monitor_sys::guest_copy::read::<[u64; 2]>(limit)?;
    if soft > hard { Err(Errno::EINVAL) } else { Ok(Reply::Value(0)) }
}
