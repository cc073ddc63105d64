//! What krun goes by on this node: its settings and its policy. A mistake in either makes no container.

use std::error::Error;
use std::iter;
use std::path::{Path, PathBuf};

use krun_config::{DIRECTORY, Flags, Settings};
use krun_policy::Policy;

use super::{Finding, Status};
use crate::files::Root;
use crate::policy::{POLICIES, is_there};

pub(super) fn check(root: &Root) -> Vec<Finding> {
    // An engine's variables are not ours: of files only.
    let directory = root.shown(Path::new(DIRECTORY));
    let (settings, errors) = Settings::read(&directory, iter::empty(), &Flags::default());
    let mut all = vec![match errors.first() {
        None => Finding::ok("settings", format!("krun.toml and krun.d in {DIRECTORY} are valid")),
        Some(error) => {
            let why = format!("{}: krun makes no container", whole(error));
            Finding::new("settings", Status::Fail, why, "mend it; kontain config dump shows all")
        }
    }];
    all.push(policy(root, settings.policy_dir.as_deref()));
    all
}

fn policy(root: &Root, wished: Option<&Path>) -> Finding {
    let directory = wished.map_or_else(|| PathBuf::from(POLICIES), Path::to_owned);
    let shown = root.shown(&directory);
    // What is there and cannot be read is no absence: krun would say so.
    if wished.is_none() && !is_there(&shown) {
        return Finding::ok("policy", "none: everything runs in virtual machines");
    }
    match Policy::read(Some(&shown)) {
        Ok(_) => Finding::ok("policy", format!("{} is valid", directory.display())),
        Err(error) => {
            let why = format!("{}: krun refuses every container", whole(&error));
            Finding::new("policy", Status::Fail, why, "mend what the message names")
        }
    }
}

fn whole(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
