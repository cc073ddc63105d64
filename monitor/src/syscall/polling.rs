//! Calls that wait with another signal mask. The host swaps the masks, as it is
//! its own; what is noted here is with which mask a handler then runs.

use monitor_sys::{Errno, abi::Forwardable, forward, guest_copy, signals};

use super::{Answer, Args, reply};
use crate::thread::Thread;

pub(super) fn rt_sigsuspend(thread: &mut Thread, args: Args) -> Answer {
    waiting(thread, mask_of(args[0]), |thread| {
        super::forward(thread, Forwardable::RT_SIGSUSPEND, args)
    })
}

pub(super) fn ppoll(thread: &mut Thread, args: Args) -> Answer {
    waiting(thread, mask_of(args[3]), |thread| super::forward(thread, Forwardable::PPOLL, args))
}

pub(super) fn epoll_pwait(thread: &mut Thread, args: Args) -> Answer {
    waiting(thread, mask_of(args[4]), |thread| {
        super::forward(thread, Forwardable::EPOLL_PWAIT, args)
    })
}

pub(super) fn epoll_pwait2(thread: &mut Thread, args: Args) -> Answer {
    waiting(thread, mask_of(args[4]), |thread| {
        super::forward(thread, Forwardable::EPOLL_PWAIT2, args)
    })
}

pub(super) fn pselect6(thread: &mut Thread, args: Args) -> Answer {
    let mask = masked_at(args[5])?;
    waiting(thread, mask, |thread| {
        reply(forward::pselect(thread.process.memory.guest_memory(), args, mask)?)
    })
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
