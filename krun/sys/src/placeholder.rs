//! A process that is only there.
//!
//! systemd makes a scope around processes that exist already, and removes it with the last of them.
//! Until a container has a process of its own, this one stands for it.

use std::io;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, pause};

use crate::fork::fork_to;

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
        fork_to(|| wait_for_the_end_of(parent)).map(|pid| Self { pid })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }
}

fn wait_for_the_end_of(parent: Pid) {
    // If it is refused, there is a process too many when the parent is killed, and nothing worse.
    let _ = set_pdeathsig(Signal::SIGKILL);
    // A parent that ended before the request sends no signal.
    while getppid() == parent {
        pause();
    }
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
