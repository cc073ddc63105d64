//! `krun kill`: send a signal to a container.

use std::io;

use spec_compat::Status;

use super::VerbError;
use crate::cli::{Global, Kill};
use crate::container::cgroups::{self, Company};
use crate::container::freezer;
use crate::container::record::Record;
use crate::signals::{SignalNumber, UnknownSignal};

/// What runc takes an empty name for.
const DEFAULT: &str = "TERM";

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KillError {
    /// No such signal.
    #[error(transparent)]
    Unknown(#[from] UnknownSignal),
    /// runc's words; callers take them for "already dead".
    #[error("container not running")]
    NotRunning,
    /// The kernel refuses.
    #[error("unable to signal init")]
    Send(#[source] io::Error),
}

pub(super) fn kill(global: &Global, arguments: &Kill) -> Result<(), VerbError> {
    let entry = super::store(global).find(&arguments.id)?;
    let record = entry.load()?;
    let signal = if arguments.signal.is_empty() { DEFAULT } else { &arguments.signal };
    let signal = SignalNumber::parse(signal).map_err(KillError::from)?;
    if arguments.all {
        // Also where the program has ended: it may have left processes behind.
        cgroups::signal_all(&record.cgroups, signal);
        thaw_if_killed(&record, signal);
        return Ok(());
    }
    let status = entry.status(&record);
    let (Some(process), true) = (record.process, status != Status::Stopped) else {
        return Err(KillError::NotRunning.into());
    };
    match process.signal(signal) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Err(KillError::NotRunning.into());
        }
        result => result.map_err(KillError::Send)?,
    }
    // Without a namespace of their own the others do not die with the first. Where there were some before it,
    // they are left to `delete`, as with runc 1.1.
    if signal == SignalNumber::KILL
        && !record.has_pid_namespace
        && record.company == Company::Nobody
    {
        cgroups::signal_all(&record.cgroups, signal);
    }
    if status == Status::Paused {
        thaw_if_killed(&record, signal);
    }
    Ok(())
}

/// A process in a frozen version 1 cgroup dies only once it is let go on.
fn thaw_if_killed(record: &Record, signal: SignalNumber) {
    if signal == SignalNumber::KILL {
        freezer::thaw(&record.cgroups);
    }
}
