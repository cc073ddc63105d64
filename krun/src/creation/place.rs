//! Which cgroup a new container gets, and who makes it.

use std::path::{Path, PathBuf};

use spec_compat::Config;

use super::error::CreateError;
use super::unfinished::Unfinished;
use crate::cli::{CgroupManager, Global};
use crate::container::cgroups;
use crate::container::devices::Decision;
use crate::container::id::ContainerId;
use crate::container::limits::Limits;
use crate::systemd::{Scope, Standing, Wanted};

/// A container's place among the cgroups.
#[derive(Debug)]
pub(super) enum Place {
    /// A path that libcontainer makes.
    Path(PathBuf),
    /// A unit that systemd makes.
    Scope(Scope),
}

/// Whether systemd is to make the cgroups.
pub(super) fn is_by_systemd(global: &Global) -> bool {
    global.systemd_cgroup || global.cgroup_manager == Some(CgroupManager::Systemd)
}

/// Whether the bundle leaves the cgroup to krun.
pub(super) fn is_default(config: &Config) -> bool {
    asked_path(config).is_none_or(|path| path.as_os_str().is_empty())
}

fn asked_path(config: &Config) -> Option<&Path> {
    config.spec().linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref())
}

impl Place {
    pub(super) fn of(
        config: &Config,
        id: &ContainerId,
        by_systemd: bool,
    ) -> Result<Self, CreateError> {
        let asked = asked_path(config);
        if by_systemd {
            let asked = asked.map(|path| path.to_string_lossy());
            Ok(Self::Scope(Scope::parse(asked.as_deref(), id.as_str())?))
        } else {
            Ok(Self::Path(cgroups::path_below_hierarchies(asked, id.as_str())?))
        }
    }

    /// The path below every hierarchy.
    pub(super) fn path(&self) -> Result<PathBuf, CreateError> {
        match self {
            Self::Path(path) => Ok(path.clone()),
            Self::Scope(scope) => Ok(scope.cgroup()?),
        }
    }

    pub(super) fn unit(&self) -> Option<&str> {
        match self {
            Self::Path(_) => None,
            Self::Scope(scope) => Some(scope.unit()),
        }
    }

    /// Has systemd make its part. It lasts for as long as what this gives, or somebody in it.
    pub(super) fn make(
        &self,
        id: &ContainerId,
        config: &Config,
        devices: &Decision,
        unfinished: &mut Unfinished,
    ) -> Result<Option<Standing>, CreateError> {
        let Self::Scope(scope) = self else { return Ok(None) };
        let resources = config.document()["linux"]["resources"].clone();
        let limits = if resources.is_null() {
            Limits::default()
        } else {
            serde_json::from_value(resources).map_err(CreateError::Limits)?
        };
        let annotations = config.spec().annotations().iter().flatten();
        let annotations = annotations.map(|(name, text)| (name.as_str(), text.as_str()));
        let wanted = Wanted::new(limits, devices, annotations)?;
        let standing = scope.start(id.as_str(), &wanted)?;
        unfinished.note_unit(scope.unit());
        Ok(Some(standing))
    }
}
