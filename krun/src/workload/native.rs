//! A program on the host's kernel, as runc runs it, where the host's policy says so.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use super::executor::Prepared;

/// Becomes the program. The outer fault is the host's, the inner one the program's.
pub(super) fn become_it(prepared: &Prepared) -> Result<Result<Infallible, String>, String> {
    let program = CString::new(prepared.program.as_os_str().as_bytes());
    let program = program.map_err(|error| error.to_string())?;
    krun_sys::reset_sigpipe().map_err(|error| format!("prepare the program: {error}"))?;
    let executed = nix::unistd::execve(&program, &prepared.arguments, &prepared.environment);
    Ok(executed.map_err(|errno| errno.desc().to_lowercase()))
}
