//! Mounts in which files have other owners: `uidMappings` and `gidMappings` of a mount, `idmap` and `ridmap`.
//!
//! libcontainer refuses them. So it makes the mount without the mapping, and then the mount is
//! replaced by a copy that has it, since the kernel maps only what nobody can have seen yet. Hooks
//! and the program are to find the mount whole: it is replaced when all mounts are made and before the
//! root changes, which is where the hooks at `prestart` run. The order to do it is the first of them.

mod replace;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use spec_compat::Config;

use super::late_binds::LateBind;

pub(crate) use self::replace::{ReplaceError, carry_out};

/// Whether the mounts below get the mapping, too.
const OPTIONS: [(&str, bool); 2] = [("idmap", false), ("ridmap", true)];

/// Why a mapping cannot be had. runc's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MappingError {
    /// Only what is elsewhere, too, has owners that can be mapped.
    #[error("invalid mount {0}: id-mapped mounts are only supported for bind-mounts")]
    NotBound(PathBuf),
    /// One of the two is missing, and there is no user namespace to take it from.
    #[error("invalid mount {0}: id-mapped mounts must have both uid and gid mappings specified")]
    Incomplete(PathBuf),
    /// It takes the host's root.
    #[error("invalid mount {0}: id-mapped mounts are not supported for rootless containers")]
    Rootless(PathBuf),
}

/// What `krun run-hook` is to do with a container's mounts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MappingOrder {
    /// What is not mounted yet.
    pub(super) binds: Vec<LateBind>,
    pub(super) mounts: Vec<MappedMount>,
    pub(super) rootfs: PathBuf,
    /// The start gate.
    pub(crate) gate: PathBuf,
}

/// A mount that is to have a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MappedMount {
    source: String,
    destination: PathBuf,
    /// The content of `uid_map` and of `gid_map`; without them the container's user namespace counts.
    mappings: Option<[String; 2]>,
    whole_tree: bool,
    /// Where the bundle has further mounts, which lie on or in this one.
    later: Vec<PathBuf>,
}

/// What the bundle wants, in the order of the mounts.
pub(super) fn wanted(config: &Config, is_root: bool) -> Result<Vec<MappedMount>, MappingError> {
    let mounts: &[Value] = config.document()["mounts"].as_array().map_or(&[], Vec::as_slice);
    let mut found = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let later = mounts[index + 1..].iter().map(destination);
        let wanted = mapped(mount, config, is_root)?;
        found.extend(wanted.map(|wanted| MappedMount { later: later.collect(), ..wanted }));
    }
    Ok(found)
}

fn destination(mount: &Value) -> PathBuf {
    mount["destination"].as_str().unwrap_or_default().into()
}

fn mapped(
    mount: &Value,
    config: &Config,
    is_root: bool,
) -> Result<Option<MappedMount>, MappingError> {
    let options: Vec<_> =
        mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // The last one counts.
    let option =
        options.iter().rev().find_map(|word| OPTIONS.iter().find(|(name, _)| name == word));
    let maps = ["uidMappings", "gidMappings"].map(|name| table(&mount[name]));
    if option.is_none() && maps.iter().all(String::is_empty) {
        return Ok(None);
    }
    let destination = destination(mount);
    if mount["type"] != "bind" && !options.iter().any(|word| ["bind", "rbind"].contains(word)) {
        return Err(MappingError::NotBound(destination));
    }
    if !is_root {
        return Err(MappingError::Rootless(destination));
    }
    let mappings = match maps.each_ref().map(String::is_empty) {
        [false, false] => Some(maps),
        [true, true] if config.has_user_namespace() => None,
        _ => return Err(MappingError::Incomplete(destination)),
    };
    let whole_tree = option.is_some_and(|(_, whole_tree)| *whole_tree);
    let source = mount["source"].as_str().unwrap_or_default().to_owned();
    Ok(Some(MappedMount { source, destination, mappings, whole_tree, later: Vec::new() }))
}

