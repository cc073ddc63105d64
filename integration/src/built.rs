//! Finds the binaries under test, and refuses ones that are older than their sources.
//!
//! Tests judge the release binaries, as `make build` leaves them, because those are what users
//! get. `KRUN_BIN_DIR` names another directory, such as an installed one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

/// What everything is built for, and so the name of a directory in cargo's target directory.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The runtime.
pub fn krun() -> Result<PathBuf> {
    find("krun")
}

/// The monitor.
pub fn km() -> Result<PathBuf> {
    find("km")
}

/// The administrator's tool.
pub fn kontain() -> Result<PathBuf> {
    find("kontain")
}

/// What km and krun are told about calls that do not leave the virtual machine: nothing, or what the
/// variable `KRUN_EXITLESS` says (`on`, `off`).
pub fn exitless() -> Option<String> {
    let wish = env::var("KRUN_EXITLESS").ok().filter(|wish| !wish.is_empty())?;
    Some(format!("--exitless={wish}"))
}

/// Cargo's target directory, which this test itself lies in.
pub fn target_dir() -> Result<PathBuf> {
    let test = env::current_exe().context("find this test's own binary")?;
    let triple = test.ancestors().find(|dir| dir.ends_with(TRIPLE));
    let target = triple.and_then(Path::parent).map(Path::to_owned);
    target.with_context(|| format!("{} is not in a target directory", test.display()))
}

fn find(name: &str) -> Result<PathBuf> {
    let dir = match env::var_os("KRUN_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => target_dir()?.join(TRIPLE).join("release"),
    };
    let program = dir.join(name);
    ensure!(program.is_file(), "there is no {}: run `make build` first", program.display());
    refuse_stale(&program)?;
    Ok(program)
}

/// Cargo leaves beside each binary a list of the sources it was made of.
fn refuse_stale(program: &Path) -> Result<()> {
    let Ok(list) = fs::read_to_string(program.with_extension("d")) else {
        return Ok(());
    };
    let built = fs::metadata(program)?.modified()?;
    for source in list.split_whitespace().skip(1) {
        if modified(source).is_some_and(|time| time > built) {
            bail!("{} is older than {source}: run `make build` first", program.display());
        }
    }
    Ok(())
}

fn modified(path: &str) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
