//! The end of a container: its processes, its cgroups, its directory, its last hooks.

use hooks::Point;
use spec_compat::Status;

use super::cgroups::{self, CgroupError, Removal};
use super::memberships;
use super::record::Record;
use super::store::{Entry, StoreError};
use crate::systemd::{self, SystemdError};

/// Why something of a container is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    /// A cgroup is still in use.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// systemd keeps its scope.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The container's directory cannot be removed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Removes all of a container whose program has ended.
///
/// A cgroup or scope that cannot be removed keeps the container's name taken, so that the user can
/// try again, except where `insist` says that the name matters more.
pub(crate) fn remove(entry: &Entry, record: &Record, insist: Insist) -> Result<(), RemoveError> {
    match remove_cgroups(record) {
        Err(error) if insist == Insist::No => return Err(error),
        Err(error) => tracing::warn!("{error}"),
        // They may be in some hierarchies only.
        Ok(Removal::LeftToOthers) => cgroups::remove_empty(&record.memberships),
        Ok(Removal::Done) => memberships::remove(&record.memberships),
    }
    entry.remove()?;
    let state = record.state(Status::Stopped).to_hook_json();
    for error in hooks::run_all(Point::Poststop, &record.poststop, &state, &[]) {
        // The specification: log a warning, and go on as if the hook had succeeded.
        tracing::warn!("{error}");
    }
    Ok(())
}

/// Processes first: systemd would give them one and a half minutes to end.
fn remove_cgroups(record: &Record) -> Result<Removal, RemoveError> {
    let removal = cgroups::remove(&record.cgroups, record.ended_with_it())?;
    if let Some(unit) = &record.unit {
        systemd::stop(record.systemd, unit)?;
    }
    Ok(removal)
}

/// Whether a container's name is freed even if a cgroup of it stays behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insist {
    /// No: the caller can try again.
    No,
    /// Yes: `delete --force`.
    Yes,
}
