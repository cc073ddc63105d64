//! Files that nobody but the host's root can have written: krun's configuration and its policy.
//!
//! # Invariant
//!
//! What [`read`] returns was in a file of root's or the caller's own that neither a group nor others can write,
//! and was looked at through the descriptor that it was read from. No symbolic link was its last step.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use krun_sys::{is_in_user_namespace, nobody};
use rustix::fs::OFlags;

/// Such a file is some kilobytes.
const LARGEST: u64 = 1 << 20;
/// Write permission for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Only who owns a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum HostFileError {
    /// Somebody else than root could have written it.
    #[error("{path}: {reason}")]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What makes it so, and how to mend it.
        reason: String,
    },
    /// It cannot be read.
    #[error("{path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The `*.toml` of a directory in the order of their names; none if there is no such directory. Names that begin with a
/// dot are of editors' files, such as the lock `.#10.toml`.
pub fn list(directory: &Path) -> Result<Option<Vec<PathBuf>>, HostFileError> {
    let fault = |source| HostFileError::Read { path: directory.into(), source };
    match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
        Ok(status) => demand_trusted(directory, &status)?,
    }
    demand_trusted_parents(directory)?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(Some(paths))
}

/// Refuses a file or directory where somebody could put another one in its place: who can write one above it can.
pub fn demand_trusted_parents(path: &Path) -> Result<(), HostFileError> {
    let fault = |source| HostFileError::Read { path: path.into(), source };
    let absolute = std::path::absolute(path).map_err(fault)?;
    for parent in absolute.ancestors().skip(1) {
        let fault = |source| HostFileError::Read { path: parent.into(), source };
        let status = fs::symlink_metadata(parent).map_err(fault)?;
        // In a sticky directory, such as /tmp, nobody can rename what is another's.
        if status.mode() & STICKY == 0 {
            demand_trusted(parent, &status)?;
        }
    }
    Ok(())
}

/// What is in a file. Those above it are [`demand_trusted_parents`]'s.
pub fn read(path: &Path) -> Result<String, HostFileError> {
    let fault = |source| HostFileError::Read { path: path.into(), source };
    let status = fs::symlink_metadata(path).map_err(fault)?;
    demand_trusted(path, &status)?;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(fault)?;
    // What was opened is what counts.
    let status = file.metadata().map_err(fault)?;
    demand_trusted(path, &status)?;
    if !status.is_file() || status.len() > LARGEST {
        return Err(HostFileError::Untrusted {
            path: path.into(),
            reason: "it is not a file, or one of more than 1 MiB".to_owned(),
        });
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(fault)?;
    Ok(text)
}

/// What is in a file of a [`list`]; `None` if it has been removed since.
pub fn read_listed(path: &Path) -> Result<Option<String>, HostFileError> {
    match read(path) {
        Err(HostFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        text => text.map(Some),
    }
}

fn demand_trusted(path: &Path, status: &Metadata) -> Result<(), HostFileError> {
    let reason = if status.is_symlink() {
        "it is a symbolic link: put the file itself there".to_owned()
    } else if !is_trusted(status.uid()) {
        format!("it belongs to user {}: chown root", status.uid())
    } else if status.mode() & WRITABLE_BY_OTHERS != 0 {
        format!("its mode is {:o}, so others can write it: chmod go-w", status.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(HostFileError::Untrusted { path: path.into(), reason })
}

/// Root and the caller are. In a user namespace the host's root is one of those who have no number there.
fn is_trusted(owner: u32) -> bool {
    owner == 0
        || owner == rustix::process::geteuid().as_raw()
        || is_in_user_namespace() && owner == nobody()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::{LARGEST, list, read, read_listed};

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_could_write_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("1.toml");
        fs::write(&file, "text").unwrap();

        for (mode, is_good) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
            set(&file, mode);
            assert_eq!(read(&file).is_ok(), is_good, "{mode:o}");
        }
        set(&file, 0o644);
        symlink(&file, directory.path().join("2.toml")).unwrap();
        let fault = read(&directory.path().join("2.toml")).unwrap_err().to_string();
        assert!(fault.contains("symbolic link"), "{fault}");
    }

    #[test]
    fn what_is_too_large_or_no_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("1.toml");
        File::create(&file).unwrap().set_len(LARGEST).unwrap();
        set(&file, 0o644);

        assert!(read(&file).is_ok());
        File::options().write(true).open(&file).unwrap().set_len(LARGEST + 1).unwrap();
        for path in [&*file, directory.path()] {
            let fault = read(path).unwrap_err().to_string();
            assert!(fault.contains("more than 1 MiB"), "{fault}");
        }
    }

    #[test]
    fn a_list_is_in_the_order_of_names_and_may_be_absent() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["20.toml", "10.toml", "30.bak", ".15.toml"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        symlink("user@host.1:2", directory.path().join(".#10.toml")).unwrap();

        let names = list(directory.path()).unwrap().unwrap();

        assert_eq!(names, ["10.toml", "20.toml"].map(|name| directory.path().join(name)));
        assert_eq!(list(&directory.path().join("none")).unwrap(), None);
        assert_eq!(read_listed(&names[0]).unwrap().as_deref(), Some(""));
        fs::remove_file(&names[0]).unwrap();
        assert_eq!(read_listed(&names[0]).unwrap(), None);
        set(directory.path(), 0o777);
        assert!(list(directory.path()).unwrap_err().to_string().contains("chmod go-w"));
    }
}
