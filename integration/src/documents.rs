//! Documents for other programs, held against what those publish, by `integration/documents/validate`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::built;
use crate::outcome::{self, Outcome};

/// Where the documents are.
pub const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");

/// What is said of documents. Fails if anything is wrong with one.
pub fn validate(path: &Path) -> Result<String> {
    let done = call(path)?;
    ensure!(done.is_success(), "{done:?}");
    Ok(done.stdout())
}

/// What is said of one, given by its path below [`PACKAGING`], with a mistake in it. Fails if nothing is.
pub fn broken(file: &Path, right: &str, wrong: &str) -> Result<String> {
    let text = fs::read_to_string(Path::new(PACKAGING).join(file))?;
    ensure!(text.contains(right), "{}: there is no {right:?}", file.display());
    let dir = TempDir::new()?;
    let copy = dir.path().join(file.file_name().context("a file has a name")?);
    fs::write(&copy, text.replacen(right, wrong, 1))?;
    let done = call(&copy)?;
    ensure!(!done.is_success(), "{}: {wrong:?} is taken: {done:?}", file.display());
    Ok(done.stdout())
}

fn call(path: &Path) -> Result<Outcome> {
    let validate = concat!(env!("CARGO_MANIFEST_DIR"), "/documents/validate");
    let mut command = Command::new(validate);
    command.arg(path).env("CARGO_TARGET_DIR", built::target_dir()?);
    outcome::run(&mut command, None)
}
