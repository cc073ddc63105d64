//! Freezing a container's cgroup, and letting it go on.
//!
//! Version 1: `Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst`; version 2:
//! `cgroup.freeze` in `Documentation/admin-guide/cgroup-v2.rst`.
//!
//! Until Linux 6.13 every virtual machine has a kernel thread in its cgroup, which version 2 counts
//! and does not freeze: such a cgroup is never called frozen, however still all others in it are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::cgroups;
use super::process::{self, Look};

/// How long the kernel may take to freeze all processes.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// Why a cgroup was not frozen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FreezeError {
    /// There is no freezer.
    #[error("the container's cgroup has no freezer: mount the hierarchy of version 1, or use 2")]
    Missing,
    /// The kernel refuses.
    #[error("freeze {path}")]
    Write {
        /// The cgroup.
        path: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
    /// A process cannot be stopped, being deep in the kernel.
    #[error("unable to freeze: a process did not stop within {} s", FREEZE_LIMIT.as_secs())]
    Stuck,
}

/// The file of a freezer, by version of cgroups, and the words it reads and writes.
#[derive(Clone, Copy, Debug)]
struct Freezer {
    file: &'static str,
    freeze: &'static str,
    thaw: &'static str,
    /// What the file holds from the request on.
    asked: &'static [&'static str],
}

const FREEZERS: [Freezer; 2] = [
    Freezer {
        file: "freezer.state",
        freeze: "FROZEN",
        thaw: "THAWED",
        asked: &["FROZEN", "FREEZING"],
    },
    Freezer { file: "cgroup.freeze", freeze: "1", thaw: "0", asked: &["1"] },
];

/// Whether the cgroup is frozen, or about to be.
pub(crate) fn is_frozen(directories: &[PathBuf]) -> bool {
    find(directories).any(|(freezer, path)| {
        fs::read_to_string(path).is_ok_and(|text| freezer.asked.contains(&text.trim()))
    })
}

/// Lets a frozen cgroup go on, so that its processes can die, too.
pub(crate) fn thaw(directories: &[PathBuf]) {
    for (freezer, path) in find(directories) {
        // It may have been removed meanwhile, and then nobody waits in it.
        let _ = write(&path, freezer.thaw);
    }
}

/// Freezes the cgroup and waits until it is.
///
/// On failure it goes on.
pub(crate) fn freeze(directories: &[PathBuf]) -> Result<(), FreezeError> {
    let (freezer, path) = find(directories).next().ok_or(FreezeError::Missing)?;
    let began = Instant::now();
    let mut pause = Duration::from_micros(100);
    write(&path, freezer.freeze)
        .map_err(|source| FreezeError::Write { path: path.clone(), source })?;
    while !has_arrived(freezer, &path) {
        if began.elapsed() > FREEZE_LIMIT {
            thaw(directories);
            return Err(FreezeError::Stuck);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
        if freezer.file == "freezer.state" {
            // Version 1 may stop half-way where processes come and go; another write helps.
            let _ = write(&path, freezer.freeze);
        }
    }
    Ok(())
}

/// Whether every process has stopped.
fn has_arrived(freezer: Freezer, path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    if freezer.file == "freezer.state" {
        return text.trim() == freezer.freeze;
    }
    let events = fs::read_to_string(path.with_file_name("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "frozen 1") || path.parent().is_some_and(is_still)
}

/// Whether only kernel threads keep the cgroup from being called frozen.
///
/// The request wakes whatever sleeps, and nothing that has not followed it can go to sleep again.
fn is_still(cgroup: &Path) -> bool {
    let before = cgroups::threads(cgroup);
    let looks: Vec<_> = before.iter().filter_map(|&thread| process::look(thread)).collect();
    // Nothing was made meanwhile by somebody who was awake.
    are_still(&looks) && before == cgroups::threads(cgroup)
}

fn are_still(looks: &[Look]) -> bool {
    looks.iter().all(|look| look.is_of_the_kernel || look.is_asleep)
        && looks.iter().any(|look| look.is_of_the_kernel)
}

fn find(directories: &[PathBuf]) -> impl Iterator<Item = (Freezer, PathBuf)> {
    directories.iter().flat_map(|directory| {
        FREEZERS.iter().filter_map(|freezer| {
            let path = directory.join(freezer.file);
            path.exists().then_some((*freezer, path))
        })
    })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{FreezeError, are_still, freeze, is_frozen, thaw};
    use crate::container::process::Look;

    /// A directory that has what a cgroup's freezer has, and a kernel that obeys at once.
    fn cgroup(file: &str, text: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(file), text).unwrap();
        fs::write(directory.path().join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        let path = directory.path().to_owned();
        (directory, vec![path])
    }

    #[test]
    fn a_frozen_cgroup_of_either_version_is_seen() {
        for (file, text, expected) in [
            ("freezer.state", "FROZEN\n", true),
            ("freezer.state", "FREEZING\n", true),
            ("freezer.state", "THAWED\n", false),
            ("cgroup.freeze", "1\n", true),
            ("cgroup.freeze", "0\n", false),
        ] {
            let (_keep, directories) = cgroup(file, text);

            assert_eq!(is_frozen(&directories), expected, "{file} {text}");
        }
    }

    #[test]
    fn freezing_and_thawing_write_the_words_of_the_version() {
        for (file, frozen, thawed) in
            [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")]
        {
            let (_keep, directories) = cgroup(file, thawed);
            let text = || fs::read_to_string(directories[0].join(file)).unwrap();

            freeze(&directories).unwrap();
            assert_eq!(text(), frozen);
            thaw(&directories);
            assert_eq!(text(), thawed);
        }
    }

    #[test]
    fn a_kernel_thread_is_not_waited_for_and_everybody_else_is() {
        let [kernels, asleep, awake] = [(true, false), (false, true), (false, false)]
            .map(|(is_of_the_kernel, is_asleep)| Look { is_of_the_kernel, is_asleep });

        assert!(are_still(&[kernels, asleep]));
        assert!(!are_still(&[kernels, asleep, awake]));
        // Then the kernel itself says when it is.
        assert!(!are_still(&[asleep]));
    }

    #[test]
    fn a_cgroup_without_a_freezer_cannot_be_frozen() {
        assert!(matches!(freeze(&[]), Err(FreezeError::Missing)));
    }
}
