//! A process that is still the same process.
//!
//! Linux gives the number of a process that has ended to another one. A number alone is
//! therefore no name; a number and the time it was started are.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use procfs::ProcError;
use procfs::process::{ProcState, Process as ProcfsProcess, StatFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::signals::SignalNumber;

/// A process, by number and start time (in clock ticks since boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessName {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
}

impl ProcessName {
    /// The name of the process that has the number `pid` now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let stat = ProcfsProcess::new(pid).and_then(|process| process.stat());
        let start_time = stat.map_err(io::Error::other)?.starttime;
        Ok(Self { pid, start_time })
    }

    /// Whether it still runs. One that waits to be reaped does not.
    pub(crate) fn is_alive(self) -> bool {
        match ProcfsProcess::new(self.pid).and_then(|process| process.stat()) {
            Ok(stat) => {
                let has_ended = matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead));
                stat.starttime == self.start_time && !has_ended
            }
            Err(ProcError::NotFound(_)) => false,
            // Without a look at it, the careful answer is that it may still run.
            Err(_) => self.handle().is_ok(),
        }
    }

    /// A descriptor of the process, which stays its own whatever happens to the number.
    pub(crate) fn handle(self) -> io::Result<OwnedFd> {
        open_handle(self.pid)
    }

    /// Sends `signal`.
    ///
    /// The descriptor is opened first and the start time read after that: if it is the right
    /// one then, the descriptor is the right process's.
    pub(crate) fn signal(self, signal: SignalNumber) -> io::Result<()> {
        let handle = self.handle()?;
        if self.is_alive() {
            krun_sys::send_signal(handle.as_fd(), signal.get())
        } else {
            Err(rustix::io::Errno::SRCH.into())
        }
    }
}

/// Sends `signal` to whichever process has the number now.
pub(crate) fn signal_whoever_is(pid: i32, signal: SignalNumber) -> io::Result<()> {
    krun_sys::send_signal(open_handle(pid)?.as_fd(), signal.get())
}

fn open_handle(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// What a thread is and does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) is_of_the_kernel: bool,
    /// In a sleep that a signal ends, stopped, or dead.
    pub(crate) is_asleep: bool,
}

/// Looks at a thread. `None` if it is gone.
pub(crate) fn look(thread: i32) -> Option<Look> {
    let stat = ProcfsProcess::new(thread).and_then(|process| process.stat()).ok()?;
    let is_of_the_kernel = stat.flags & StatFlags::PF_KTHREAD.bits() != 0;
    let is_asleep = !matches!(stat.state(), Ok(ProcState::Running | ProcState::Waiting) | Err(_));
    Some(Look { is_of_the_kernel, is_asleep })
}

/// Leaves the caller's supplementary groups, which the container's processes would be in: libcontainer
/// sets groups only where the bundle has some. As with runc it is no fault where that may not be.
pub(crate) fn leave_groups() {
    if let Err(errno) = nix::unistd::setgroups(&[]) {
        tracing::debug!("the supplementary groups are kept: {errno}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::ProcessName;
    use crate::signals::SignalNumber;

    fn own_pid() -> i32 {
        i32::try_from(id()).unwrap()
    }

    #[test]
    fn this_process_is_alive_under_its_name() {
        assert!(ProcessName::of(own_pid()).unwrap().is_alive());
    }

    #[test]
    fn the_same_number_with_another_start_time_is_another_process() {
        let mut name = ProcessName::of(own_pid()).unwrap();
        name.start_time += 1;

        assert!(!name.is_alive());
        assert!(name.signal(SignalNumber::NONE).is_err());
    }

    #[test]
    fn a_process_that_waits_to_be_reaped_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        let name = ProcessName::of(i32::try_from(child.id()).unwrap()).unwrap();

        while name.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();

        assert!(!name.is_alive());
    }
}
