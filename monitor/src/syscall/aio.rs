//! Linux's asynchronous input and output. Contexts are the address space's; what
//! the kernel gets to see of a request is made in [`monitor_sys::aio`].

use monitor_sys::{Errno, guest_copy, host_call::Outcome};

use super::{Answer, Args, Reply, low_word, polling, reply};
use crate::thread::Thread;

/// `sizeof(struct iocb *)`.
const POINTER: u64 = 8;
/// Where `aio_key` lies in a control block; a submitted one has 0 there.
const KEY_AT: u64 = 8;

pub(super) fn io_setup(thread: &mut Thread, args: Args) -> Answer {
    let [events, place, ..] = args;
    if guest_copy::read::<u64>(place)? != 0 || low_word(events) == 0 {
        return Err(Errno::EINVAL);
    }
    let memory = &thread.process.memory;
    let name = memory.create_context(u64::from(low_word(events)))?;
    if let Err(errno) = guest_copy::write(place, &name) {
        return memory.destroy_context(name).and(Err(errno));
    }
    Ok(Reply::Value(0))
}

pub(super) fn io_destroy(thread: &mut Thread, args: Args) -> Answer {
    thread.process.memory.destroy_context(args[0]).map(|()| Reply::Value(0))
}

/// Takes one request after the other; an error counts only for the first.
pub(super) fn io_submit(thread: &mut Thread, args: Args) -> Answer {
    let [name, count, list, ..] = args;
    if count.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let memory = &thread.process.memory;
    let context = memory.context(name)?;
    for done in 0..count {
        let block = guest_copy::read::<u64>(list.wrapping_add(done * POINTER));
        let submitted =
            block.and_then(|block| context.submit(memory.guest_memory(), block)).and_then(reply);
        match submitted {
            Ok(Reply::Value(1)) => (),
            stopped if done == 0 => return stopped,
            _ => return Ok(Reply::Value(done)),
        }
    }
    Ok(Reply::Value(count))
}

pub(super) fn io_cancel(thread: &mut Thread, args: Args) -> Answer {
    let [name, block, ..] = args;
    if guest_copy::read::<u32>(block.wrapping_add(KEY_AT))? != 0 {
        return Err(Errno::EINVAL);
    }
    reply(thread.process.memory.context(name)?.cancel(block)?)
}

pub(super) fn io_getevents(thread: &mut Thread, args: Args) -> Answer {
    reply(events(thread, args, None)?)
}

pub(super) fn io_pgetevents(thread: &mut Thread, args: Args) -> Answer {
    let mask = polling::masked_at(args[5])?;
    polling::waiting(thread, mask, |thread| reply(events(thread, args, mask)?))
}

fn events(thread: &Thread, args: Args, mask: Option<u64>) -> Result<Outcome, Errno> {
    let [name, min, max, buffer, timeout, _] = args;
    let memory = &thread.process.memory;
    let context = memory.context(name)?;
    context.events(memory.guest_memory(), min, max, buffer, timeout, mask)
}
