//! A copy of this process that does one thing.
#![expect(unsafe_code, reason = "fork(2) has no safe form")]

use std::io;

use nix::unistd::{ForkResult, Pid};

/// Calls `work` in a child, which ends when it returns. The caller must wait for the child, and
/// must have one thread only.
pub fn fork_to(work: impl FnOnce()) -> io::Result<Pid> {
    fork_for_status(|| {
        work();
        0
    })
}

/// The same for a child that ends with the status that `work` returns.
pub fn fork_for_status(work: impl FnOnce() -> u8) -> io::Result<Pid> {
    // SAFETY: the caller's promise of a single thread means that the child has all of it: no
    // lock is held by a thread that does not exist in the child.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = work();
            // SAFETY: `_exit` ends this process at once and touches no memory of ours.
            unsafe { libc::_exit(status.into()) }
        }
    }
}
