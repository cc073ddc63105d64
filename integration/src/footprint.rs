//! What containers leave on the host: cgroups, mounts and processes that are theirs by name.
//!
//! A footprint has a directory below which all its files and mounts lie, and one cgroup that is
//! the parent of all its containers' cgroups, so that what is left can be told from the rest of
//! the machine. Both names are its own: tests run side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

use crate::outcome;

/// Engines and shims clean up a little after they have answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the machine's cgroup hierarchies are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// A directory and a cgroup, and what was there before.
#[derive(Debug)]
pub struct Footprint {
    dir: PathBuf,
    cgroup: String,
    before: BTreeSet<String>,
}

impl Footprint {
    /// The footprint of containers below this directory, whose last part is a name of its own.
    pub fn new(dir: &Path) -> Self {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().replace('.', "-");
        Self { dir: dir.to_owned(), cgroup: format!("/{name}"), before: BTreeSet::new() }
    }

    /// The cgroup that is to be the parent of every container's.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The directory of a bundle's container in each hierarchy that has one.
    pub fn container_cgroups(&self) -> Vec<PathBuf> {
        let below = format!("{}/container", &self.cgroup[1..]);
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        let directories = hierarchies.map(|entry| entry.path()).chain([Path::new(CGROUPS).into()]);
        directories.map(|one| one.join(&below)).filter(|one| one.is_dir()).collect()
    }

    /// What a file in one of these holds, without a line end.
    pub fn cgroup_file(&self, name: &str) -> Option<String> {
        let mut directories = self.container_cgroups().into_iter();
        let text = directories.find_map(|one| fs::read_to_string(one.join(name)).ok())?;
        Some(text.trim_end().to_owned())
    }

    /// From now on, what is there at this moment belongs there.
    pub fn accept_what_is_there(&mut self) -> Result<()> {
        self.before = self.traces()?;
        Ok(())
    }

    /// What has come since these traces were there belongs there, too.
    pub fn accept_what_is_new_since(&mut self, earlier: &BTreeSet<String>) -> Result<()> {
        let now = self.traces()?;
        self.before.extend(now.difference(earlier).cloned());
        Ok(())
    }

    /// Fails unless everything that containers brought is gone, or soon is.
    pub fn ensure_nothing_is_left(&self) -> Result<()> {
        let mut left = Vec::new();
        let clean = outcome::eventually(PATIENCE, || {
            let traces = self.traces().unwrap_or_default();
            left = traces.difference(&self.before).cloned().collect();
            left.is_empty()
        });
        ensure!(clean, "left behind:\n{}", left.join("\n"));
        Ok(())
    }

    /// What is there now.
    pub(crate) fn traces(&self) -> Result<BTreeSet<String>> {
        let mut traces = BTreeSet::new();
        for hierarchy in names(CGROUPS) {
            let mut below = BTreeSet::new();
            // The parent itself may stay, as engines leave it.
            collect_dirs(&Path::new(CGROUPS).join(hierarchy).join(&self.cgroup[1..]), &mut below);
            traces.extend(below.iter().map(|dir| format!("cgroup {}", dir.display())));
        }
        traces.extend(self.mounts()?.iter().map(|path| format!("mount {}", path.display())));
        let processes = self.processes();
        traces.extend(processes.iter().map(|(pid, name)| format!("process {pid} {name}")));
        Ok(traces)
    }

    /// Mount points below the directory, the deepest first.
    fn mounts(&self) -> Result<Vec<PathBuf>> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let mut below: Vec<_> = points.filter(|point| point.starts_with(&self.dir)).collect();
        below.sort();
        below.reverse();
        Ok(below)
    }

    /// Pids and commands of processes that are in one of the cgroups, or whose command names the
    /// directory, as a shim's does.
    fn processes(&self) -> Vec<(Pid, String)> {
        let dir = self.dir.to_string_lossy();
        let pids = names("/proc").filter_map(|name| Pid::from_raw(name.parse().ok()?));
        let commands = pids.map(|pid| (pid, read_proc(pid, "cmdline").replace('\0', " ")));
        let ours = |&(pid, ref command): &(Pid, String)| {
            let named = command.contains(&*dir) || read_proc(pid, "cgroup").contains(&self.cgroup);
            named && !has_ended(pid)
        };
        commands.filter(ours).collect()
    }
}

impl Drop for Footprint {
    /// Takes away what a failed test has left: processes, mounts, then empty cgroups.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            // It may end by itself meanwhile.
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
        outcome::eventually(PATIENCE, || self.processes().is_empty());
        for point in self.mounts().unwrap_or_default() {
            rustix::mount::unmount(&point, UnmountFlags::DETACH).ok();
        }
        for hierarchy in names(CGROUPS) {
            let parent = Path::new(CGROUPS).join(hierarchy).join(&self.cgroup[1..]);
            let mut below = BTreeSet::new();
            collect_dirs(&parent, &mut below);
            for dir in below.iter().rev().chain([&parent]) {
                fs::remove_dir(dir).ok();
            }
        }
    }
}

/// The names in a directory, none if there is no such directory.
fn names(dir: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Whether a process only waits for its parent, or for init, to take note of its end.
fn has_ended(pid: Pid) -> bool {
    let stat = read_proc(pid, "stat");
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

fn read_proc(pid: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_pid())).unwrap_or_default()
}

fn collect_dirs(parent: &Path, dirs: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_dirs(&entry.path(), dirs);
            dirs.insert(entry.path());
        }
    }
}
