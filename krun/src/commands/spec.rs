//! `krun spec`: write a `config.json` to start from.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use spec_compat::example::{self, Rootless};

use super::VerbError;
use crate::cli::SpecOptions;
use crate::container::cgroups;

const NAME: &str = "config.json";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    /// runc's words.
    #[error("File {NAME} exists. Remove it first")]
    Exists,
    /// The file system's fault.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

pub(super) fn spec(arguments: &SpecOptions) -> Result<(), VerbError> {
    let user = Rootless { uid: geteuid().as_raw(), gid: getegid().as_raw() };
    let text = example::document(cgroups::is_version_2(), arguments.rootless.then_some(user));
    let directory = arguments.bundle.as_deref().unwrap_or(Path::new("."));
    Ok(write(&directory.join(NAME), &text)?)
}

fn write(path: &Path, text: &str) -> Result<(), SpecError> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| {
        if source.kind() == ErrorKind::AlreadyExists {
            SpecError::Exists
        } else {
            SpecError::Write { path: path.into(), source }
        }
    })
}
