//! Sending any signal, real-time signals included, to a process that is surely the one meant.
#![expect(unsafe_code, reason = "rustix and nix have no safe form for real-time signals")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Sends the signal with this number to the process behind `process`; 0 only looks whether
/// it could be sent.
pub fn send_signal(process: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: the third argument may be null, and says then that kill(2)'s information
    // about the sender goes along; the kernel checks the number and the descriptor.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            number,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
