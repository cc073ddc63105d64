//! `krun delete`: forget a container that has stopped, or make it stop.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spec_compat::Status;

use super::VerbError;
use crate::cli::{Delete, Global};
use crate::container::freezer;
use crate::container::process::ProcessName;
use crate::container::record::Record;
use crate::container::remove::{self, Insist};
use crate::container::store::{Entry, StoreError};
use crate::signals::SignalNumber;

/// How long a killed program may take to end.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// Why a container was not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
    /// runc's words.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The container.
        id: String,
        /// What it is instead.
        status: Status,
    },
    /// runc's words.
    #[error("container init still running")]
    StillRunning,
    /// The kernel refuses.
    #[error("kill the container")]
    Kill(#[source] io::Error),
}

pub(super) fn delete(global: &Global, arguments: &Delete) -> Result<(), VerbError> {
    let entry = match super::store(global).find(&arguments.id) {
        Err(StoreError::NotFound) if arguments.force => return Ok(()),
        entry => entry?,
    };
    let _lock = match entry.lock() {
        // Deleted by another command meanwhile, or left by one that was killed.
        Err(StoreError::NotFound) if arguments.force => return Ok(entry.remove_without_lock()?),
        lock => lock?,
    };
    let record = match entry.load() {
        Err(StoreError::NotFound) if arguments.force => return Ok(entry.remove()?),
        record => record?,
    };
    stop(&entry, &record, arguments)?;
    let insist = if arguments.force { Insist::Yes } else { Insist::No };
    remove::remove(&entry, &record, insist)?;
    Ok(())
}

/// Sees to it that the container's program has ended.
fn stop(entry: &Entry, record: &Record, arguments: &Delete) -> Result<(), DeleteError> {
    let status = entry.status(record);
    match (status, record.process) {
        (Status::Stopped, _) | (_, None) => Ok(()),
        (Status::Created, Some(process)) => kill(record, process),
        (_, Some(process)) if arguments.force => kill(record, process),
        _ => Err(DeleteError::NotStopped { id: arguments.id.clone(), status }),
    }
}

fn kill(record: &Record, process: ProcessName) -> Result<(), DeleteError> {
    let Ok(handle) = process.handle() else { return Ok(()) };
    if process.signal(SignalNumber::KILL).is_err() && !process.is_alive() {
        return Ok(());
    }
    freezer::thaw(&record.cgroups);
    let mut polled = [PollFd::new(&handle, PollFlags::IN)];
    let limit = Timespec::try_from(DEATH_LIMIT).ok();
    match poll(&mut polled, limit.as_ref()) {
        Ok(0) => Err(DeleteError::StillRunning),
        Ok(_) => Ok(()),
        Err(errno) => Err(DeleteError::Kill(errno.into())),
    }
}
