//! Files of rules: who may have written them, and what is in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use krun_sys::{is_in_user_namespace, nobody};
use rustix::fs::OFlags;
use serde::Deserialize;

use super::condition::Condition;
use super::preset;

/// A policy is some kilobytes.
const LARGEST: u64 = 1 << 20;
/// Write permission for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Only who owns a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// Why there is no decision, or why it is against the container.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Somebody else than root could have written it.
    #[error("policy {path}: {reason}")]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// What makes it so, and how to mend it.
        reason: String,
    },
    /// It cannot be read.
    #[error("policy {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not well formed.
    #[error("policy {path}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// A rule says so.
    #[error("denied by the policy's rule {rule}: {reason}")]
    Denied {
        /// `id (file)`.
        rule: String,
        /// The rule's words.
        reason: String,
    },
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Vm,
    Native,
    Deny,
}

/// A file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Rules of krun's that come behind the file's own.
    preset: Option<String>,
    /// Programs that the presets take for pause containers.
    #[serde(default)]
    pause_sha256: Vec<String>,
    #[serde(default)]
    pub(super) rule: Vec<Rule>,
}

/// `[[rule]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) id: String,
    #[serde(rename = "mode")]
    pub(super) verdict: Verdict,
    /// What a denied caller is told.
    pub(super) reason: Option<String>,
    #[serde(rename = "match", default)]
    pub(super) condition: Condition,
    /// Where it stands.
    #[serde(skip)]
    source: String,
}

impl Rule {
    /// Its name and file.
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.id, self.source)
    }
}

/// All rules in their order.
pub(super) fn read_all(directory: &Path, must_exist: bool) -> Result<Vec<Rule>, PolicyError> {
    let fault = |source| PolicyError::Read { path: directory.into(), source };
    match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fault(error)),
        Ok(status) => demand_trusted(directory, &status)?,
    }
    demand_trusted_parents(&std::path::absolute(directory).map_err(fault)?)?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut rules: Vec<Rule> = Vec::new();
    for path in paths {
        for rule in read_one(&path)? {
            if let Some(other) = rules.iter().find(|other| other.id == rule.id) {
                let reason = format!("rule {:?} is in {} already", rule.id, other.source);
                return Err(PolicyError::Syntax { path, reason });
            }
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn demand_trusted(path: &Path, status: &fs::Metadata) -> Result<(), PolicyError> {
    let reason = if status.is_symlink() {
        "it is a symbolic link: put the file itself there".to_owned()
    } else if !is_trusted(status.uid()) {
        format!("it belongs to user {}: chown root", status.uid())
    } else if status.mode() & WRITABLE_BY_OTHERS != 0 {
        format!("its mode is {:o}, so others can write it: chmod go-w", status.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(PolicyError::Untrusted { path: path.into(), reason })
}

/// Root and the caller are. In a user namespace the host's root is one of those who have no number there.
fn is_trusted(owner: u32) -> bool {
    owner == 0
        || owner == rustix::process::geteuid().as_raw()
        || is_in_user_namespace() && owner == nobody()
}

/// Who can write a directory above can put another one in the place of this one.
fn demand_trusted_parents(directory: &Path) -> Result<(), PolicyError> {
    for parent in directory.ancestors().skip(1) {
        let fault = |source| PolicyError::Read { path: parent.into(), source };
        let status = fs::symlink_metadata(parent).map_err(fault)?;
        // In a sticky directory, such as /tmp, nobody can rename what is another's.
        if status.mode() & STICKY == 0 {
            demand_trusted(parent, &status)?;
        }
    }
    Ok(())
}

fn read_one(path: &Path) -> Result<Vec<Rule>, PolicyError> {
    let fault = |source| PolicyError::Read { path: path.into(), source };
    let status = fs::symlink_metadata(path).map_err(fault)?;
    demand_trusted(path, &status)?;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(fault)?;
    // What was opened is what counts.
    let status = file.metadata().map_err(fault)?;
    demand_trusted(path, &status)?;
    if !status.is_file() || status.len() > LARGEST {
        return Err(PolicyError::Untrusted {
            path: path.into(),
            reason: "it is not a file, or one of more than 1 MiB".to_owned(),
        });
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(fault)?;
    parse(&text, path)
}

/// The rules of one file.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Rule>, PolicyError> {
    let syntax = |reason: String| PolicyError::Syntax { path: path.into(), reason };
    let document: Document =
        toml::from_str(text).map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
    let mut rules = document.rule;
    for rule in &mut rules {
        rule.source = path.display().to_string();
        if rule.verdict == Verdict::Native && rule.condition.can_be_forged() {
            return Err(syntax(format!(
                "rule {:?} makes native what an image says of itself (args, args0, annotations): add a \
                 condition that is not the image's, such as cgroup_parent, binds or program_sha256",
                rule.id
            )));
        }
    }
    let Some(name) = &document.preset else { return Ok(rules) };
    let known = "default, ecs and kubernetes";
    let preset = preset::rules(name, &document.pause_sha256)
        .ok_or_else(|| syntax(format!("there is no preset {name:?}: there are {known}")))?;
    rules.extend(preset.rule.into_iter().map(|rule| {
        let source = format!("{}, preset {name}", path.display());
        Rule { source, ..rule }
    }));
    Ok(rules)
}
