//! The image that suites run in, which `integration/prepare tests` makes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use super::directory;
use crate::built;
use crate::outcome;

/// The image's root filesystem, or a message that says how it is made.
///
/// The recipe's script itself says whether the image is as `packages.txt` now wants it.
pub(super) fn find() -> Result<PathBuf> {
    let target = built::target_dir()?;
    let mut check = Command::new(directory().join("image"));
    check.arg("check").env("CARGO_TARGET_DIR", &target);
    let outcome = outcome::run(&mut check, None)?;
    ensure!(outcome.is_success(), "{}", outcome.stderr().trim_end());
    Ok(target.join("software/rootfs"))
}

/// The pinned Go, which is a tool of the machine and not of the image.
pub(super) fn go() -> Result<PathBuf> {
    let go = built::target_dir()?.join("tools/go");
    ensure!(go.is_dir(), "there is no {}: run `integration/prepare tests`", go.display());
    Ok(go)
}
