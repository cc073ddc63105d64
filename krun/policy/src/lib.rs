//! The host's policy: whether a container runs in virtual machines, natively, or not at all.
//!
//! `/etc/kontain/policy.d/*.toml`, in the order of their names, hold rules; the first one whose
//! conditions all hold decides. Without one, everything is a virtual machine. An image decides
//! nothing: rules that only ask what an image can forge are refused when they would weaken.
#![forbid(unsafe_code)]

mod condition;
mod facts;
mod file;
mod preset;
mod program;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec_compat::Config;

pub use self::condition::Condition;
use self::facts::Facts;
pub use self::file::PolicyError;
use self::file::{Rule, Verdict};
pub use self::program::hash;

/// Where the rules are, unless `--policy-dir` says otherwise.
const DIRECTORY: &str = "/etc/kontain/policy.d";

/// The name of krun's binary that Kontain's users configured their engines with: a container is a
/// virtual machine only if something asks for it.
const LABEL_TRIGGER: &str = "krun-label-trigger";
/// The annotation that asks, and the file of an image that does.
const ANNOTATION: &str = "app.kontain.version";
const FILE_IN_IMAGE: &str = ".kontain";

/// How a container's programs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each process in a virtual machine.
    #[default]
    Vm,
    /// As runc would run them.
    Native,
}

impl Mode {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Native => "native",
        }
    }
}

/// What was decided for a container, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How it runs.
    pub mode: Mode,
    /// The rule's name.
    pub rule: String,
    /// The hashes of which the program must have one; none if any program will do.
    pub programs: Option<Vec<String>>,
}

/// A rule as it stands.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Listed<'a> {
    /// Its name.
    pub id: &'a str,
    /// `vm`, `native` or `deny`.
    pub mode: &'static str,
    /// Its file, and the preset that it is of, if it is.
    pub source: &'a str,
    /// What a denied caller is told.
    pub reason: Option<&'a str>,
    /// What must hold; without any, every container.
    #[serde(rename = "match")]
    pub condition: &'a Condition,
}

/// The rules of a host.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// One rule, as it was asked.
#[derive(Debug)]
pub struct Asked {
    /// `id (file)`.
    pub rule: String,
    /// The first condition that does not hold; none if the rule decides.
    pub obstacle: Option<String>,
}

impl Policy {
    /// Reads the rules in `directory`, or in the host's usual one, which need not be there.
    pub fn read(directory: Option<&Path>) -> Result<Self, PolicyError> {
        let usual = Path::new(DIRECTORY);
        Ok(Self { rules: file::read_all(directory.unwrap_or(usual), directory.is_some())? })
    }

    /// The rules that one file holds, as if it were the only one.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        Ok(Self { rules: file::parse(text, path)? })
    }

    /// The rules in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = Listed<'_>> {
        self.rules.iter().map(Rule::listed)
    }

    /// Decides about a container whose root file system is at `rootfs`.
    pub fn decide(&self, config: &Config, rootfs: &Path) -> Result<Decision, PolicyError> {
        self.explain(config, rootfs).1
    }

    /// The same, with all that was asked on the way.
    pub fn explain(
        &self,
        config: &Config,
        rootfs: &Path,
    ) -> (Vec<Asked>, Result<Decision, PolicyError>) {
        let facts = Facts::of(config, rootfs);
        let mut asked = Vec::new();
        for rule in &self.rules {
            let obstacle = rule.condition.obstacle(&facts);
            let holds = obstacle.is_none();
            asked.push(Asked { rule: rule.shown(), obstacle });
            if holds {
                let mode = match rule.verdict {
                    Verdict::Vm => Mode::Vm,
                    Verdict::Native => Mode::Native,
                    Verdict::Deny => return (asked, Err(denied(rule))),
                };
                let programs = rule.condition.programs().map(<[String]>::to_vec);
                return (asked, Ok(Decision { mode, rule: rule.id.clone(), programs }));
            }
        }
        let mode = without_rules(&facts, is_label_trigger(std::env::args_os().next()));
        (asked, Ok(mode))
    }
}

fn denied(rule: &Rule) -> PolicyError {
    let reason = rule.reason.clone().unwrap_or_else(|| "the host does not run it".to_owned());
    PolicyError::Denied { rule: rule.shown(), reason }
}

fn is_label_trigger(name: Option<std::ffi::OsString>) -> bool {
    name.is_some_and(|name| {
        PathBuf::from(name).file_name().is_some_and(|name| name == LABEL_TRIGGER)
    })
}

/// What happens where no rule decides.
fn without_rules(facts: &Facts<'_>, label_trigger: bool) -> Decision {
    let decision = |mode, rule: &str| Decision { mode, rule: rule.to_owned(), programs: None };
    if !label_trigger {
        return decision(Mode::Vm, "default");
    }
    // The image's wish can only strengthen.
    let in_image = facts.rootfs.join(FILE_IN_IMAGE).symlink_metadata();
    let is_absent = in_image.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let asks = facts.annotations.contains_key(ANNOTATION) || !is_absent;
    decision(if asks { Mode::Vm } else { Mode::Native }, LABEL_TRIGGER)
}

#[cfg(test)]
mod tests;
