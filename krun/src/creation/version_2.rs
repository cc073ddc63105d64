//! A version 2 cgroup, ready for the container before any of its processes exist.
//!
//! libcontainer would make it just before the first process enters; made here, it can have its device
//! program first. A cgroup that is there is one libcontainer only uses, so the controllers that its
//! limits need are switched on here as well.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::CreateError;
use crate::container::cgroups::CgroupError;
use crate::container::devices::{self, Decision};

/// Where the hierarchy is mounted.
const TOP: &str = "/sys/fs/cgroup";

/// Makes the cgroup, if it is not there, and enforces the rules about devices in it.
///
/// As with runc they are not enforced for want of rights where these cannot be had, in a user
/// namespace or without being root: no device can be made there, and what can be
/// opened is a matter of the user's permissions.
pub(super) fn prepare(cgroups: &[PathBuf], decision: &Decision) -> Result<(), CreateError> {
    for path in cgroups {
        let made = make(path).map_err(CreateError::from);
        let done = made.and_then(|()| Ok(devices::enforce(decision, path)?));
        match done {
            Err(error) if is_for_want_of_rights(&error) && !is_true_root()? => {
                tracing::info!("the rules about devices are not enforced: {error}");
            }
            other => other?,
        }
    }
    Ok(())
}

fn is_for_want_of_rights(error: &CreateError) -> bool {
    let kind = if let CreateError::Cgroup(CgroupError::Make { source, .. }) = error {
        Some(source.kind())
    } else if let CreateError::DeviceRules(error) = error {
        Some(error.kind())
    } else {
        None
    };
    matches!(kind, Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}

/// Whether this process is root, and not just in a user namespace.
fn is_true_root() -> Result<bool, CreateError> {
    let map = fs::read_to_string("/proc/self/uid_map").map_err(CreateError::Process)?;
    let has_all_ids = map.split_whitespace().eq(["0", "0", "4294967295"]);
    Ok(has_all_ids && rustix::process::geteuid().is_root())
}

/// Makes the directories that are missing, and switches on in each but the last what the host has.
fn make(path: &Path) -> Result<(), CgroupError> {
    let controllers = fs::read_to_string(Path::new(TOP).join("cgroup.controllers"));
    let controllers = controllers.unwrap_or_default();
    let mut ways: Vec<_> = path.ancestors().take_while(|one| one.starts_with(TOP)).collect();
    ways.reverse();
    for one in &ways[..ways.len().saturating_sub(1)] {
        make_one(one)?;
        for controller in controllers.split_whitespace() {
            // A limit that needs one that is not to be had is refused when it is written.
            let _ = fs::write(one.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    make_one(path)
}

fn make_one(path: &Path) -> Result<(), CgroupError> {
    let made = fs::create_dir(path);
    let is_there = |error: &io::Error| error.kind() == ErrorKind::AlreadyExists;
    made.or_else(|error| if is_there(&error) { Ok(()) } else { Err(error) })
        .map_err(|source| CgroupError::Make { path: path.into(), source })
}
