//! `krun policy test`: what the host's policy says of a `config.json`, and why.

use std::fmt::Write as _;
use std::path::Path;

use krun_policy::{Decision, Policy};

use super::VerbError;
use crate::cli::{Global, PolicyVerb};
use crate::creation;

pub(super) fn policy(global: &Global, verb: &PolicyVerb) -> Result<(), VerbError> {
    let PolicyVerb::Test { config: path } = verb;
    let policy = Policy::read(global.settings.policy_dir.as_deref())?;
    let config = creation::read_config(path).map_err(VerbError::PolicyTest)?;
    let rootfs = path.parent().unwrap_or(Path::new(".")).join(config.rootfs());
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
