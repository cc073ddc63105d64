//! The user and group IDs of a new user namespace, written into it from outside.
//!
//! Whoever has the rights over the outer IDs writes them, as many ranges as there are. An ordinary user
//! may write one range of one, which is himself; for more there are the set-user-id programs `newuidmap`
//! and `newgidmap`, which ask `/etc/subuid` and `/etc/subgid`.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::Command;

use libcontainer::oci_spec::runtime::LinuxIdMapping;
use rustix::process::{getegid, geteuid};
use spec_compat::Config;

/// Both maps.
#[derive(Clone, Debug, Default)]
pub(super) struct IdMaps {
    pub(super) users: Vec<LinuxIdMapping>,
    pub(super) groups: Vec<LinuxIdMapping>,
}

impl IdMaps {
    /// Those that a bundle asks for.
    pub(super) fn of(config: &Config) -> Self {
        let linux = config.spec().linux().as_ref();
        let users = linux.and_then(|linux| linux.uid_mappings().clone());
        let groups = linux.and_then(|linux| linux.gid_mappings().clone());
        Self { users: users.unwrap_or_default(), groups: groups.unwrap_or_default() }
    }

    /// Writes them for the process `pid`, the first of its namespace. A fault says which map it is of.
    pub(super) fn write(&self, pid: i32) -> Result<(), String> {
        let group = getegid().as_raw();
        if !geteuid().is_root() && is_only(&self.groups, group) {
            // Whoever is kept out of a file by a group of his must not leave that group. user_namespaces(7).
            fs::write(format!("/proc/{pid}/setgroups"), "deny")
                .map_err(|error| format!("deny setgroups: {error}"))?;
        }
        write_map(pid, "uid_map", "newuidmap", &self.users)?;
        write_map(pid, "gid_map", "newgidmap", &self.groups)
    }
}

fn is_only(map: &[LinuxIdMapping], own: u32) -> bool {
    matches!(map, [one] if one.host_id() == own && one.size() == 1)
}

fn write_map(pid: i32, file: &str, tool: &str, map: &[LinuxIdMapping]) -> Result<(), String> {
    let numbers = |one: &LinuxIdMapping| [one.container_id(), one.host_id(), one.size()];
    let line = |one| numbers(one).map(|number| number.to_string()).join(" ") + "\n";
    // One write is all that Linux takes.
    let text: String = map.iter().map(line).collect();
    match fs::write(format!("/proc/{pid}/{file}"), text) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let tool = find(tool).ok_or_else(|| {
                format!(
                    "write {file}: {error}: more than one's own ID needs {tool} (package uidmap)"
                )
            })?;
            let mut command = Command::new(tool);
            command.arg(pid.to_string());
            command.args(map.iter().flat_map(numbers).map(|number| number.to_string()));
            run(command)
        }
        written => written.map_err(|error| format!("write {file}: {error}")),
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(tool)).find(|path| path.is_file())
}

fn run(mut command: Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|error: io::Error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown}: {}", words.trim()))
}
