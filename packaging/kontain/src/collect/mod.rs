//! `kontain collect`: what somebody who is to help has to see of a node, in one archive, without its secrets.
//!
//! Everything that goes into it is told by [`redact`]. No link is followed, nothing is larger than it may be, and what is
//! left out is named in `manifest.json`.

mod archive;
mod redact;
mod sources;
mod words;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::system::uname;
use serde_json::{Value, json};

use self::archive::Archive;
use crate::check::{self, check};
use crate::error::{NodeError, Result};
use crate::files::Root;

/// No more than this of one file, and of all of them.
const LARGEST: usize = 256 << 10;
const LARGEST_OF_ALL: usize = 16 << 20;

/// What was collected.
#[derive(Debug, Default)]
pub struct Collection {
    files: Vec<(String, Vec<u8>)>,
    left_out: Vec<(String, String)>,
    size: usize,
}

impl Collection {
    /// Looks at everything.
    pub fn of(root: &Root) -> Self {
        let mut all = Self::default();
        let mut findings = check(root, Path::new(check::KRUN));
        for finding in &mut findings {
            // What comes behind is quoted.
            finding.why = words::text(finding.why.lines().next().unwrap_or_default());
        }
        all.add_json("check.json", &json!(findings));
        sources::add(&mut all, root);
        all
    }

    /// Writes the archive: a new file, which only its owner can read.
    pub fn write(self, path: &Path) -> Result<Vec<String>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return NodeError::system("write", path, error);
            }
            NodeError::refused(path, "it is there already", "name another one with --output")
        })?;
        let names = self.names();
        self.write_to(file).map(|()| names).map_err(|error| {
            // What is half written helps nobody.
            _ = fs::remove_file(path);
            NodeError::system("write", path, error)
        })
    }

    fn write_to(self, file: File) -> io::Result<()> {
        let manifest = self.manifest();
        let mut archive = Archive::new(file, now());
        archive.add("kontain/manifest.json", format!("{manifest:#}\n").as_bytes())?;
        for (name, bytes) in self.files {
            archive.add(&in_archive(&name), &bytes)?;
        }
        archive.finish()
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|(name, _)| name.clone()).collect()
    }

    fn manifest(&self) -> Value {
        let left_out: Vec<_> =
            self.left_out.iter().map(|(name, why)| json!({"file": name, "why": why})).collect();
        json!({"kontain": env!("CARGO_PKG_VERSION"), "files": self.names(), "left_out": left_out})
    }

    fn add(&mut self, name: &str, bytes: Vec<u8>) {
        let name = name.trim_start_matches('/');
        if !archive::has_room_for(&in_archive(name)) {
            return self.leave_out(name, "an archive has no room for its name");
        }
        if bytes.len() + self.size > LARGEST_OF_ALL {
            return self.leave_out(name, "there is no room for it");
        }
        self.size += bytes.len();
        self.files.push((name.to_owned(), bytes));
    }

    fn add_json(&mut self, name: &str, value: &Value) {
        self.add(name, format!("{value:#}\n").into_bytes());
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push((name.to_owned(), why.to_owned()));
    }
}

fn in_archive(name: &str) -> String {
    format!("kontain/{name}")
}

/// A file's name where none is wished for.
pub(crate) fn usual_name() -> PathBuf {
    let node = uname().nodename().to_string_lossy().replace('/', "_");
    PathBuf::from(format!("kontain-{node}-{}.tar.gz", now()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
