//! `kontain check`: what krun needs of a node, and whether it is there. Each finding says why, and what helps.

mod bench;
mod bounded;
mod engines;
mod host;
mod kkm;
mod rules;
mod running;
pub(crate) mod smoke;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use self::bounded::Limits;
pub(crate) use self::host::KRUN;
use crate::files::Root;

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// krun works, but not as well, or not as somebody may think.
    Warn,
    /// krun does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name, for programs.
    pub id: String,
    /// How well it is.
    pub status: Status,
    /// What was found, and what that means.
    pub why: String,
    /// What helps; empty if all is well.
    pub fix: String,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nanoseconds: Option<u64>,
}

impl Finding {
    fn new(id: &str, status: Status, why: impl Into<String>, fix: &str) -> Self {
        let (id, why, fix) = (id.to_owned(), why.into(), fix.to_owned());
        Self { id, status, why, fix, nanoseconds: None }
    }

    fn ok(id: &str, why: impl Into<String>) -> Self {
        Self::new(id, Status::Ok, why, "")
    }
}

/// Looks at what makes virtual machines.
pub(crate) fn machine(root: &Root, krun: &Path) -> Vec<Finding> {
    host::check(root, krun)
}

/// Looks at everything, without running anything.
pub fn check(root: &Root, krun: &Path) -> Vec<Finding> {
    let mut all = machine(root, krun);
    all.extend(rules::check(root));
    all.extend(engines::check(root));
    all
}

/// For people.
pub(crate) fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let word = match finding.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let Finding { id, why, fix, .. } = finding;
        let fix = if fix.is_empty() { String::new() } else { format!("\n{:18}-> {fix}", "") };
        format!("{word} {id:12} {why}{fix}\n")
    };
    findings.iter().map(line).collect::<Vec<_>>().concat()
}
