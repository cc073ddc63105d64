//! A container's cgroups as directories: which they are, who is in them, their end.
//!
//! libcontainer makes them and sets their limits, or krun does (`creation::birthplace`). Afterwards a container is a list of
//! directories, one for every version 1 hierarchy or one for version 2, and the rest is
//! reading and writing files in them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::{MountInfo, Process};
use serde::{Deserialize, Serialize};
use spec_compat::Config;

use super::freezer;
use super::process::signal_whoever_is;
use crate::signals::SignalNumber;

/// How long the kernel may take to let go of a cgroup whose last process was killed.
const REMOVAL_LIMIT: Duration = Duration::from_secs(5);

/// How long processes may take to leave a cgroup that are not killed, such as an `exec` that came too late.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a cgroup cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// The mounts of this process cannot be read.
    #[error("read /proc/self/mountinfo")]
    Mounts(#[from] procfs::ProcError),
    /// The bundle asks for a place outside of the hierarchy.
    #[error("linux.cgroupsPath: found {0:?}, expected a path without \"..\"")]
    Escapes(PathBuf),
    /// systemd makes and ends a scope with everybody in it. runc's words.
    #[error("container's cgroup is not empty: {0} process(es) found")]
    NotEmpty(usize),
    /// libcontainer would pass them over. runc's words.
    #[error("invalid configuration: cannot use unified on cgroup v1")]
    Unified,
    /// A frozen cgroup would freeze whatever enters it, for ever.
    #[error("container's cgroup unexpectedly frozen")]
    Frozen,
    /// The kernel does not make the directory.
    #[error("make cgroup {path}")]
    Make {
        /// The cgroup.
        path: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
    /// The kernel does not put processes there.
    #[error("enter cgroup {path}")]
    Enter {
        /// The cgroup.
        path: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
    /// The kernel does not give the directory up.
    #[error("remove cgroup {path}")]
    Remove {
        /// The cgroup.
        path: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
}

impl CgroupError {
    /// Whether somebody is in a cgroup that was to be removed.
    pub(super) fn is_busy(&self) -> bool {
        let Self::Remove { source, .. } = self else { return false };
        source.kind() == ErrorKind::ResourceBusy
    }
}

/// The path below every hierarchy: what the bundle says, or `/<id>` as for runc.
pub(crate) fn path_below_hierarchies(
    asked: Option<&Path>,
    id: &str,
) -> Result<PathBuf, CgroupError> {
    let asked = asked.filter(|path| !path.as_os_str().is_empty());
    let path = asked.map_or_else(|| PathBuf::from(id), Path::to_path_buf);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(CgroupError::Escapes(path));
    }
    Ok(Path::new("/").join(path))
}

/// The hierarchies that this process sees, of whatever kind.
pub(crate) fn hierarchies() -> Result<Vec<MountInfo>, CgroupError> {
    let mounts = Process::myself()?.mountinfo()?.into_iter();
    Ok(mounts.filter(|mount| mount.fs_type.starts_with("cgroup")).collect())
}

/// The directories a cgroup at `path` has in these, whether they exist or not.
pub(crate) fn directories(hierarchies: &[MountInfo], path: &Path) -> Vec<PathBuf> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let mounts = hierarchies.iter().filter(|mount| is_hierarchy(mount));
    mounts.map(|mount| mount.mount_point.join(relative)).collect()
}

/// Whether containers are put into the hierarchy mounted here.
///
/// A version 2 hierarchy counts where it is the only one: in a hybrid set-up it has no
/// controllers. A named one, such as systemd's, has no controllers either.
fn is_hierarchy(mount: &MountInfo) -> bool {
    match mount.fs_type.as_str() {
        "cgroup" => !mount.super_options.contains_key("name"),
        "cgroup2" => mount.mount_point == Path::new("/sys/fs/cgroup"),
        _ => false,
    }
}

/// Whether this host's only hierarchy is of version 2.
pub(crate) fn is_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Refuses files of version 2 where limits are set by version 1, be version 2 mounted next to it or not.
pub(crate) fn demand_files_of_version(config: &Config) -> Result<(), CgroupError> {
    let files = &config.document()["linux"]["resources"]["unified"];
    if !is_version_2() && files.as_object().is_some_and(|files| !files.is_empty()) {
        return Err(CgroupError::Unified);
    }
    Ok(())
}

/// Who was in a container's cgroups before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Company {
    /// Nobody: all in them are its own, or have come later.
    #[default]
    Nobody,
    /// Others, whom its end is not to be that of.
    Others,
}

/// How many processes are in these cgroups already. Refuses frozen ones.
pub(crate) fn company(directories: &[PathBuf]) -> Result<usize, CgroupError> {
    if freezer::is_frozen(directories) {
        return Err(CgroupError::Frozen);
    }
    Ok(processes(directories).len())
}

