//! The image that suites run in, which `integration/prepare tests` makes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use super::directory;
use crate::built;
use crate::outcome;

/// The image's root filesystem, or a message that says how it is made.
pub(super) fn find() -> Result<PathBuf> {
    check("image")?;
    Ok(built::target_dir()?.join("software/rootfs"))
}

/// Fails when what this script makes is not there, or not as the script now wants it.
fn check(script: &str) -> Result<()> {
    let mut check = Command::new(directory().join(script));
    check.arg("check").env("CARGO_TARGET_DIR", built::target_dir()?);
    let outcome = outcome::run(&mut check, None)?;
    ensure!(outcome.is_success(), "{}", outcome.stderr().trim_end());
    Ok(())
}

/// The pinned Go, which is a tool of the machine and not of the image.
pub(super) fn go() -> Result<PathBuf> {
    let go = built::target_dir()?.join("tools/go");
    ensure!(go.is_dir(), "there is no {}: run `integration/prepare tests`", go.display());
    Ok(go)
}

/// The compiled tests of Go's own packages.
pub(super) fn go_tests() -> Result<PathBuf> {
    check("go-tests")?;
    Ok(built::target_dir()?.join("software/go-tests"))
}
