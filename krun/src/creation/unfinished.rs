//! A container that is being made, and is undone unless it gets finished.
//!
//! Mounts need no undoing: they are in a namespace that ends with its last process.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::container::cgroups::{self, Company, Ended, Removal};
use crate::container::memberships;
use crate::container::store::Entry;
use crate::systemd::{self, Scope};

/// What has been made so far. Dropping it removes all of it.
#[derive(Debug)]
pub(super) struct Unfinished {
    entry: Entry,
    cgroups: Vec<PathBuf>,
    company: Company,
    memberships: Vec<PathBuf>,
    unit: Option<Scope>,
    /// Its first process, which may be in no cgroup.
    process: Option<OwnedFd>,
    is_finished: bool,
}

impl Unfinished {
    /// A container of which there is only the directory.
    pub(super) fn new(entry: Entry) -> Self {
        let (cgroups, memberships) = (Vec::new(), Vec::new());
        let company = Company::Nobody;
        Self { entry, cgroups, company, memberships, unit: None, process: None, is_finished: false }
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// From now on there may be cgroups, in which others may have been before.
    pub(super) fn note_cgroups(&mut self, cgroups: Vec<PathBuf>, company: Company) {
        self.cgroups = cgroups;
        self.company = company;
    }

    /// And directories in hierarchies without limits.
    pub(super) fn note_memberships(&mut self, memberships: Vec<PathBuf>) {
        self.memberships = memberships;
    }

    /// From now on there is this unit of systemd's.
    pub(super) fn note_unit(&mut self, unit: &Scope) {
        self.unit = Some(unit.clone());
    }

    /// And a first process.
    pub(super) fn note_process(&mut self, pid: i32) {
        let process = Pid::from_raw(pid);
        self.process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    }

    /// The container is complete.
    pub(super) fn finish(mut self) -> Entry {
        self.is_finished = true;
        self.entry.clone()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        if let Some(process) = &self.process {
            // It may have ended by itself.
            _ = pidfd_send_signal(process, Signal::KILL);
        }
        let ended = match self.company {
            Company::Nobody => Ended::Everyone,
            Company::Others => Ended::Children,
        };
        match cgroups::remove(&self.cgroups, ended) {
            Ok(Removal::LeftToOthers) => cgroups::remove_empty(&self.memberships),
            Ok(Removal::Done) => memberships::remove(&self.memberships),
            Err(error) => {
                tracing::warn!("{error}");
                memberships::remove(&self.memberships);
            }
        }
        let stopped = self.unit.as_ref().map(|unit| systemd::stop(unit.owner(), unit.unit()));
        if let Some(Err(error)) = stopped {
            tracing::warn!("{error}");
        }
        if let Err(error) = self.entry.remove() {
            tracing::warn!("{error}");
        }
        reap_children();
    }
}

/// Takes leave of the children that have ended before this one.
pub(super) fn reap_children_but(pid: i32) {
    let looks = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(Some(ended)) = waitid(Id::All, looks).map(|status| status.pid()) {
        if ended.as_raw() == pid || waitpid(ended, None).is_err() {
            return;
        }
    }
}

/// Takes leave of the children that have ended, so that none is seen as a zombie.
pub(crate) fn reap_children() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
