//! What signals do to a container's first process before it is the program.
#![expect(unsafe_code, reason = "sigaction(2) has no safe form")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

/// The signals that ask a process to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The signals that tell of a program's own fault, and end runc's first process when somebody sends them: it
/// is a Go program.
const FAULTS: [Signal; 8] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSTKFLT,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

/// Those of them that come again and again from an instruction that is at fault.
const REPEATED: [libc::c_int; 4] = [libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV];

/// The status of a process that ended at one of these and could not die of it, as runc's.
const ENDED: i32 = 2;

/// Gives `SIGPIPE` its default action back.
///
/// Rust's start-up code ignores `SIGPIPE`, and an ignored signal stays ignored across
/// `execve(2)`: without this, `yes | head` in a container would not end.
pub fn reset_sigpipe() -> nix::Result<()> {
    // SAFETY: no handler is installed, so no code of ours can run in signal context, and
    // the previous disposition is not used.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

/// Has this process end at a signal that asks it to, or that says it is at fault, until it executes another
/// program.
///
/// The first process of a process namespace has no default actions: it must say so. A signal that
/// is ignored stays so, for it is to be ignored by the program, too.
pub fn end_when_asked() -> nix::Result<()> {
    // The default action is back, and the signal not held, while the handler runs.
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let asked = SigAction::new(SigHandler::Handler(end), flags, SigSet::empty());
    // The stack may be what is at fault.
    let flags = flags | SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let fault = SigAction::new(SigHandler::SigAction(end_if_sent), flags, SigSet::empty());
    ENDING.into_iter().try_for_each(|signal| give_action(signal, &asked))?;
    FAULTS.into_iter().try_for_each(|signal| give_action(signal, &fault))
}

/// Gives the signal its action, which is one of the two below, unless it is ignored.
fn give_action(signal: Signal, action: &SigAction) -> nix::Result<()> {
    // SAFETY: the handlers make system calls that may be made in signal context, read no memory but the
    // record that they are given, and return only to an instruction that is at fault, which ends the process.
    let before = unsafe { sigaction(signal, action) }?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        // SAFETY: no handler is installed, and this disposition was in force a moment ago.
        unsafe { sigaction(signal, &before) }?;
    }
    Ok(())
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: raise(3) may be called in signal context and takes a number only. Process 1 outlives it.
    unsafe { libc::raise(number) };
    // SAFETY: _exit(2) may be called in signal context, and runs nothing of this process's.
    unsafe { libc::_exit(ENDED) }
}

extern "C" fn end_if_sent(
    number: libc::c_int,
    information: *mut libc::siginfo_t,
    _: *mut libc::c_void,
) {
    // SAFETY: the handler is installed with SA_SIGINFO, so the kernel gives it a record on its stack.
    let code = unsafe { (*information).si_code };
    // What comes of an instruction comes once more when this returns, and ends the process as it would have.
    if code > 0 && REPEATED.contains(&number) {
        return;
    }
    // SAFETY: _exit(2) may be called in signal context, and runs nothing of this process's.
    unsafe { libc::_exit(ENDED) }
}
