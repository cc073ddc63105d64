//! What remains to be done to a container's mounts when libcontainer has made them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cgroup_mount::Part;
use super::mount_changes::Change;
use super::mount_label::LabelLater;
use super::{CreateError, cgroup_mount, copy_up, mount_changes};

/// What remains to be done.
#[derive(Debug)]
pub(super) struct LaterMounts {
    /// The bundle's document.
    document: Value,
    rootfs: PathBuf,
    parts: Vec<Part>,
    changes: Vec<Change>,
    label: Option<LabelLater>,
}

impl LaterMounts {
    pub(super) fn of(document: &Value, rootfs: &Path, parts: Vec<Part>) -> Self {
        let changes = mount_changes::wanted(document);
        let label = LabelLater::of(document);
        Self { document: document.clone(), rootfs: rootfs.to_owned(), parts, changes, label }
    }

    /// Does it in the container whose first process is `pid`.
    pub(super) fn carry_out(self, pid: i32) -> Result<(), CreateError> {
        for destination in copy_up::destinations(&self.document) {
            let copied = copy_up::fill(&self.rootfs, pid, &destination);
            copied.map_err(|source| CreateError::CopyUp { destination, source })?;
        }
        cgroup_mount::link(&self.document, &self.parts, pid).map_err(CreateError::CgroupMount)?;
        mount_changes::make(&self.changes, pid).map_err(CreateError::MountChanges)?;
        let labelled = self.label.map_or(Ok(()), |label| label.carry_out(pid));
        labelled.map_err(CreateError::MountLabel)
    }
}
