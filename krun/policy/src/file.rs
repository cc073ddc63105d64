//! Files of rules: what is in them. Who may have written them is `krun-host-file`'s.

use std::io;
use std::path::{Path, PathBuf};

use krun_host_file::HostFileError;
use serde::Deserialize;

use super::condition::Condition;
use super::{Listed, preset};

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
    /// As it stands.
    pub(super) fn listed(&self) -> Listed<'_> {
        let mode = match self.verdict {
            Verdict::Vm => "vm",
            Verdict::Native => "native",
            Verdict::Deny => "deny",
        };
        let (id, source, reason) = (&*self.id, &*self.source, self.reason.as_deref());
        Listed { id, mode, source, reason, condition: &self.condition }
    }

    /// Its name and file.
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.id, self.source)
    }
}

/// All rules in their order.
pub(super) fn read_all(directory: &Path, must_exist: bool) -> Result<Vec<Rule>, PolicyError> {
    let Some(paths) = krun_host_file::list(directory)? else {
        let source = io::ErrorKind::NotFound.into();
        let fault = PolicyError::Read { path: directory.into(), source };
        return if must_exist { Err(fault) } else { Ok(Vec::new()) };
    };
    let mut rules: Vec<Rule> = Vec::new();
    for path in paths {
        let Some(text) = krun_host_file::read_listed(&path)? else { continue };
        for rule in parse(&text, &path)? {
            if let Some(other) = rules.iter().find(|other| other.id == rule.id) {
                let reason = format!("rule {:?} is in {} already", rule.id, other.source);
                return Err(PolicyError::Syntax { path, reason });
            }
            rules.push(rule);
        }
    }
    Ok(rules)
}

impl From<HostFileError> for PolicyError {
    fn from(error: HostFileError) -> Self {
        match error {
            HostFileError::Untrusted { path, reason } => Self::Untrusted { path, reason },
            HostFileError::Read { path, source } => Self::Read { path, source },
        }
    }
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