/// All processes in the cgroup and below, each once.
pub(crate) fn processes(directories: &[PathBuf]) -> Vec<i32> {
    let mut found = Vec::new();
    for directory in directories {
        collect(directory, "cgroup.procs", &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// All threads in a version 2 cgroup and below.
pub(crate) fn threads(directory: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    collect(directory, "cgroup.threads", &mut found);
    found.sort_unstable();
    found
}

fn collect(directory: &Path, file: &str, found: &mut Vec<i32>) {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in children(directory) {
        collect(&child, file, found);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Sends `signal` to every process in the cgroup. One that has gone meanwhile is no fault.
pub(crate) fn signal_all(directories: &[PathBuf], signal: SignalNumber) {
    for pid in processes(directories) {
        let _ = signal_whoever_is(pid, signal);
    }
}

/// Whom of those who are left in a container's cgroup its removal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All, since they are the container's.
    Everyone,
    /// What this process has begun and not finished.
    Children,
    /// Nobody: the container's own are dead, or cannot be told from others.
    Nobody,
}

/// What has become of a container's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// They are gone.
    Done,
    /// Others are in them.
    LeftToOthers,
}

/// Ends those who are left in the cgroup and are to be ended, and removes it, unless others stay.
pub(crate) fn remove(directories: &[PathBuf], ended: Ended) -> Result<Removal, CgroupError> {
    // As a rule nobody is, nor a cgroup below.
    if directories.iter().all(|directory| remove_one(directory).is_ok()) {
        return Ok(Removal::Done);
    }
    let began = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        end(directories, ended);
        // Cgroups below may be those of others.
        let others = if ended == Ended::Everyone { 0 } else { processes(directories).len() };
        if others > 0 && began.elapsed() > PATIENCE {
            tracing::warn!("container's cgroup is not removed: {others} process(es) found");
            return Ok(Removal::LeftToOthers);
        }
        let removed = (others == 0)
            .then(|| directories.iter().try_for_each(|directory| remove_tree(directory)));
        match removed {
            Some(Err(error)) if !error.is_busy() || began.elapsed() > REMOVAL_LIMIT => {
                return Err(error);
            }
            Some(Ok(())) => return Ok(Removal::Done),
            // A killed process leaves when it is next scheduled.
            _ => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn end(directories: &[PathBuf], ended: Ended) {
    match ended {
        Ended::Everyone => {
            signal_all(directories, SignalNumber::KILL);
            freezer::thaw(directories);
        }
        Ended::Children => {
            let own = own_descendants();
            for pid in processes(directories).into_iter().filter(|pid| own.contains(pid)) {
                let _ = signal_whoever_is(pid, SignalNumber::KILL);
            }
        }
        Ended::Nobody => {}
    }
}

/// The processes that this one has made, and those that they have.
fn own_descendants() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut left = vec![std::process::id().cast_signed()];
    while let Some(pid) = left.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|word| word.parse().ok());
            left.extend(children.filter(|child| found.insert(*child)));
        }
    }
    found
}

/// Removes the cgroup where nobody is in it.
pub(crate) fn remove_empty(directories: &[PathBuf]) {
    for directory in directories {
        // It is somebody's, or has gone.
        _ = remove_one(directory);
    }
}

pub(super) fn remove_tree(directory: &Path) -> Result<(), CgroupError> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    remove_one(directory)
}

fn remove_one(directory: &Path) -> Result<(), CgroupError> {
    match fs::remove_dir(directory) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(CgroupError::Remove { path: directory.into(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{company, own_descendants, path_below_hierarchies, processes};

    #[test]
    fn a_container_without_a_path_has_its_name_as_path() {
        for absent in [None, Some(Path::new(""))] {
            assert_eq!(path_below_hierarchies(absent, "web").unwrap(), Path::new("/web"));
        }
        let given = path_below_hierarchies(Some(Path::new("a/b")), "web").unwrap();
        assert_eq!(given, Path::new("/a/b"));
    }

    #[test]
    fn a_path_that_leaves_the_hierarchy_is_refused() {
        let error = path_below_hierarchies(Some(Path::new("/a/../../b")), "web").unwrap_err();

        assert!(error.to_string().contains("without \"..\""), "{error}");
    }

    fn hierarchy() -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(directory.path().join("cgroup.procs"), "").unwrap();
        fs::write(inner.join("cgroup.procs"), "").unwrap();
        let path = directory.path().to_owned();
        (directory, vec![path])
    }

    #[test]
    fn processes_of_inner_cgroups_are_found_once() {
        let (_keep, mut directories) = hierarchy();
        fs::write(directories[0].join("inner/cgroup.procs"), "12\n7\n").unwrap();
        directories.push(directories[0].clone());

        assert_eq!(processes(&directories), [7, 12]);
        assert_eq!(company(&directories).unwrap(), 2);
    }

    #[test]
    fn children_and_theirs_are_descendants() {
        let mut child = std::process::Command::new("/bin/sh");
        let mut child = child.args(["-c", "/bin/sleep 100 & wait"]).spawn().unwrap();
        let own = child.id().cast_signed();
        let is_whole = || own_descendants().len() == 2;
        while !is_whole() {
            std::thread::yield_now();
        }

        let found = own_descendants();
        for pid in &found {
            super::signal_whoever_is(*pid, super::SignalNumber::KILL).unwrap();
        }
        child.wait().unwrap();

        assert!(found.contains(&own) && !found.contains(&std::process::id().cast_signed()));
    }
}
