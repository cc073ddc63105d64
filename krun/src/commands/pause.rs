//! `krun pause` and `krun resume`: freeze all processes of a container, and let them go on.

use spec_compat::Status;

use super::VerbError;
use crate::cli::{Global, Target};
use crate::container::freezer::{self, FreezeError};

/// Why a container was not paused, or not resumed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PauseError {
    /// runc's words; callers take them for "already dead".
    #[error("container not running")]
    NotRunning,
    /// runc's words.
    #[error("container not paused")]
    NotPaused,
    /// The cgroup does not freeze.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
}

pub(super) fn pause(global: &Global, target: &Target) -> Result<(), VerbError> {
    let entry = super::store(global).find(&target.id)?;
    let _lock = entry.lock()?;
    let record = entry.load()?;
    match entry.status(&record) {
        Status::Created | Status::Running => {
            Ok(freezer::freeze(&record.cgroups).map_err(PauseError::from)?)
        }
        Status::Creating | Status::Paused | Status::Stopped => Err(PauseError::NotRunning.into()),
    }
}

pub(super) fn resume(global: &Global, target: &Target) -> Result<(), VerbError> {
    let entry = super::store(global).find(&target.id)?;
    let _lock = entry.lock()?;
    let record = entry.load()?;
    if entry.status(&record) != Status::Paused {
        return Err(PauseError::NotPaused.into());
    }
    freezer::thaw(&record.cgroups);
    Ok(())
}
