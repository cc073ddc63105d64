//! `krun policy test`: what the host's policy says of a `config.json`, and why.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use spec_compat::{Config, ConfigError};

use super::VerbError;
use crate::cli::{Global, PolicyVerb};
use crate::policy::{Decision, Policy};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyTestError {
    /// The file cannot be read.
    #[error("{path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not one that krun would take.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// All its faults. Shown in this error's own text, hence no `#[source]`.
        source: ConfigError,
    },
}

pub(super) fn policy(global: &Global, verb: &PolicyVerb) -> Result<(), VerbError> {
    let PolicyVerb::Test { config: path } = verb;
    let policy = Policy::read(global.policy_dir.as_deref())?;
    let (config, rootfs) = read(path)?;
    let (asked, decision) = policy.explain(&config, &rootfs);
    let mut text = String::new();
    for one in asked {
        let outcome = one.obstacle.map_or_else(|| "decides".to_owned(), |it| format!("no: {it}"));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {outcome}", one.rule);
    }
    let decided = decision.inspect_err(|_| drop(super::print(&text)))?;
    let Decision { mode, rule, .. } = decided;
    super::print(&format!("{text}mode {} by rule {rule}\n", mode.word()))
}

fn read(path: &Path) -> Result<(Config, PathBuf), PolicyTestError> {
    let bytes =
        fs::read(path).map_err(|source| PolicyTestError::Read { path: path.into(), source })?;
    let config = Config::parse(&bytes)
        .map_err(|source| PolicyTestError::Config { path: path.into(), source })?;
    let rootfs = path.parent().unwrap_or(Path::new(".")).join(config.rootfs());
    Ok((config, rootfs))
}
