//! What is known of a container before it is made: from its `config.json`, as the engine wrote it,
//! and, for a program's hash, from its root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use spec_compat::Config;

use super::program;

/// A capability that a container has by none of the engines' defaults, but by `--privileged`.
const TELLING: &str = "CAP_SYS_ADMIN";

/// How a container has a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sharing {
    /// The one krun is called in.
    Host,
    /// A new one.
    Own,
    /// One that it joins by path.
    Joined,
}

/// What conditions ask.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    config: &'a Config,
    pub(super) rootfs: &'a Path,
    /// The slice, or the directory above the container's own.
    pub(super) cgroup_parent: String,
    pub(super) arguments: &'a [String],
    /// The sources of all bind mounts.
    pub(super) binds: Vec<String>,
    /// The bounding set.
    pub(super) capabilities: BTreeSet<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(config: &'a Config, rootfs: &'a Path) -> Self {
        let document = config.document();
        let texts = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let annotations = document["annotations"].as_object().into_iter().flatten();
        Self {
            config,
            rootfs,
            cgroup_parent: parent(document["linux"]["cgroupsPath"].as_str().unwrap_or_default()),
            arguments: config.arguments(),
            binds: binds(document),
            capabilities: texts(&document["process"]["capabilities"]["bounding"])
                .into_iter()
                .collect(),
            annotations: annotations
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }

    /// How it has the namespace that `config.json` calls `kind`.
    pub(super) fn sharing(&self, kind: &str) -> Sharing {
        let list = self.config.document()["linux"]["namespaces"].as_array().into_iter().flatten();
        let found = list.into_iter().find(|namespace| namespace["type"] == kind);
        match found.map(|namespace| namespace["path"].as_str().unwrap_or_default()) {
            None => Sharing::Host,
            Some("") => Sharing::Own,
            // dockerd names the host's network by a path of its own.
            Some(path) if is_hosts(kind, path) => Sharing::Host,
            Some(_) => Sharing::Joined,
        }
    }

    /// Whether an engine's `--privileged` made it.
    pub(super) fn is_privileged(&self) -> bool {
        self.capabilities.contains(TELLING) && self.config.seccomp_profile().is_none()
    }

    /// The SHA-256 of the program, in hexadecimal, or why it says nothing.
    pub(super) fn program_hash(&self) -> Result<String, String> {
        program::hash(self.rootfs, self.arguments.first().map_or("", String::as_str))
    }
}

/// Whether the path leads to the namespace that krun itself is in.
fn is_hosts(kind: &str, path: &str) -> bool {
    let own = if kind == "network" { "net" } else { kind };
    let identity = |path: &str| fs::metadata(path).map(|status| (status.dev(), status.ino())).ok();
    let found = identity(path);
    found.is_some() && found == identity(&format!("/proc/self/ns/{own}"))
}

/// `slice:prefix:name`, or a path.
fn parent(cgroup: &str) -> String {
    match cgroup.split_once(':') {
        Some((slice, _)) if !slice.contains('/') => slice.to_owned(),
        _ => match cgroup.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((parent, _)) => parent.to_owned(),
            None => String::new(),
        },
    }
}

fn binds(document: &Value) -> Vec<String> {
    let mounts = document["mounts"].as_array().into_iter().flatten();
    let is_bind = |mount: &&Value| {
        let options = mount["options"].as_array().into_iter().flatten();
        mount["type"] == "bind"
            || options.into_iter().any(|option| option == "bind" || option == "rbind")
    };
    let sources = mounts.filter(is_bind).filter_map(|mount| mount["source"].as_str());
    sources.map(plain).collect()
}

/// Without `.`, `..` and doubled slashes.
fn plain(path: &str) -> String {
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::RootDir | Component::Normal(_) | Component::Prefix(_) => {
                plain.push(component);
            }
        }
    }
    plain.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{parent, plain};

    #[test]
    fn a_source_is_what_it_leads_to() {
        for (path, expected) in
            [("/a/../b", "/b"), ("/a//b/./c/", "/a/b/c"), ("/../a", "/a"), ("a", "a"), ("/", "/")]
        {
            assert_eq!(plain(path), expected, "{path}");
        }
    }

    #[test]
    fn a_cgroups_parent_is_its_slice_or_directory() {
        for (path, expected) in [
            ("ecstasks-7.slice:docker:abc", "ecstasks-7.slice"),
            ("/docker/abc", "/docker"),
            ("/ecs/7/abc", "/ecs/7"),
            ("/abc", "/"),
            ("docker/abc", "docker"),
            ("/a/b:c:d", "/a"),
            ("abc", ""),
            ("", ""),
        ] {
            assert_eq!(parent(path), expected, "{path}");
        }
    }
}
