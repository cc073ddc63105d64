//! A process that is only there.
//!
//! systemd makes a scope around processes that exist already, and removes it with the last of them.
//! Until a container has a process of its own, this one stands for it.
#![expect(unsafe_code, reason = "fork(2) has no safe form")]

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, getpid};

/// A child that does nothing. It ends when this is dropped, or with the caller.
#[derive(Debug)]
pub struct Placeholder {
    pid: Pid,
}

impl Placeholder {
    /// Starts it. The caller has one thread only.
    ///
    /// # Errors
    ///
    /// Whatever `fork(2)` says.
    pub fn start() -> io::Result<Self> {
        let parent = getpid();
        // SAFETY: the child calls prctl, getppid, pause and _exit only, all of which are
        // async-signal-safe, so that no lock of another thread's can be in its way.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: child }),
            ForkResult::Child => wait_for_the_end_of(parent),
        }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
}

fn wait_for_the_end_of(parent: Pid) -> ! {
    // SAFETY: PR_SET_PDEATHSIG takes one number, of a signal, and no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // A parent that ended before the request sends no signal.
    while nix::unistd::getppid() == parent {
        nix::unistd::pause();
    }
    // SAFETY: `_exit` ends this process at once and touches no memory of ours.
    unsafe { libc::_exit(0) }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // Whoever kills all of its cgroup may have been first.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Placeholder;

    #[test]
    fn a_placeholder_is_there_until_it_is_dropped() {
        let placeholder = Placeholder::start().unwrap();
        let path = format!("/proc/{}", placeholder.pid());

        assert!(Path::new(&path).exists());
        drop(placeholder);
        assert!(!Path::new(&path).exists());
    }
}
