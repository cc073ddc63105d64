//! A version 2 cgroup, ready for the container before any of its processes exist.
//!
//! libcontainer would make it just before the first process enters; made here, it can have its device
//! program first. A cgroup that is there is one libcontainer only uses, so the controllers that its
//! limits need are switched on here as well.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use krun_sys::Placeholder;
use spec_compat::Config;

use super::{CreateError, own_limits, place};
use crate::container::cgroups::CgroupError;
use crate::container::devices::{self, Decision};

/// Where the hierarchy is mounted.
const TOP: &str = "/sys/fs/cgroup";

/// Makes the cgroup, if it is not there, and enforces the rules about devices in it.
///
/// As with runc these are not enforced for want of rights where they cannot be had, in a user
/// namespace or without being root: no device can be made there, and what can be
/// opened is a matter of the user's permissions. Nor needs such a container a cgroup, unless the bundle names
/// one or a limit; but where there is one, the container must be in it.
pub(super) fn prepare(
    cgroups: &[PathBuf],
    decision: &Decision,
    config: &Config,
) -> Result<(), CreateError> {
    let is_rootless = !is_true_root()?;
    for path in cgroups {
        match make(path).map_err(CreateError::from) {
            Err(error) if is_rootless && is_for_want_of_rights(&error) => {
                if !place::is_default(config) {
                    return Err(error);
                }
                if own_limits::are_wanted(config) {
                    return Err(CreateError::NoCgroup(Box::new(error)));
                }
                tracing::info!("there is no cgroup: {error}");
                continue;
            }
            made => made?,
        }
        match devices::enforce(decision, path).map_err(CreateError::from) {
            Err(error) if is_rootless && is_for_want_of_rights(&error) => {
                tracing::info!("the rules about devices are not enforced: {error}");
            }
            done => done?,
        }
        if is_rootless {
            demand_a_way_into(path)?;
        }
    }
    Ok(())
}

/// Tries whether a child of this process may be put there: libcontainer would leave it where it is.
fn demand_a_way_into(path: &Path) -> Result<(), CgroupError> {
    let file = path.join("cgroup.procs");
    let fault = |source| CgroupError::Enter { path: path.into(), source };
    let first = Placeholder::start().map_err(fault)?;
    fs::write(file, first.pid().to_string()).map_err(fault)
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
