//! What kontain has changed for an engine, kept on the node: what was before, and what it put there.
//!
//! It is written together with the change, all or nothing, and removed with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engines::Engine;
use crate::error::{NodeError, Result};
use crate::files::{Found, Root};

/// Where records are.
const DIRECTORY: &str = "/var/lib/kontain/install";
/// The version of this format.
const VERSION: u32 = 1;

/// What was done for an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    /// The runtime's name.
    pub(crate) name: String,
    /// Whether it is the default.
    pub(crate) default: bool,
    /// The file that was changed.
    pub(crate) file: PathBuf,
    /// The hash of what was in it; none if it was not there.
    pub(crate) before: Option<String>,
    /// The hash of what is in it now.
    pub(crate) after: String,
    /// What was added.
    pub(crate) entries: Vec<Added>,
    /// Directories that were made.
    pub(crate) directories: Vec<PathBuf>,
}

/// One value that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    /// Where.
    pub(crate) place: Vec<String>,
    /// What.
    pub(crate) value: Value,
    /// What was there before.
    pub(crate) was: Option<Value>,
    /// How many of the tables around it were there before.
    pub(crate) tables: usize,
}

/// A record as it was found.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What it says.
    pub(crate) record: Record,
    /// Its file.
    pub(crate) found: Found,
    /// The file with the earlier contents.
    pub(crate) backup: Option<Found>,
    /// Where that is, for people.
    pub(crate) copy: PathBuf,
}

impl Record {
    /// A record of this version.
    pub(crate) fn new(name: &str, default: bool, file: &Path) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            default,
            file: file.to_owned(),
            before: None,
            after: String::new(),
            entries: Vec::new(),
            directories: Vec::new(),
        }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        // Only maps whose keys are no texts cannot be written, and there are none.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Kept {
    /// Reads an engine's record, if there is one.
    pub(crate) fn read(root: &Root, engine: Engine) -> Result<Option<Self>> {
        let path = path(engine);
        let Some(found) = root.read(&path)? else { return Ok(None) };
        let shown = root.shown(&path);
        let wrong = |reason: String| {
            let fix =
                "it was not written by this kontain: restore it, or remove it and krun's entries";
            NodeError::refused(&shown, reason, fix)
        };
        let record: Record =
            serde_json::from_slice(&found.bytes).map_err(|error| wrong(error.to_string()))?;
        if record.version != VERSION {
            return Err(wrong(format!("version {} is not known", record.version)));
        }
        let copy = root.shown(&backup(engine));
        let backup = root.read(&backup(engine))?;
        Ok(Some(Self { record, found, backup, copy }))
    }

    /// What was in the file before.
    pub(crate) fn original(&self) -> Original<'_> {
        let Some(hash) = &self.record.before else { return Original::Absent };
        match &self.backup {
            Some(backup) if self::hash(&backup.bytes) == *hash => Original::Bytes(&backup.bytes),
            _ => Original::Unknown,
        }
    }
}

/// What was in a file before kontain changed it.
#[derive(Debug)]
pub(crate) enum Original<'a> {
    /// It was not there.
    Absent,
    /// This.
    Bytes(&'a [u8]),
    /// The backup is gone, or is another file's.
    Unknown,
}

/// Where an engine's record is.
pub(crate) fn path(engine: Engine) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.json", engine.name()))
}

/// Where the earlier contents of its file are.
pub(crate) fn backup(engine: Engine) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{}.before", engine.name()))
}

/// The directories that are kontain's own, the outermost first.
pub(crate) fn directories() -> [&'static Path; 2] {
    [Path::new("/var/lib/kontain"), Path::new(DIRECTORY)]
}

/// A file's SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
