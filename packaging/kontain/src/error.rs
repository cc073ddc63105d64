//! Why something was not done. Each says which file, what in it, and what to do about it, and which exit code it is.

use std::io;
use std::path::{Path, PathBuf};

/// Why something was not done. The node is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot be done safely.
    #[error("{}: {}{reason}: {fix}", path.display(), field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What in it.
        field: Option<String>,
        /// What is wrong with it.
        reason: String,
        /// What helps.
        fix: String,
    },
    /// Somebody else has changed the file at the same time.
    #[error("{}: somebody else has changed it just now: try again{}", path.display(), asides(left))]
    Changed {
        /// The file.
        path: PathBuf,
        /// What was saved there meanwhile and is there no more: its new places.
        left: Vec<PathBuf>,
    },
    /// The system does not let us.
    #[error("{doing} {}: {source}{}", path.display(), remedy(source))]
    System {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl NodeError {
    /// Something about a whole file.
    pub(crate) fn refused(path: &Path, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        let (path, reason, fix) = (path.to_owned(), reason.into(), fix.into());
        Self::Refused { path, field: None, reason, fix }
    }

    /// Something about a field.
    pub(crate) fn field(
        path: &Path,
        field: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (path, field) = (path.to_owned(), Some(field.into()));
        Self::Refused { path, field, reason: reason.into(), fix: fix.into() }
    }

    /// A call that failed.
    pub(crate) fn system(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::System { doing, path: path.to_owned(), source: source.into() }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } => 3,
            Self::Changed { .. } => 4,
            Self::System { .. } => 5,
        }
    }

    /// One word, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Changed { .. } => "changed",
            Self::System { .. } => "system",
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Refused { path, .. } | Self::Changed { path, .. } | Self::System { path, .. } => {
                path
            }
        }
    }
}

/// Where somebody's work is now.
fn asides(left: &[PathBuf]) -> String {
    let left =
        left.iter().map(|path| format!("; what was saved before that is {}", path.display()));
    left.collect()
}

/// What helps against errors of the system's.
fn remedy(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        ": run kontain as root, and see lsattr(1)"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        ": make the file system writable, or change its image"
    } else if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        ": make room"
    } else {
        ""
    }
}

/// What most of this crate's functions return.
pub type Result<T> = std::result::Result<T, NodeError>;
