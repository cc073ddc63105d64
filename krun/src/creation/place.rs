//! Which cgroup a new container gets, and who makes it.

use std::path::{Path, PathBuf};

use spec_compat::Config;

use super::error::CreateError;
use super::unfinished::Unfinished;
use crate::cli::{CgroupManager, Global};
use crate::container::cgroups::{self, CgroupError, Company};
use crate::container::devices::Decision;
use crate::container::id::ContainerId;
use crate::container::limits::Limits;
use crate::systemd::{Owner, Scope, Standing, SystemdError, Wanted};

/// A container's place among the cgroups.
#[derive(Debug)]
pub(super) enum Place {
    /// A path that krun or libcontainer makes.
    Path(PathBuf),
    /// A unit that systemd makes.
    Scope(Scope),
}

/// Whose systemd is to make the cgroups, if one is.
pub(super) fn systemd(global: &Global) -> Option<Owner> {
    let asked = global.systemd_cgroup || global.cgroup_manager == Some(CgroupManager::Systemd);
    asked.then(|| Owner::of(global))
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
        systemd: Option<Owner>,
    ) -> Result<Self, CreateError> {
        let asked = asked_path(config);
        let Some(owner) = systemd else {
            return Ok(Self::Path(cgroups::path_below_hierarchies(asked, id.as_str())?));
        };
        if owner == Owner::User && !cgroups::is_version_2() {
            return Err(SystemdError::Version1.into());
        }
        let asked = asked.map(|path| path.to_string_lossy());
        Ok(Self::Scope(Scope::parse(owner, asked.as_deref(), id.as_str())?))
    }

    /// The path below every hierarchy.
    pub(super) fn path(&self) -> Result<PathBuf, CreateError> {
        match self {
            Self::Path(path) => Ok(path.clone()),
            Self::Scope(scope) => Ok(scope.cgroup()?),
        }
    }

    /// What systemd calls it.
    pub(super) fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Path(_) => None,
            Self::Scope(scope) => Some(scope),
        }
    }

    /// Who is in these cgroups already, which with runc 1.1 is told and no fault.
    ///
    /// Two containers of one cgroup have the limits of the later one, and are paused together. Of a scope
    /// systemd would end both with the first.
    pub(super) fn company(&self, cgroups: &[PathBuf]) -> Result<Company, CgroupError> {
        let found = cgroups::company(cgroups)?;
        if found == 0 {
            return Ok(Company::Nobody);
        }
        let told = CgroupError::NotEmpty(found);
        match self {
            Self::Scope(_) => Err(told),
            Self::Path(_) => {
                tracing::warn!("{told}");
                Ok(Company::Others)
            }
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
        scope.owner().let_in()?;
        let standing = scope.start(id.as_str(), &wanted)?;
        unfinished.note_unit(scope);
        Ok(Some(standing))
    }
}
