//! What a container may do with devices: `linux.resources.devices`.
//!
//! In cgroup version 1 that is a controller with files. In version 2 it is
//! a program attached to the container's cgroup, which holds for everything below it too. Both get
//! the same [`Decision`], so that they cannot differ.
//!
//! The program is attached before the first process is in the cgroup: hooks such as NVIDIA's
//! look for it there and put their own in its place. It goes when the cgroup goes.
//! `update` changes nothing here, and neither does runc's.

mod decision;
mod program;
mod rules;
mod units;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spec_compat::Config;

pub(crate) use self::decision::{Conflict, Decision};
use self::rules::{Devices, Kind};

/// Why the rules are not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceRulesError {
    /// The cgroup cannot be opened.
    #[error("device rules: open cgroup {path}")]
    Open {
        /// The cgroup.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Linux does not take the program.
    #[error("device rules: load a BPF program of {instructions} instructions")]
    Load {
        /// How long it is.
        instructions: usize,
        /// Why not.
        source: io::Error,
    },
    /// A version 1 controller refuses.
    #[error("device rules: write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Linux does not run the program for the cgroup.
    #[error("device rules: attach a BPF program to cgroup {path}")]
    Attach {
        /// The cgroup.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DeviceRulesError {
    /// What kind of fault Linux has found.
    pub(crate) fn kind(&self) -> ErrorKind {
        let (Self::Open { source, .. }
        | Self::Load { source, .. }
        | Self::Write { source, .. }
        | Self::Attach { source, .. }) = self;
        source.kind()
    }
}

/// What the rules of this container come to.
pub(crate) fn decide(config: &Config) -> Result<Decision, Conflict> {
    let mut decision = Decision::of(&rules::of_bundle(config))?;
    if !decision.allow_by_default {
        // Where all is allowed but what is denied, they could only take back what is denied.
        decision.obey_all(&rules::to_make_any())?;
    }
    decision.obey_all(&rules::of_every_container(config))?;
    Ok(decision)
}

/// Enforces `decision` in the version 2 cgroup at `path` and below.
///
/// Programs that are attached there already, or above, go on to deny what they deny.
pub(crate) fn enforce(decision: &Decision, path: &Path) -> Result<(), DeviceRulesError> {
    if decision.allows_everything() {
        return Ok(());
    }
    let cgroup = File::open(path);
    let cgroup = cgroup.map_err(|source| DeviceRulesError::Open { path: path.into(), source })?;
    let instructions = program::instructions(decision);
    let program = load(&instructions)
        .map_err(|source| DeviceRulesError::Load { instructions: instructions.len(), source })?;
    krun_sys::attach_device_program(program.as_fd(), cgroup.as_fd())
        .map_err(|source| DeviceRulesError::Attach { path: path.into(), source })
}

/// Loads the program, if need be with a raised limit.
///
/// Before version 5.11 Linux counts all programs of a user as locked memory, of which that user's
/// processes are allowed 64 KiB by default.
fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let loaded = krun_sys::load_device_program(instructions);
    if !matches!(&loaded, Err(error) if error.kind() == ErrorKind::PermissionDenied) {
        return loaded;
    }
    let limit = getrlimit(Resource::Memlock);
    if setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
        return loaded;
    }
    let loaded = krun_sys::load_device_program(instructions);
    // The container's processes inherit it. To lower a limit takes no right.
    setrlimit(Resource::Memlock, limit)?;
    loaded
}

/// Writes `decision` to the version 1 controller, if one of these cgroups has it.
pub(crate) fn write(decision: &Decision, cgroups: &[PathBuf]) -> Result<(), DeviceRulesError> {
    for cgroup in cgroups.iter().filter(|cgroup| cgroup.join("devices.deny").exists()) {
        for (file, text) in decision.lines() {
            let path = cgroup.join(file);
            fs::write(&path, text).map_err(|source| DeviceRulesError::Write { path, source })?;
        }
    }
    Ok(())
}

/// Whether these version 1 cgroups have the rules already, so that those who are in them need not be without
/// devices while they are written.
pub(crate) fn are_in_force(decision: &Decision, cgroups: &[PathBuf]) -> bool {
    let mut controlled = cgroups.iter().filter(|cgroup| cgroup.join("devices.deny").exists());
    controlled.all(|cgroup| {
        let list = fs::read_to_string(cgroup.join("devices.list"));
        list.is_ok_and(|list| decision.is_shown_by(&list))
    })
}

/// Takes from a container of version 1 what libcontainer alone gives to every one: the
/// host's console.
pub(crate) fn take_back(decision: &Decision, cgroups: &[PathBuf]) -> Result<(), DeviceRulesError> {
    const CONSOLE: Devices = Devices { kind: Kind::Character, major: Some(5), minor: Some(1) };
    let denied = decision.denied(&CONSOLE);
    let files = cgroups.iter().map(|cgroup| cgroup.join("devices.deny"));
    for path in files.filter(|path| path.exists() && !denied.is_empty()) {
        fs::write(&path, format!("{CONSOLE} {denied}"))
            .map_err(|source| DeviceRulesError::Write { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