/// Mappings as `/proc/<pid>/uid_map` takes them.
fn table(mappings: &Value) -> String {
    let line = |mapping: &Value| {
        let [inside, outside, size] =
            ["containerID", "hostID", "size"].map(|name| mapping[name].as_u64().unwrap_or(0));
        format!("{inside} {outside} {size}\n")
    };
    mappings.as_array().into_iter().flatten().map(line).collect()
}

/// Takes out of a mount what libcontainer would refuse.
pub(super) fn remove(mount: &mut Value) {
    let Some(members) = mount.as_object_mut() else { return };
    members.remove("uidMappings");
    members.remove("gidMappings");
    if let Some(options) = members.get_mut("options").and_then(Value::as_array_mut) {
        options.retain(|option| !OPTIONS.iter().any(|(name, _)| option == name));
    }
}

impl MappedMount {
    /// Whether another mount lies over all of this one.
    fn is_covered(&self) -> bool {
        self.later.iter().any(|later| self.destination.starts_with(later))
    }

    /// The further mounts that may lie in this one.
    fn within(&self) -> impl Iterator<Item = &Path> {
        self.later.iter().map(PathBuf::as_path).filter(|later| later.starts_with(&self.destination))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use spec_compat::Config;

    use super::{MappedMount, MappingError, remove, wanted};

    fn config(mount: &Value, namespaces: &Value) -> Config {
        let document = json!({
            "ociVersion": "1.2.0", "root": { "path": "rootfs" },
            "process": { "args": ["sh"], "cwd": "/" },
            "mounts": [mount, { "destination": "/a/tmp", "type": "tmpfs" }],
            "linux": { "namespaces": namespaces },
        });
        Config::parse(document.to_string().as_bytes()).expect("it is valid")
    }

    fn mount(options: &[&str]) -> Value {
        json!({ "destination": "/a", "source": "/b", "options": options })
    }

    fn with_mappings(options: &[&str]) -> Value {
        let mut mount = mount(options);
        mount["uidMappings"] = json!([
            { "containerID": 0, "hostID": 1000, "size": 1 },
            { "containerID": 1, "hostID": 5000, "size": 9 },
        ]);
        mount["gidMappings"] = json!([{ "containerID": 0, "hostID": 2000, "size": 10 }]);
        mount
    }

    #[test]
    fn mappings_come_from_the_mount_or_the_containers_user_namespace() {
        let tables = || Some(["0 1000 1\n1 5000 9\n".to_owned(), "0 2000 10\n".to_owned()]);
        for (mount, mappings, whole_tree) in [
            (with_mappings(&["bind"]), tables(), false),
            (with_mappings(&["rbind", "idmap"]), tables(), false),
            (with_mappings(&["rbind", "ridmap"]), tables(), true),
            (mount(&["rbind", "idmap"]), None, false),
            (mount(&["bind", "idmap", "ridmap"]), None, true),
        ] {
            let found = wanted(&config(&mount, &json!([{ "type": "user" }])), true).unwrap();

            let [source, destination] = ["/b", "/a"].map(str::to_owned);
            let destination = destination.into();
            let later = vec!["/a/tmp".into()];
            let expected = MappedMount { source, destination, mappings, whole_tree, later };
            assert_eq!(found, [expected], "{mount}");
        }
        assert_eq!(wanted(&config(&mount(&["bind"]), &json!([])), true), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_mapped_is_refused_in_the_words_of_runc() {
        let a = || "/a".into();
        let mut half = with_mappings(&["bind"]);
        half["gidMappings"] = json!([]);
        for (mount, is_root, expected) in [
            (with_mappings(&["idmap"]), true, MappingError::NotBound(a())),
            (with_mappings(&["bind"]), false, MappingError::Rootless(a())),
            (half, true, MappingError::Incomplete(a())),
            (mount(&["bind", "idmap"]), true, MappingError::Incomplete(a())),
        ] {
            assert_eq!(wanted(&config(&mount, &json!([])), is_root), Err(expected), "{mount}");
        }
    }

    #[test]
    fn libcontainer_sees_an_ordinary_mount() {
        let mut mapped = with_mappings(&["rbind", "ridmap", "ro", "idmap"]);

        remove(&mut mapped);

        assert_eq!(mapped, mount(&["rbind", "ro"]));
    }
}
