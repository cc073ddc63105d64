//! A process that is only there.
//!
//! systemd makes a scope around processes that exist already, and removes it with the last of them.
//! Until a container has a process of its own, this one stands for it. A user namespace, too, begins
//! with a process.

use std::fs::File;
use std::io::{self, Read};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, pause, pipe, write};

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

    /// Starts one in a user namespace of its own, in which nobody has a number yet. The caller has
    /// one thread only.
    ///
    /// # Errors
    ///
    /// Whatever `fork(2)` says, or in the child `unshare(2)`.
    pub fn start_in_user_namespace() -> io::Result<Self> {
        let parent = getpid();
        let (reader, writer) = pipe()?;
        let child = || {
            let error = unshare(CloneFlags::CLONE_NEWUSER).err().map(io::Error::from);
            let number = error.and_then(|error| error.raw_os_error()).unwrap_or(0);
            if write(&writer, &number.to_ne_bytes()).is_ok() && number == 0 {
                wait_for_the_end_of(parent);
            }
        };
        let placeholder = fork_to(child).map(|pid| Self { pid })?;
        drop(writer);
        let mut number = [0; size_of::<i32>()];
        File::from(reader).read_exact(&mut number)?;
        match i32::from_ne_bytes(number) {
            0 => Ok(placeholder),
            number => Err(io::Error::from_raw_os_error(number)),
        }
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
    use std::fs;
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

    #[test]
    fn in_a_new_user_namespace_nobody_has_a_number() {
        let placeholder = Placeholder::start_in_user_namespace().unwrap();
        let path = format!("/proc/{}", placeholder.pid());

        let [own, others] = ["/proc/self".into(), path.clone()]
            .map(|process: String| fs::read_link(format!("{process}/ns/user")).unwrap());
        assert_ne!(own, others);
        assert_eq!(fs::read_to_string(format!("{path}/uid_map")).unwrap(), "");
    }
}
