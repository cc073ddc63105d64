//! Where hooks run that libcontainer runs in a birthplace.
//!
//! Hooks before the container's start belong to the host: they see its mounts, its cgroups, and are not
//! limited as the container is. The child of krun's that calls libcontainer is in the container's cgroups and
//! sees none, so such a hook goes to where krun is.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process;

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use procfs::process::MountInfo;
use serde::{Deserialize, Serialize};

use crate::container::memberships;
use crate::container::record::Record;

/// The places of a krun that waits for its hooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HookHome {
    mounts: PathBuf,
    cgroups: Vec<PathBuf>,
    /// Its cgroup of version 2, beside the others.
    unified: Option<PathBuf>,
}

impl HookHome {
    /// This process's places in the hierarchies in which the container has a cgroup.
    pub(super) fn here(hierarchies: &[MountInfo], record: &Record) -> Self {
        let directories = record.cgroups.iter().chain(&record.memberships);
        let homes = directories.filter_map(|one| memberships::home(hierarchies, one).ok());
        let (cgroups, others) = homes.partition::<Vec<_>, _>(|home| home.join("tasks").exists());
        let mounts = format!("/proc/{}/ns/mnt", process::id()).into();
        Self { mounts, cgroups, unified: others.into_iter().next() }
    }

    /// Calls `hook` there. It gives the status with which a process of its own is to end.
    pub(crate) fn call(&self, hook: impl FnOnce() -> u8) -> io::Result<u8> {
        let directory = env::current_dir()?;
        setns(File::open(&self.mounts)?, CloneFlags::CLONE_NEWNS)?;
        env::set_current_dir(directory)?;
        for cgroup in &self.cgroups {
            memberships::enter(cgroup)?;
        }
        let Some(unified) = &self.unified else { return Ok(hook()) };
        let mut hook = Some(hook);
        let mut work = || hook.take().map_or(0, |hook| hook());
        // As with runc it is no fault if there is no way into a cgroup without limits.
        let born =
            File::open(unified).and_then(|file| krun_sys::fork_into(file.as_fd(), &mut work));
        match born {
            Ok(child) => {
                let ended = waitpid(child, None)?;
                if let WaitStatus::Exited(_, status) = ended {
                    return Ok(status.try_into().unwrap_or(u8::MAX));
                }
                Err(io::Error::other(format!("its process ended: {ended:?}")))
            }
            Err(_) => Ok(work()),
        }
    }
}
