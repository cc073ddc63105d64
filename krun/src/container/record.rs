//! What krun remembers of a container between two commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use krun_policy::Mode;
use serde::{Deserialize, Serialize};
use spec_compat::{Hook, OCI_VERSION, State, Status};

use super::cgroups::{Company, Ended};
use super::process::ProcessName;
use crate::systemd::Owner;

/// The contents of `<root>/<id>/state.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The program's process; absent while `create` is at work.
    pub(crate) process: Option<ProcessName>,
    /// The container's directory in every cgroup hierarchy.
    #[serde(default)]
    pub(crate) cgroups: Vec<PathBuf>,
    /// Its directories in hierarchies without limits.
    #[serde(default)]
    pub(crate) memberships: Vec<PathBuf>,
    /// Who was in these before it.
    #[serde(default)]
    pub(crate) company: Company,
    /// Whether libcontainer was kept from the hierarchies, as krun has no right to some.
    #[serde(default)]
    pub(crate) hides_cgroups: bool,
    /// The scope that systemd made of it, with `--systemd-cgroup`.
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// Whose systemd that is.
    #[serde(default)]
    pub(crate) systemd: Owner,
    /// How its programs run, and the rule that says so.
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) rule: String,
    /// Whether the program is process 1 of a namespace, whose end ends all others.
    #[serde(default)]
    pub(crate) has_pid_namespace: bool,
    /// Whether its programs have a session keyring of their own.
    #[serde(default)]
    pub(crate) has_new_keyring: bool,
    /// The hooks that are due later. The bundle may be gone by then.
    #[serde(default)]
    pub(crate) poststart: Vec<Hook>,
    #[serde(default)]
    pub(crate) poststop: Vec<Hook>,
}

impl Record {
    /// Whom the removal of its cgroups ends, as with runc: the end of a process namespace has ended all that was in it,
    /// and without one nobody can be told from others, who may have come later. In a unit systemd ends all anyway,
    /// and takes one and a half minutes for those who do not want to.
    pub(crate) fn ended_with_it(&self) -> Ended {
        let is_half_made = self.process.is_none();
        let spares =
            if is_half_made { self.company == Company::Others } else { self.has_pid_namespace };
        if spares && self.unit.is_none() { Ended::Nobody } else { Ended::Everyone }
    }

    /// The cgroups that krun's own process enters for the container's to inherit.
    pub(crate) fn entered_by_krun(&self) -> Vec<PathBuf> {
        let own = if self.hides_cgroups { &self.cgroups[..] } else { &[] };
        [&self.memberships[..], own].concat()
    }

    /// The state document, with `status` as found out by the caller.
    pub(crate) fn state(&self, status: Status) -> State {
        let pid = match status {
            Status::Stopped | Status::Creating => 0,
            Status::Created | Status::Running | Status::Paused => {
                self.process.map_or(0, |process| process.pid)
            }
        };
        State {
            oci_version: OCI_VERSION.into(),
            id: self.id.clone(),
            pid,
            status,
            bundle: self.bundle.display().to_string(),
            rootfs: self.rootfs.display().to_string(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
            owner: String::new(),
            mode: self.mode.word().to_owned(),
            rule: self.rule.clone(),
        }
    }
}
