//! `kontain policy`: the rules of the host as krun reads them, and what they say of a container.

use std::error::Error as _;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use krun_config::{DIRECTORY, Flags, Settings};
use krun_policy::{Policy, PolicyError};
use serde_json::{Value, json};
use spec_compat::Config;

use crate::error::{NodeError, Result};
use crate::files::Root;

/// Where rules are, if no setting says so.
pub(crate) const POLICIES: &str = "/etc/kontain/policy.d";

/// The host's rules, and where they are.
#[derive(Debug)]
pub(crate) struct Rules {
    directory: PathBuf,
    /// None if nothing is there: then there is no rule.
    policy: Option<Policy>,
}

/// What the rules say of a container.
#[derive(Debug)]
pub(crate) struct Answer {
    asked: Vec<(String, Option<String>)>,
    /// The mode and the rule, or why the container is refused.
    pub(crate) decision: std::result::Result<(&'static str, String), String>,
}

impl Rules {
    /// Of the node with this root directory. An engine's variables and options, which may name another directory, are not
    /// known here.
    pub(crate) fn of(root: &Root) -> Result<Self> {
        let settings = root.shown(Path::new(DIRECTORY));
        let (settings, errors) = Settings::read(&settings, std::iter::empty(), &Flags::default());
        if let Some(error) = errors.first() {
            let fix = "mend it: kontain config dump shows all";
            return Err(NodeError::refused(
                error.file().unwrap_or(Path::new(DIRECTORY)),
                error.to_string(),
                fix,
            ));
        }
        let wished = settings.policy_dir.as_deref();
        let directory = wished.map_or_else(|| PathBuf::from(POLICIES), Path::to_owned);
        let shown = root.shown(&directory);
        // What is there and cannot be read is no absence: krun would say so.
        if wished.is_none() && !is_there(&shown) {
            return Ok(Self { directory, policy: None });
        }
        let policy = Policy::read(Some(&shown)).map_err(|error| refused(&shown, &error))?;
        Ok(Self { directory, policy: Some(policy) })
    }

    /// The rules, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for rule in self.policy.iter().flat_map(Policy::rules) {
            let conditions = json!(rule.condition);
            let conditions: Vec<_> = conditions
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let conditions = match conditions.as_slice() {
                [] => "every container".to_owned(),
                some => some.join(" "),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:6} {} ({}): {conditions}", rule.mode, rule.id, rule.source);
        }
        let _ = writeln!(text, "vm     default: every other container");
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let rules: Vec<_> = self.policy.iter().flat_map(Policy::rules).collect();
        json!({"directory": self.directory, "rules": rules, "default": "vm"})
    }

    /// What they say of the container of a bundle's `config.json`.
    pub(crate) fn ask(&self, path: &Path) -> Result<Answer> {
        let bytes = fs::read(path).map_err(|error| NodeError::system("read", path, error))?;
        let config = Config::parse(&bytes).map_err(|error| {
            NodeError::refused(path, error.to_string(), "mend it, or name another")
        })?;
        let rootfs = path.parent().unwrap_or(Path::new(".")).join(config.rootfs());
        let none = Policy::default();
        let (asked, decision) = self.policy.as_ref().unwrap_or(&none).explain(&config, &rootfs);
        let decision = decision
            .map(|decision| (decision.mode.word(), decision.rule))
            .map_err(|error| error.to_string());
        let asked = asked.into_iter().map(|one| (one.rule, one.obstacle)).collect();
        Ok(Answer { asked, decision })
    }
}

impl Answer {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (rule, obstacle) in &self.asked {
            let outcome =
                obstacle.as_ref().map_or_else(|| "decides".to_owned(), |it| format!("no: {it}"));
            let _ = writeln!(text, "{rule}: {outcome}");
        }
        let _ = match &self.decision {
            Ok((mode, rule)) => writeln!(text, "mode {mode} by rule {rule}"),
            Err(reason) => writeln!(text, "{reason}"),
        };
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let asked = |(rule, obstacle): &(String, Option<String>)| json!({"rule": rule, "obstacle": obstacle});
        let (mode, rule, reason) = match &self.decision {
            Ok((mode, rule)) => (*mode, json!(rule), Value::Null),
            Err(reason) => ("deny", Value::Null, json!(reason)),
        };
        let asked: Vec<_> = self.asked.iter().map(asked).collect();
        json!({"mode": mode, "rule": rule, "reason": reason, "asked": asked})
    }
}

/// Whether something is there, or may be.
pub(crate) fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

fn refused(directory: &Path, error: &PolicyError) -> NodeError {
    let path = match error {
        PolicyError::Untrusted { path, .. }
        | PolicyError::Read { path, .. }
        | PolicyError::Syntax { path, .. } => path,
        PolicyError::Denied { .. } => directory,
    };
    let reason = match (error, error.source()) {
        (PolicyError::Untrusted { reason, .. } | PolicyError::Syntax { reason, .. }, _) => {
            reason.clone()
        }
        (_, Some(cause)) => cause.to_string(),
        (_, None) => error.to_string(),
    };
    NodeError::refused(path, reason, "mend it: krun refuses every container until then")
}
