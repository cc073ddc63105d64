//! A copy of this process that does one thing.
#![expect(unsafe_code, reason = "fork(2) has no safe form")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::unistd::{ForkResult, Pid};

/// `linux/sched.h`. libc's constant of that name is too small for its value.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Calls `work` in a child, which ends when it returns. The caller must wait for the child, and
/// must have one thread only.
pub fn fork_to(work: impl FnOnce()) -> io::Result<Pid> {
    fork_for_status(|| {
        work();
        0
    })
}

/// The same for a child that is born in the version 2 cgroup with this directory, and ends with the status that
/// `work` returns: nobody waits for the grace period of RCU that a move into the cgroup takes.
///
/// `ENOSYS`, `EINVAL` or `E2BIG` if Linux is older than 5.7.
pub fn fork_into(cgroup: BorrowedFd<'_>, work: impl FnOnce() -> u8) -> io::Result<Pid> {
    let number = |value: i32| u64::try_from(value).map_err(io::Error::other);
    // SAFETY: all of this structure of integers may be zero.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = number(libc::SIGCHLD)?;
    arguments.cgroup = number(cgroup.as_raw_fd())?;
    // SAFETY: without CLONE_VM and without a stack this is fork(2): the child has a copy of all memory.
    // The caller's promise of a single thread means that no lock is held by a thread that does not exist
    // in it. What the C library notes of a fork is the thread's number, used by its own threads' calls
    // only, and there are none.
    let result = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>())
    };
    match i32::try_from(result).map_err(io::Error::other)? {
        0 => {
            let status = work();
            // SAFETY: `_exit` ends this process at once and touches no memory of ours.
            unsafe { libc::_exit(status.into()) }
        }
        child if child > 0 => Ok(Pid::from_raw(child)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same as [`fork_to`] for a child that ends with the status that `work` returns.
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
