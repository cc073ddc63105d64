//! Starting a program that has a descriptor but no path.
//!
//! `std::process::Command` starts programs by path, and a container may have neither the
//! program nor `/proc`, so that `/proc/self/fd/N` is no way out. `fork(2)` and
//! `execveat(2)` with `AT_EMPTY_PATH` need nothing of the root file system.
#![expect(unsafe_code, reason = "fork(2) has no safe form")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::AtFlags;
use nix::unistd::{ForkResult, Pid};

/// What the child's exit status is when the program could not be started at all.
const NOT_STARTED: i32 = 125;

/// Starts `program` as a child with `stderr` as its standard error, which does `first` before.
///
/// The caller has one thread only: the child does this and a few system calls before it becomes the
/// program, and none of them may wait for a lock another thread held. The child must be
/// waited for by the caller.
///
/// # Errors
///
/// Whatever `fork(2)` says; what `first` and `execveat(2)` say is a line on `stderr` and exit status 125.
pub fn spawn(
    program: BorrowedFd<'_>,
    arguments: &[&CStr],
    environment: &[&CStr],
    stderr: BorrowedFd<'_>,
    first: impl FnOnce() -> Result<(), String>,
) -> io::Result<Pid> {
    // SAFETY: the child calls `first`, dup2, execveat, write and _exit. What allocates there, as `execveat` in nix
    // does, is safe by the caller's promise of a single thread: nobody can hold the allocator's lock, nor any other.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => become_program(program, arguments, environment, stderr, first),
    }
}

fn become_program(
    program: BorrowedFd<'_>,
    arguments: &[&CStr],
    environment: &[&CStr],
    stderr: BorrowedFd<'_>,
    first: impl FnOnce() -> Result<(), String>,
) -> ! {
    let text = |errno: nix::errno::Errno| errno.desc().to_owned();
    let fault = first().and_then(|()| redirect_stderr(stderr).map_err(text)).and_then(|()| {
        let flags = AtFlags::AT_EMPTY_PATH;
        nix::unistd::execveat(program, c"", arguments, environment, flags).map_err(text)
    });
    let text = fault.err().unwrap_or_default();
    for part in ["start of the monitor: ", &text, "\n"] {
        // Nobody is left to tell if even this fails.
        let _ = nix::unistd::write(stderr, part.as_bytes());
    }
    // SAFETY: `_exit` ends this process at once and touches no memory of ours.
    unsafe { libc::_exit(NOT_STARTED) }
}

fn redirect_stderr(stderr: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both numbers are open descriptors or 2, and nothing in this process owns
    // descriptor 2: the standard library only ever borrows it.
    let result = unsafe { libc::dup2(stderr.as_fd().as_raw_fd(), libc::STDERR_FILENO) };
    nix::errno::Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::spawn;

    #[test]
    fn a_fault_of_what_is_done_first_is_told_and_nothing_is_executed() {
        let shell = File::open("/bin/sh").unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();

        let arguments = [c"sh", c"-c", c"echo executed >&2"];
        let fault = || Err("no rights".to_owned());
        let child = spawn(shell.as_fd(), &arguments, &[], writer.as_fd(), fault).unwrap();

        drop(writer);
        let mut said = String::new();
        File::from(reader).read_to_string(&mut said).unwrap();
        assert_eq!(said, "start of the monitor: no rights\n");
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 125)));
    }

    #[test]
    fn a_program_is_started_by_descriptor_with_its_own_arguments() {
        let shell = File::open("/bin/sh").unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();

        let arguments = [c"any name", c"-c", c"echo $0 $GREETING >&2; exit 7", c"zero"];
        let child =
            spawn(shell.as_fd(), &arguments, &[c"GREETING=hello"], writer.as_fd(), || Ok(()))
                .unwrap();
        drop(writer);
        let mut said = String::new();
        File::from(reader).read_to_string(&mut said).unwrap();

        assert_eq!(said, "zero hello\n");
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
    }

    #[test]
    fn a_file_that_is_no_program_is_reported_on_standard_error() {
        let text = tempfile::tempfile().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();

        let child = spawn(text.as_fd(), &[c"x"], &[], writer.as_fd(), || Ok(())).unwrap();
        drop(writer);
        let mut said = String::new();
        File::from(reader).read_to_string(&mut said).unwrap();

        assert!(said.starts_with("start of the monitor: "), "{said}");
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 125)));
    }
}
