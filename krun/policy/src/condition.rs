//! The conditions of a rule. All that are given must hold; none given hold always.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::facts::{Facts, Sharing};

/// One text or several, with `*` for any letters and `?` for one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Patterns {
    fn list(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    fn match_any(&self, text: &str) -> bool {
        self.list().iter().any(|pattern| WildMatch::new(pattern).matches(text))
    }
}

/// `[rule.match]`, as it is written there.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// One of these is the slice, or the directory, that the engine put the container's cgroup in.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_parent: Option<Patterns>,
    /// The program and all its arguments, one pattern each.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    /// The program's name as it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    args0: Option<Patterns>,
    /// One of these is the hash of the program, which must be a static one.
    #[serde(skip_serializing_if = "Option::is_none")]
    program_sha256: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Sharing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<Sharing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipc: Option<Sharing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uts: Option<Sharing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Sharing>,
    /// For each of these there is a bind mount of such a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    binds: Option<Patterns>,
    /// Each bind mount's source is one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    binds_within: Option<Patterns>,
    /// There are no other capabilities than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities_within: Option<Vec<String>>,
    /// As by `--privileged`: `CAP_SYS_ADMIN`, and no seccomp profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    privileged: Option<bool>,
    /// All of these are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, Patterns>>,
}

impl Condition {
    /// Whether an image could fulfil all of it by itself: by its program's name or by annotations,
    /// which engines take over from images and from pods, while the rest is as in any container.
    pub(super) fn can_be_forged(&self) -> bool {
        let says = self.args.is_some() || self.args0.is_some() || self.annotations.is_some();
        let namespaces = [self.network, self.pid, self.ipc, self.uts, self.user];
        let is_told_apart = self.cgroup_parent.is_some()
            || self.program_sha256.is_some()
            || namespaces.contains(&Some(Sharing::Joined))
            // A user namespace of its own is the exception.
            || namespaces[..4].contains(&Some(Sharing::Host))
            || self.user == Some(Sharing::Own)
            || self.binds.as_ref().is_some_and(|binds| !binds.list().is_empty())
            || self.privileged == Some(true);
        says && !is_told_apart
    }

    /// The programs that are asked for by their hash; none if any program will do.
    pub(super) fn programs(&self) -> Option<&[String]> {
        self.program_sha256.as_deref()
    }

    /// Adds programs to those that are asked for by their hash, if any are.
    pub(super) fn allow_programs(&mut self, hashes: &[String]) {
        if let Some(wanted) = &mut self.program_sha256 {
            wanted.extend_from_slice(hashes);
        }
    }

    /// What is not as it should be; none if all holds.
    pub(super) fn obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        self.cgroup_obstacle(facts)
            .or_else(|| self.namespace_obstacle(facts))
            .or_else(|| self.bind_obstacle(facts))
            .or_else(|| self.rights_obstacle(facts))
            .or_else(|| self.annotation_obstacle(facts))
            // What costs the most is asked last.
            .or_else(|| self.program_obstacle(facts))
    }

    fn cgroup_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        let wanted = self.cgroup_parent.as_ref()?;
        let parent = &facts.cgroup_parent;
        (!wanted.match_any(parent)).then(|| format!("cgroup_parent is {parent:?}"))
    }

    fn namespace_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        let wanted = [
            ("network", self.network),
            ("pid", self.pid),
            ("ipc", self.ipc),
            ("uts", self.uts),
            ("user", self.user),
        ];
        wanted.into_iter().find_map(|(name, wanted)| {
            let found = facts.sharing(name);
            let word = match found {
                Sharing::Host => "host",
                Sharing::Own => "own",
                Sharing::Joined => "joined",
            };
            (wanted? != found).then(|| format!("{name} is {word:?}"))
        })
    }

    fn bind_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        let wanted = self.binds.as_ref().map(Patterns::list).unwrap_or_default();
        let missing = wanted.iter().find(|pattern| {
            let pattern = WildMatch::new(pattern);
            !facts.binds.iter().any(|source| pattern.matches(source))
        });
        if let Some(missing) = missing {
            return Some(format!("binds: nothing is mounted from {missing:?}"));
        }
        let within = self.binds_within.as_ref()?;
        let other = facts.binds.iter().find(|source| !within.match_any(source))?;
        Some(format!("binds_within: {other:?} is mounted"))
    }

    fn rights_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        if self.privileged.is_some_and(|wanted| wanted != facts.is_privileged()) {
            return Some(format!("privileged is {}", facts.is_privileged()));
        }
        let within = self.capabilities_within.as_ref()?;
        let other = facts.capabilities.iter().find(|one| !within.contains(*one))?;
        Some(format!("capabilities_within: there is {other}"))
    }

    fn annotation_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        self.annotations.iter().flatten().find_map(|(name, wanted)| {
            match facts.annotations.get(name) {
                Some(value) if wanted.match_any(value) => None,
                Some(value) => Some(format!("annotations: {name} is {value:?}")),
                None => Some(format!("annotations: there is no {name}")),
            }
        })
    }

    fn program_obstacle(&self, facts: &Facts<'_>) -> Option<String> {
        let arguments = facts.arguments;
        if let Some(wanted) = &self.args {
            let same = wanted.len() == arguments.len()
                && wanted
                    .iter()
                    .zip(arguments)
                    .all(|(one, other)| WildMatch::new(one).matches(other));
            if !same {
                return Some(format!("args is {arguments:?}"));
            }
        }
        let name = arguments.first().map_or("", String::as_str);
        if self.args0.as_ref().is_some_and(|wanted| !wanted.match_any(name)) {
            return Some(format!("args0 is {name:?}"));
        }
        let wanted = self.program_sha256.as_ref()?;
        match facts.program_hash() {
            Ok(hash) if wanted.iter().any(|one| one.eq_ignore_ascii_case(&hash)) => None,
            Ok(hash) => Some(format!("program_sha256 is {hash:?}")),
            Err(reason) => Some(format!("program_sha256: {reason}")),
        }
    }
}
