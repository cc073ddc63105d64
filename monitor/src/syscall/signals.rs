//! Signal calls that the monitor keeps itself: actions, stacks, returns.

use monitor_sys::{Errno, guest_copy};

use super::{Answer, Args, Reply, low_word};
use crate::{
    exitless::actions,
    signal::{action::Action, stack::AlternateStack},
    thread::Thread,
};

pub(super) fn rt_sigaction(thread: &mut Thread, args: Args) -> Answer {
    let [signal, new, old, size, ..] = args;
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    actions::adopt(thread);
    let signal = low_word(signal);
    let before = if new == 0 {
        thread.process.actions.get(signal)?
    } else {
        let before = thread.process.actions.set(signal, guest_copy::read::<Action>(new)?)?;
        actions::note(thread, signal);
        before
    };
    if old != 0 {
        guest_copy::write(old, &before)?;
    }
    Ok(Reply::Value(0))
}

pub(super) fn sigaltstack(thread: &mut Thread, args: Args) -> Answer {
    let pointer = thread.cpu.registers().rsp;
    let before = thread.stack.shown(pointer);
    if args[0] != 0 {
        let new = guest_copy::read::<AlternateStack>(args[0])?;
        thread.stack.replace(new, pointer)?;
    }
    if args[1] != 0 {
        guest_copy::write(args[1], &before)?;
    }
    Ok(Reply::Value(0))
}

pub(super) fn rt_sigreturn(thread: &mut Thread, _args: Args) -> Answer {
    let returned = thread.receiver().return_from_handler();
    returned.map(|()| Reply::Registers).map_err(|error| {
        thread.process.log(&format!("return from a signal handler: {error}"));
        Errno::EFAULT
    })
}
