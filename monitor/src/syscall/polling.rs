//! Calls that look at several descriptors, and those that wait with another signal mask. The host swaps the masks, as it is
//! its own; what is noted here is with which mask a handler then runs.

use monitor_sys::{
    Errno,
    abi::{Forwardable, number},
    guest_copy, polling, signals,
};

use super::{Answer, Args, low_word, reply};
use crate::thread::Thread;

pub(super) fn rt_sigsuspend(thread: &mut Thread, args: Args) -> Answer {
    waiting(thread, mask_of(args[0]), |thread| {
        super::forward(thread, Forwardable::RT_SIGSUSPEND, args)
    })
}

pub(super) fn poll(thread: &mut Thread, args: Args) -> Answer {
    look(thread, Forwardable::POLL, args)
}

pub(super) fn ppoll(thread: &mut Thread, args: Args) -> Answer {
    let args = with_size(args, 3);
    waiting(thread, mask_of(args[3]), |thread| look(thread, Forwardable::PPOLL, args))
}

/// The list is copied, so that the monitor's descriptors are found nowhere in it.
fn look(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    let memory = &thread.process.memory;
    let (at, count) = (args[0], u64::from(low_word(args[1])));
    if count == 0 {
        return super::forward(thread, call, args);
    }
    let count = usize::try_from(count).ok().filter(|_| polling::is_countable(count));
    let mut list = count.and_then(|count| memory.read_watched(at, count).ok());
    let (outcome, tells) = polling::poll(memory.guest_memory(), call, args, list.as_deref_mut())?;
    if tells && let Some(list) = list {
        memory.write_found(at, &list)?;
    }
    reply(outcome)
}

pub(super) fn select(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    reply(polling::select(memory, number::SELECT, args, None)?)
}

pub(super) fn epoll_pwait(thread: &mut Thread, args: Args) -> Answer {
    let args = with_size(args, 4);
    waiting(thread, mask_of(args[4]), |thread| {
        super::forward(thread, Forwardable::EPOLL_PWAIT, args)
    })
}

pub(super) fn epoll_pwait2(thread: &mut Thread, args: Args) -> Answer {
    let args = with_size(args, 4);
    waiting(thread, mask_of(args[4]), |thread| {
        super::forward(thread, Forwardable::EPOLL_PWAIT2, args)
    })
}

pub(super) fn pselect6(thread: &mut Thread, args: Args) -> Answer {
    let mask = masked_at(args[5])?;
    waiting(thread, mask, |thread| {
        let memory = thread.process.memory.guest_memory();
        reply(polling::select(memory, number::PSELECT6, args, mask)?)
    })
}

/// Linux does not look at the size of a mask that is not there.
fn with_size(mut args: Args, mask_at: usize) -> Args {
    if args[mask_at] == 0 {
        args[mask_at + 1] = 8;
    }
    args
}

/// The mask of calls that have no argument left for its size: they point to both.
pub(super) fn masked_at(address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let [mask, size] = guest_copy::read::<[u64; 2]>(address)?;
    if mask != 0 && size != 8 {
        return Err(Errno::EINVAL);
    }
    mask_at(mask)
}

fn mask_at(address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 { Ok(None) } else { guest_copy::read(address).map(Some) }
}

/// The same where the host says what is wrong with the address.
fn mask_of(address: u64) -> Option<u64> {
    mask_at(address).ok().flatten()
}

/// Makes the call; if a signal ended it, its handler runs with `mask`. One that came
/// before the call was entered found the mask of before.
pub(super) fn waiting(
    thread: &mut Thread,
    mask: Option<u64>,
    call: impl FnOnce(&Thread) -> Answer,
) -> Answer {
    let answer = call(thread);
    thread.temporary_mask = mask.filter(|_| answer == Err(Errno::EINTR) && signals::has_caught());
    answer
}
