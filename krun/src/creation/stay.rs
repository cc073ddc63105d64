//! What krun itself does about a new container's cgroups: it enters those that libcontainer leaves out,
//! and all that can be had where some cannot, or has the first process born in them.

use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use spec_compat::Config;

use super::birthplace::Birthplace;
use super::hook_home::HookHome;
use super::{CreateError, own_limits, place};
use crate::cli::{CgroupManager, Global};
use crate::container::cgroups;
use crate::container::memberships::{self, Visit};
use crate::container::record::Record;
use crate::rootless::{self, HiddenCgroups};

/// krun's stay in the container's cgroups, while the container's first process is made.
#[derive(Debug)]
pub(super) struct Stay {
    /// Before the visit ends, whose directories are hidden.
    hidden: Option<HiddenCgroups>,
    #[expect(dead_code, reason = "held for its end, which is the way back")]
    visit: Visit,
    /// Where the first process is to be born, in place of a visit.
    birthplace: Option<Birthplace>,
    /// Where the container is in each hierarchy.
    pub(super) places: Vec<PathBuf>,
}

/// What cgroups a container is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// All.
    All,
    /// Those that can be had.
    Possible,
    /// None but the caller's.
    None,
}

impl Wish {
    pub(super) fn of(global: &Global, config: &Config) -> Result<Self, CreateError> {
        if global.cgroup_manager == Some(CgroupManager::Disabled) {
            let refused = CreateError::NoCgroups;
            return if cgroups::is_version_2() { Err(refused) } else { Ok(Self::None) };
        }
        // As with runc, one that is asked for by name must be there.
        let forgives = rootless::forgives_cgroups(global) && place::is_default(config);
        // On version 2 libcontainer forgives by itself.
        Ok(if forgives && !cgroups::is_version_2() { Self::Possible } else { Self::All })
    }
}

impl Stay {
    /// Enters the container's directories. One that cannot be entered, or is not to be, is struck off the
    /// record, and no fault unless a limit needs it.
    pub(super) fn begin(
        hierarchies: &[MountInfo],
        config: &Config,
        record: &mut Record,
        wish: Wish,
    ) -> Result<Self, CreateError> {
        let all = [&record.cgroups[..], &record.memberships].concat();
        if wish == Wish::All {
            let visit = Visit::begin(hierarchies, &record.memberships);
            return Ok(Self { hidden: None, visit, birthplace: None, places: all });
        }
        let asked = if wish == Wish::Possible { &all[..] } else { &[] };
        let visit = Visit::begin(hierarchies, asked);
        if record.cgroups.iter().all(|directory| visit.is_in(directory)) {
            return Ok(Self { hidden: None, visit, birthplace: None, places: all });
        }
        let place = |directory: &PathBuf| {
            let is_in = visit.is_in(directory);
            let other = || memberships::home(hierarchies, directory).ok();
            if is_in { Some(directory.clone()) } else { other() }
        };
        let places = all.iter().filter_map(place).collect();
        record.cgroups.retain(|directory| visit.is_in(directory));
        record.memberships.retain(|directory| visit.is_in(directory));
        record.hides_cgroups = true;
        own_limits::set(config, &record.cgroups)?;
        let hidden = HiddenCgroups::begin(hierarchies).map_err(CreateError::HideCgroups)?;
        Ok(Self { hidden: Some(hidden), visit, birthplace: None, places })
    }

    /// Stays away from directories in which the container's first process will be born.
    pub(super) fn away(birthplace: Birthplace, record: &Record) -> Self {
        let places = [&record.cgroups[..], &record.memberships].concat();
        let visit = Visit::begin(&[], &[]);
        Self { hidden: None, visit, birthplace: Some(birthplace), places }
    }

    /// Has `build` make the container's first process, in its birthplace if it has one.
    pub(super) fn build(
        &mut self,
        build: impl FnOnce() -> Result<i32, String>,
    ) -> Result<i32, String> {
        match self.birthplace.take() {
            Some(birthplace) => birthplace.build(build),
            None => build(),
        }
    }

    /// Where hooks of the host run, if not where libcontainer does.
    pub(super) fn hook_home(&self) -> Option<&HookHome> {
        self.birthplace.as_ref().and_then(Birthplace::hook_home)
    }

    /// The `cgroupsPath` that libcontainer is told.
    pub(super) fn path<'a>(&self, cgroup: &'a Path) -> &'a Path {
        if self.is_hidden() { Path::new(HiddenCgroups::PATH) } else { cgroup }
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.hidden.is_some() || self.birthplace.is_some()
    }

    /// The mount namespace that libcontainer is to use, if not one of its own.
    pub(super) fn mounts(&self) -> Option<String> {
        let birthplace = self.birthplace.as_ref().map(Birthplace::mounts);
        birthplace.or_else(|| self.hidden.as_ref().map(HiddenCgroups::mounts_for_container))
    }
}
