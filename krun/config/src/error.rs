//! What is wrong with a setting: where it stands, which one it is, why, and what helps.

use std::io;
use std::path::{Path, PathBuf};

use krun_host_file::HostFileError;

use crate::setting::Origin;
use crate::{DIRECTORY, FILE, KEYS};

/// Why a setting, or a file of settings, counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Somebody else than root could have written it.
    #[error("configuration {path}: {reason}")]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What makes it so, and how to mend it.
        reason: String,
    },
    /// It cannot be read.
    #[error("configuration {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML.
    #[error("configuration {path}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// One setting is wrong.
    #[error("configuration {place}: {key}: {reason}: {fix}")]
    Key {
        /// The file or variable.
        place: Origin,
        /// The setting's name.
        key: String,
        /// What is wrong.
        reason: String,
        /// What helps.
        fix: String,
    },
}

impl ConfigError {
    /// The file, if it is one that is wrong.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Untrusted { path, .. } | Self::Read { path, .. } | Self::Syntax { path, .. } => {
                Some(path)
            }
            Self::Key { place, .. } => place.file(),
        }
    }

    /// The setting, if it is one that is wrong.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Untrusted { .. } | Self::Read { .. } | Self::Syntax { .. } => None,
            Self::Key { key, .. } => Some(key),
        }
    }
}

impl From<HostFileError> for ConfigError {
    fn from(error: HostFileError) -> Self {
        match error {
            HostFileError::Untrusted { path, reason } => Self::Untrusted { path, reason },
            HostFileError::Read { path, source } => Self::Read { path, source },
        }
    }
}

/// What is wrong with one setting, wherever it stands.
#[derive(Debug)]
pub(crate) struct Fault {
    reason: String,
    fix: String,
}

impl Fault {
    pub(crate) fn new(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into() }
    }

    pub(crate) fn unknown() -> Self {
        Self::new("there is no such setting", format!("there are {KEYS}"))
    }

    pub(crate) fn not_by_variable() -> Self {
        Self::new("no variable sets what security needs", format!("set it in {DIRECTORY}/{FILE}"))
    }

    pub(crate) fn at(self, place: &Origin, key: &str) -> ConfigError {
        let Self { reason, fix } = self;
        ConfigError::Key { place: place.clone(), key: key.to_owned(), reason, fix }
    }
}
