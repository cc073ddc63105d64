//! What signals do to a container's first process before it is the program.
#![expect(unsafe_code, reason = "sigaction(2) has no safe form")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

/// The signals that ask a process to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The status of a process that ended at one of them and could not die of it, as runc's.
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

/// Has this process end at a signal that asks it to, until it executes another program.
///
/// The first process of a process namespace has no default actions: it must say so. A signal that
/// is ignored stays so, for it is to be ignored by the program, too.
pub fn end_when_asked() -> nix::Result<()> {
    // The default action is back, and the signal not held, while the handler runs.
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let end = SigAction::new(SigHandler::Handler(end), flags, SigSet::empty());
    for signal in ENDING {
        // SAFETY: the handler makes system calls that may be made in signal context, touches no memory
        // and does not return.
        let before = unsafe { sigaction(signal, &end) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: no handler is installed, and this disposition was in force a moment ago.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

extern "C" fn end(number: libc::c_int) {
    // SAFETY: raise(3) may be called in signal context and takes a number only. Process 1 outlives it.
    unsafe { libc::raise(number) };
    // SAFETY: _exit(2) may be called in signal context, and runs nothing of this process's.
    unsafe { libc::_exit(ENDED) }
}
