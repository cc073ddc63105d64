//! krun's settings: what an administrator sets for a node, and where each value is from.
//!
//! Later ones win: defaults, `/etc/kontain/krun.toml`, `/etc/kontain/krun.d/*.toml` in the order of their names,
//! variables `KONTAIN_KRUN_*`, options. What the host's security needs is not taken from variables: they come
//! from an engine's unit, a shell or a script by accident, and nobody who reads the files sees them.
//!
//! What an engine and its runtime must agree on (`--root`, `--log`, who makes cgroups) is no setting: the engine
//! says it.
#![forbid(unsafe_code)]

mod error;
mod flags;
mod setting;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use krun_host_file::HostFileError;
use monitor_launch::Exitless;
use serde_json::Value;

pub use self::error::ConfigError;
use self::error::Fault;
pub use self::flags::Flags;
use self::setting::Given;
pub use self::setting::{Origin, Setting};

/// Where the files are, unless `--config-dir` says otherwise.
pub const DIRECTORY: &str = "/etc/kontain";
/// The file, and the directory of those that come after it.
const FILE: &str = "krun.toml";
const DROP_INS: &str = "krun.d";
/// What variables begin with. No other program's do.
const PREFIX: &str = "KONTAIN_KRUN_";

/// The settings' names, as they are shown.
const KEYS: &str = "debug, exitless, monitor_filter, policy_dir, release_suffix and stats";
/// Those that no variable sets.
const NOT_BY_VARIABLE: [&str; 2] = ["monitor_filter", "policy_dir"];

/// What krun goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether debugging lines are written to the log.
    pub debug: Setting<bool>,
    /// When a thread of km's makes a program's system calls.
    pub exitless: Setting<Exitless>,
    /// Whether km has a seccomp filter of its own.
    pub monitor_filter: Setting<bool>,
    /// The rules' directory, if it is not the usual one.
    pub policy_dir: Setting<Option<PathBuf>>,
    /// Whether `uname -r` tells a virtual machine.
    pub release_suffix: Setting<bool>,
    /// Whether km counts exits.
    pub stats: Setting<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            debug: Setting::new(false),
            exitless: Setting::new(Exitless::Auto),
            monitor_filter: Setting::new(true),
            policy_dir: Setting::new(None),
            release_suffix: Setting::new(true),
            stats: Setting::new(false),
        }
    }
}

impl Settings {
    /// The settings of a host, and all that is wrong with them. What is wrong sets nothing.
    pub fn read(
        directory: &Path,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> (Self, Vec<ConfigError>) {
        let mut settings = Self::default();
        let mut errors = settings.add_files(directory);
        errors.extend(settings.add_environment(environment));
        flags.apply(&mut settings);
        (settings, errors)
    }

    /// What is wrong with a directory that is asked for by name: it must be there, though the usual one need not.
    pub fn missing(directory: &Path) -> Option<ConfigError> {
        let fault = |source| ConfigError::Read { path: directory.into(), source };
        fs::symlink_metadata(directory).map_err(fault).err()
    }

    /// Adds what a file says that holds this text. Gives all that is wrong with it.
    pub fn add_text(&mut self, path: &Path, text: &str) -> Vec<ConfigError> {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let reason = error.to_string().trim_end().to_owned();
                return vec![ConfigError::Syntax { path: path.into(), reason }];
            }
        };
        let set = |(key, value): (&String, &toml::Value)| {
            self.set(key, Given::Toml(value), Origin::File(path.into())).err()
        };
        table.iter().filter_map(set).collect()
    }

    /// Each setting's name, value and origin, in the order of their names.
    pub fn all(&self) -> [(&'static str, Value, &Origin); 6] {
        [
            self.debug.shown("debug"),
            self.exitless.shown("exitless"),
            self.monitor_filter.shown("monitor_filter"),
            self.policy_dir.shown("policy_dir"),
            self.release_suffix.shown("release_suffix"),
            self.stats.shown("stats"),
        ]
    }

    fn add_files(&mut self, directory: &Path) -> Vec<ConfigError> {
        let file = directory.join(FILE);
        let mut errors = match read_if_there(&file) {
            Ok(Some(text)) => self.add_text(&file, &text),
            Ok(None) => Vec::new(),
            Err(error) => vec![error.into()],
        };
        let drop_ins = krun_host_file::list(&directory.join(DROP_INS)).unwrap_or_else(|error| {
            errors.push(error.into());
            None
        });
        for path in drop_ins.into_iter().flatten() {
            match krun_host_file::read_listed(&path) {
                Ok(Some(text)) => errors.extend(self.add_text(&path, &text)),
                Ok(None) => {}
                Err(error) => errors.push(error.into()),
            }
        }
        errors
    }

    fn add_environment(
        &mut self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<ConfigError> {
        let add = |(name, value): (OsString, OsString)| {
            let own = name.as_bytes().strip_prefix(PREFIX.as_bytes())?;
            if value.is_empty() {
                // A unit or a shell that unsets it in the only way it has.
                return None;
            }
            let key = OsStr::from_bytes(own).to_string_lossy().to_lowercase();
            let origin = Origin::Variable(name.to_string_lossy().into_owned());
            if NOT_BY_VARIABLE.contains(&&*key) {
                return Some(Fault::not_by_variable().at(&origin, &key));
            }
            self.set(&key, Given::Word(&value), origin).err()
        };
        environment.filter_map(add).collect()
    }

    fn set(&mut self, key: &str, given: Given<'_>, origin: Origin) -> Result<(), ConfigError> {
        let place = origin.clone();
        match key {
            "debug" => self.debug.set(given, origin),
            "exitless" => self.exitless.set(given, origin),
            "monitor_filter" => self.monitor_filter.set(given, origin),
            "policy_dir" => self.policy_dir.set(given, origin),
            "release_suffix" => self.release_suffix.set(given, origin),
            "stats" => self.stats.set(given, origin),
            _ => Err(Fault::unknown()),
        }
        .map_err(|fault| fault.at(&place, key))
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, HostFileError> {
    let text = krun_host_file::read_listed(path)?;
    if text.is_some() {
        krun_host_file::demand_trusted_parents(path)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
