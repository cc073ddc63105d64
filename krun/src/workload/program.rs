//! Finding the program, with runc's rules and runc's words.
//!
//! dockerd and podman turn the words into exit codes (126 and 127), so they are an
//! interface: they are those of Go's `exec.LookPath`, which runc uses.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;

use crate::error_chain;

/// Why a program cannot be found or run. `Display` is what follows `exec: "name": `.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProgramError {
    /// Not in any directory of `PATH`.
    #[error("executable file not found in $PATH")]
    NotInPath,
    /// `PATH` has a relative directory, and the program is there.
    #[error("cannot run executable found relative to current directory")]
    RelativeInPath,
    /// The path leads nowhere.
    #[error("stat {path}: {}", words(*errno))]
    Stat {
        /// The path.
        path: String,
        /// Why.
        errno: Errno,
    },
    /// It is a directory: the words of newer and of older runcs, of which podman knows the latter only.
    #[error("is a directory: permission denied")]
    Directory,
    /// It is there and cannot be run.
    #[error("{}", words(*.0))]
    Refused(Errno),
}

/// The program called `name` as seen from the working directory.
pub(super) fn find(name: &str, path: Option<&str>) -> Result<PathBuf, ProgramError> {
    if name.contains('/') {
        let program = PathBuf::from(name);
        return demand_executable(&program).map(|()| program);
    }
    let path = path.filter(|path| !path.is_empty());
    for directory in path.into_iter().flat_map(|path| path.split(':')) {
        let program = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        if demand_executable(&program).is_ok() {
            let is_safe = program.is_absolute();
            return if is_safe { Ok(program) } else { Err(ProgramError::RelativeInPath) };
        }
    }
    Err(ProgramError::NotInPath)
}

fn demand_executable(program: &Path) -> Result<(), ProgramError> {
    let shown = || program.display().to_string();
    let status = stat(program).map_err(|errno| ProgramError::Stat { path: shown(), errno })?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(ProgramError::Directory);
    }
    // By effective IDs, which are what execve(2) goes by. root passes this for a file
    // without any execute permission, but only on kernels before 2.2.
    accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS).map_err(ProgramError::Refused)
}

/// Linux's text for an error in the case that Go writes it in.
fn words(errno: Errno) -> String {
    error_chain::as_go_writes(&io::Error::from(errno).to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::find;

    /// A directory with `run` (executable), `text` (not) and `sub/` in it.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode) in [("run", 0o755), ("text", 0o644)] {
            let path = directory.path().join(name);
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(directory.path().join("sub")).unwrap();
        directory
    }

    #[test]
    fn a_name_is_searched_in_path_and_a_path_is_not() {
        let directory = directory();
        let path = format!("/nonexistent:{}", directory.path().display());

        assert_eq!(find("run", Some(&path)).unwrap(), directory.path().join("run"));
        assert_eq!(find("/bin/sh", None).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn every_fault_has_the_words_engines_look_for() {
        let directory = directory();
        let path = directory.path().display().to_string();
        let inside = |name: &str| format!("{path}/{name}");

        for (name, search, expected) in [
            ("nosuch".to_owned(), Some(&path), "executable file not found in $PATH".to_owned()),
            ("run".to_owned(), None, "executable file not found in $PATH".to_owned()),
            ("text".to_owned(), Some(&path), "executable file not found in $PATH".to_owned()),
            ("/nosuch".to_owned(), None, "stat /nosuch: no such file or directory".to_owned()),
            (inside("run/x"), None, format!("stat {path}/run/x: not a directory")),
            (inside("text"), None, "permission denied".to_owned()),
            (inside("sub"), None, "is a directory: permission denied".to_owned()),
        ] {
            let error = find(&name, search.map(String::as_str)).unwrap_err();

            assert_eq!(error.to_string(), expected, "{name}");
        }
    }
}
