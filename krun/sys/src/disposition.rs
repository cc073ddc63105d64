//! Signal dispositions that must not leak into a container.
#![expect(unsafe_code, reason = "sigaction(2) has no safe form")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Gives `SIGPIPE` its default action back.
///
/// Rust's start-up code ignores `SIGPIPE`, and an ignored signal stays ignored across
/// `execve(2)`: without this, `yes | head` in a container would not end.
pub fn reset_sigpipe() -> nix::Result<()> {
    // SAFETY: no handler is installed, so no code of ours can run in signal context, and
    // the previous disposition is not used.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}
