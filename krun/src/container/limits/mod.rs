//! The limits of a container: those it begins with, and `update`, which changes them while it runs.
//!
//! What is to change becomes a list of cgroup files and texts first. The files are then written
//! in order; if one is refused, those before it get their old text back.

pub(crate) mod new_cgroup;
mod request;
mod version_1;
mod version_2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::request::{Limits, Pids, Size, UnknownSize, given};
pub(crate) use self::version_2::{io_weight, weight as cpu_weight};

/// Why limits were not changed. None of them is then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitsError {
    /// The cgroup lacks a controller.
    #[error("the container's cgroup has no {0}: its controller is not there")]
    NoFile(String),
    /// Swap is counted without memory on version 2, and with it in what was asked.
    #[error("memory.swap: found it without memory.limit, of which it is the rest")]
    SwapAlone,
    /// The sum is smaller than its part.
    #[error("memory.swap: found {swap}, expected at least memory.limit, {limit}")]
    SwapTooSmall {
        /// Memory and swap.
        swap: i64,
        /// Memory.
        limit: i64,
    },
    /// A name that is no file's.
    #[error("unified: found {0:?}, expected the name of a file in a version 2 cgroup")]
    Unified(String),
    /// Linux refuses.
    #[error("write {text:?} to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was to be in it.
        text: String,
        /// Why.
        source: io::Error,
    },
}

/// One file of a cgroup and what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    text: String,
}

impl Setting {
    fn new(file: &'static str, value: &impl ToString) -> Self {
        Self { file, text: value.to_string() }
    }
}

/// Changes the limits of the cgroup that has these directories.
pub(crate) fn change(directories: &[PathBuf], limits: &Limits) -> Result<(), LimitsError> {
    let find = |file: &str| directories.iter().map(|one| one.join(file)).find(|path| path.exists());
    let read = |file: &str| fs::read_to_string(find(file)?).ok().map(|text| text.trim().to_owned());
    let is_version_2 = find("cgroup.controllers").is_some();
    let mut changes = Vec::new();
    let settings = if is_version_2 {
        version_2::settings(limits, read)?
    } else {
        version_1::settings(limits, read)
    };
    for Setting { file, text } in settings {
        let path = find(file).ok_or_else(|| LimitsError::NoFile(file.to_owned()))?;
        changes.push((path, text));
    }
    for (file, text) in &limits.unified {
        let is_name = !file.contains('/') && file.contains('.');
        let path = find(file).filter(|_| is_name && is_version_2);
        changes.push((path.ok_or_else(|| LimitsError::Unified(file.clone()))?, text.clone()));
    }
    write_all(&changes)
}

fn write_all(changes: &[(PathBuf, String)]) -> Result<(), LimitsError> {
    let mut done: Vec<(&Path, String)> = Vec::new();
    for (path, text) in changes {
        let before = fs::read_to_string(path).unwrap_or_default();
        if let Err(source) = fs::write(path, text) {
            for (path, text) in done.iter().rev() {
                // The error that is told is the first one.
                let _ = fs::write(path, text.trim());
            }
            return Err(LimitsError::Write { path: path.clone(), text: text.clone(), source });
        }
        done.push((path, before));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Limits, change};

    /// A directory with these files.
    fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(directory.path().join(file), text).unwrap();
        }
        let path = directory.path().to_owned();
        (directory, vec![path])
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let (_keep, directories) = cgroup(&[("pids.max", "7"), ("cpu.shares", "2")]);
        let limits: Limits = serde_json::from_str(r#"{"pids": {"limit": 9}}"#).unwrap();

        change(&directories, &limits).unwrap();

        assert_eq!(fs::read_to_string(directories[0].join("pids.max")).unwrap(), "9");
        assert_eq!(fs::read_to_string(directories[0].join("cpu.shares")).unwrap(), "2");
    }

    #[test]
    fn what_was_written_before_a_refusal_is_taken_back() {
        let (_keep, directories) = cgroup(&[("cpu.shares", "2\n"), ("pids.max", "7")]);
        let refusing = directories[0].join("pids.max");
        fs::remove_file(&refusing).unwrap();
        fs::create_dir(&refusing).unwrap();
        let text = r#"{"cpu": {"shares": 512}, "pids": {"limit": 9}}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();

        let error = change(&directories, &limits).unwrap_err();

        assert!(error.to_string().contains("pids.max"), "{error}");
        assert_eq!(fs::read_to_string(directories[0].join("cpu.shares")).unwrap(), "2");
    }

    #[test]
    fn a_missing_controller_is_named() {
        let (_keep, directories) = cgroup(&[]);
        let limits: Limits = serde_json::from_str(r#"{"pids": {"limit": 9}}"#).unwrap();

        let error = change(&directories, &limits).unwrap_err();

        assert!(error.to_string().contains("has no pids.max"), "{error}");
    }

    #[test]
    fn unified_names_no_file_elsewhere() {
        for name in ["../../x.y", "memory", "pids.max"] {
            let (_keep, directories) = cgroup(&[("pids.max", "7")]);
            let text = format!(r#"{{"unified": {{"{name}": "1"}}}}"#);
            let limits: Limits = serde_json::from_str(&text).unwrap();

            let error = change(&directories, &limits).unwrap_err();

            assert!(error.to_string().starts_with("unified: found"), "{error}");
        }
    }
}
