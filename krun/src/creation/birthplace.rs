//! The cgroups of a container whose first process is born in them, on hosts with version 1.
//!
//! libcontainer puts processes into cgroups by their numbers, for which Linux takes the lock that
//! [`crate::container::forerunner`] tells of. A process that goes by itself, to `tasks`, needs no lock, nor
//! does one that is made in a version 2 cgroup. So krun makes the cgroups and sets their limits, and a
//! child of krun's goes there, hides the hierarchies from libcontainer, and calls it.
//!
//! Only where the container gets a mount namespace of its own, since the hiding is a mount, and where krun is
//! the host's root. Elsewhere libcontainer does it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use hooks::Point;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use procfs::process::MountInfo;
use rustix::process::{geteuid, getpid, getppid};
use spec_compat::Config;

use super::hook_home::HookHome;
use super::stay::Wish;
use super::{CreateError, own_limits};
use crate::container::cgroups::{self, CgroupError, Company};
use crate::container::devices::{self, Decision};
use crate::container::memberships;
use crate::container::record::Record;
use crate::in_child;
use crate::rootless::{self, HiddenCgroups};

/// What a cgroup of the `cpuset` controller needs before anybody may enter.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Cgroups that are ready for the container.
#[derive(Debug)]
pub(super) struct Birthplace {
    hierarchies: Vec<MountInfo>,
    directories: Vec<PathBuf>,
    /// Those without limits, which may refuse.
    memberships: Vec<PathBuf>,
    /// The one of version 2.
    unified: Option<PathBuf>,
    /// Where hooks run.
    hook_home: Option<HookHome>,
    /// Keeps the number that the container's mount namespace gets in the child.
    mounts: OwnedFd,
}

/// Whether the container's first process can be born in its cgroups.
pub(super) fn is_possible(hierarchies: &[MountInfo], config: &Config, wish: Wish) -> bool {
    wish == Wish::All
        && !cgroups::is_version_2()
        && rootless::are_hideable(hierarchies)
        && config.has_new_mount_namespace()
        // One that is joined has no rights over a mount namespace from outside of it.
        && (!config.has_user_namespace() || config.has_new_user_namespace())
        && geteuid().is_root()
        && !rootless::is_in_user_namespace()
}

impl Birthplace {
    /// Makes the cgroups of the record, with the bundle's limits but for the number of processes, which
    /// would count those that make the container.
    pub(super) fn prepare(
        hierarchies: &[MountInfo],
        config: &Config,
        decision: &Decision,
        record: &Record,
    ) -> Result<Self, CreateError> {
        for directory in &record.cgroups {
            let top = hierarchies.iter().find(|one| directory.starts_with(&one.mount_point));
            let top = top.map_or(Path::new("/"), |one| &one.mount_point);
            make(top, directory)
                .map_err(|source| CgroupError::Make { path: directory.clone(), source })?;
        }
        own_limits::set_first(config, &record.cgroups)?;
        for directory in &record.cgroups {
            fill(directory)
                .map_err(|source| CgroupError::Make { path: directory.clone(), source })?;
        }
        if record.company == Company::Nobody || !devices::are_in_force(decision, &record.cgroups) {
            devices::write(decision, &record.cgroups)?;
        }
        // As with runc it is no fault if one of these refuses.
        let made = record.memberships.iter().filter(|path| fs::create_dir_all(path).is_ok());
        let (memberships, others) =
            made.cloned().partition::<Vec<_>, _>(|path| path.join("tasks").exists());
        let points = [Point::Prestart, Point::CreateRuntime];
        let has_hooks = points.iter().any(|point| !config.hooks(point.name()).is_empty());
        let hook_home = has_hooks.then(|| HookHome::here(hierarchies, record));
        let mounts = File::open("/dev/null").map_err(CreateError::HideCgroups)?.into();
        Ok(Self {
            hierarchies: hierarchies.to_vec(),
            directories: record.cgroups.clone(),
            memberships,
            unified: others.into_iter().next(),
            hook_home,
            mounts,
        })
    }

    /// The mount namespace that libcontainer is to use.
    pub(super) fn mounts(&self) -> String {
        format!("/proc/self/fd/{}", self.mounts.as_raw_fd())
    }

    pub(super) fn hook_home(&self) -> Option<&HookHome> {
        self.hook_home.as_ref()
    }

    /// Has `build` make a process in the cgroups, a child of this one's.
    pub(super) fn build(
        mut self,
        build: impl FnOnce() -> Result<i32, String>,
    ) -> Result<i32, String> {
        let unified = self.unified.take();
        let krun = getpid();
        in_child::run(unified.as_deref(), || {
            // Nobody else would end what is left half-done.
            set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("PR_SET_PDEATHSIG: {errno}"))?;
            if getppid() != Some(krun) {
                return Err("krun has ended".to_owned());
            }
            for directory in &self.memberships {
                if let Err(error) = memberships::enter(directory) {
                    tracing::debug!("{}: not entered: {error}", directory.display());
                }
            }
            for directory in &self.directories {
                memberships::enter(directory)
                    .map_err(|error| format!("enter cgroup {}: {error}", directory.display()))?;
            }
            HiddenCgroups::begin_for_good(&self.hierarchies, &mut self.mounts)
                .map_err(|error| format!("hide the cgroups from libcontainer: {error}"))?;
            build()
        })
    }
}

/// Makes a directory and those above it, down from the hierarchy's top.
fn make(top: &Path, directory: &Path) -> io::Result<()> {
    let mut ways: Vec<_> = directory.ancestors().take_while(|one| *one != top).collect();
    ways.reverse();
    for one in ways {
        match fs::create_dir(one) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if one != directory {
            fill(one)?;
        }
    }
    Ok(())
}

/// Gives a cgroup of the `cpuset` controller what the one above it has, unless it has been given something
/// else, as runc does.
fn fill(directory: &Path) -> io::Result<()> {
    for file in CPUSET {
        let path = directory.join(file);
        if fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty())
            && let Some(above) = directory.parent()
        {
            fs::write(&path, fs::read_to_string(above.join(file))?)?;
        }
    }
    Ok(())
}
