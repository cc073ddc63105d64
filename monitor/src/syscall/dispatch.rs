//! Syscall user dispatch: a program that emulates another system gets a `SIGSYS` for each call made
//! outside of its own code. See prctl(2), `PR_SET_SYSCALL_USER_DISPATCH`, and the kernel's
//! Documentation/admin-guide/syscall-user-dispatch.rst.

use monitor_sys::{Errno, forward, guest_copy, signals};

use super::{Answer, Args, Reply, filtering, low_word};
use crate::{seccomp::dispatch::Dispatch, thread::Thread};

const OFF: u64 = 0;
const ON: u64 = 1;
/// `SYS_USER_DISPATCH`, the code of its `SIGSYS`.
const SYS_USER_DISPATCH: i32 = 2;
/// What the selector says, `SYSCALL_DISPATCH_FILTER_ALLOW` and `_BLOCK`.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// `prctl(PR_SET_SYSCALL_USER_DISPATCH)`. Children and threads begin without.
pub(super) fn set(thread: &mut Thread, args: Args) -> Answer {
    let [_, mode, start, len, selector, _] = args;
    thread.dispatch = match mode {
        OFF if [start, len, selector] == [0; 3] => None,
        ON if start == 0 || start.checked_add(len).is_some_and(|end| end > start) => {
            forward::check_pointer(selector, 1)?;
            Some(Dispatch { start, len, selector })
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(Reply::Value(0))
}

/// The answer to a call that is dispatched.
pub(super) fn dispatched(thread: &mut Thread, number: u64) -> Option<Answer> {
    let dispatch = thread.dispatch?;
    let rip = thread.cpu.registers().rip;
    if dispatch.always_makes(rip) {
        return None;
    }
    let selector = dispatch.selector;
    if selector != 0 {
        match guest_copy::read::<u8>(selector) {
            Ok(ALLOW) => return None,
            Ok(BLOCK) => {}
            Ok(_) => signals::die_by(libc::SIGSYS.cast_unsigned()),
            Err(_) => signals::die_by(libc::SIGSEGV.cast_unsigned()),
        }
    }
    Some(filtering::raise(thread, SYS_USER_DISPATCH, low_word(number), rip, 0))
}
