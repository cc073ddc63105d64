//! The session keyring.
#![expect(unsafe_code, reason = "keyctl(2) has no wrapper in rustix or nix")]

use std::ffi::CStr;
use std::io;

/// Gives this process a new session keyring called `name`, in place of the caller's.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    // SAFETY: the operation reads one C string, which lives as long as the call.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
