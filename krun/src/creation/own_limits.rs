//! The limits of a container that krun puts into its cgroups in libcontainer's place.
//!
//! What a limit needs and there is no cgroup for is refused, in runc's words.

use std::path::PathBuf;

use serde_json::Value;
use spec_compat::Config;

use super::CreateError;
use crate::container::limits::{self, Limits, Pids};

/// The parts of `linux.resources`, and what each needs. Rules about devices are left to the user's
/// permissions.
const NEEDS: [(&str, &str); 6] = [
    ("memory", "memory"),
    ("cpu", "cpu"),
    ("pids", "pids"),
    ("blockIO", "blkio"),
    ("hugepageLimits", "hugetlb"),
    ("network", "net_cls"),
];

/// Those of them that krun does not set for ordinary users.
const NOT_FOR_USERS: [&str; 2] = ["hugetlb", "net_cls"];

/// Sets the limits in those of the container's cgroups that it has.
pub(super) fn set(config: &Config, cgroups: &[PathBuf]) -> Result<(), CreateError> {
    demand_controllers(config, cgroups, &NOT_FOR_USERS)?;
    Ok(limits::change(cgroups, &of(config)?)?)
}

/// Sets all limits in cgroups of version 1 that krun made, but for the number of processes.
pub(super) fn set_first(config: &Config, cgroups: &[PathBuf]) -> Result<(), CreateError> {
    demand_controllers(config, cgroups, &[])?;
    let wanted = of(config)?;
    // systemd has set it already, and a cgroup that was there may have another's.
    let pids = Pids { limit: limits::given(wanted.pids.limit).map(|_| -1) };
    limits::change(cgroups, &Limits { pids, ..wanted })?;
    let resources = config.spec().linux().as_ref().and_then(|linux| linux.resources().as_ref());
    Ok(resources.map_or(Ok(()), |resources| limits::new_cgroup::set(cgroups, resources))?)
}

/// Sets the number of processes there may be.
pub(super) fn set_last(config: &Config, cgroups: &[PathBuf]) -> Result<(), CreateError> {
    Ok(limits::change(cgroups, &Limits { pids: of(config)?.pids, ..Limits::default() })?)
}

fn of(config: &Config) -> Result<Limits, CreateError> {
    let resources = &config.document()["linux"]["resources"];
    if resources.is_null() {
        return Ok(Limits::default());
    }
    serde_json::from_value(resources.clone()).map_err(CreateError::Limits)
}

/// Refuses a limit that has no cgroup, or one of these.
fn demand_controllers(
    config: &Config,
    cgroups: &[PathBuf],
    refused: &[&str],
) -> Result<(), CreateError> {
    let resources = &config.document()["linux"]["resources"];
    for (part, controller) in NEEDS {
        if !is_limit(&resources[part]) {
            continue;
        }
        let is_there = !refused.contains(&controller)
            && cgroups.iter().any(|path| has_controller(path, controller));
        if !is_there {
            return Err(CreateError::NoCgroupFor(controller));
        }
    }
    Ok(())
}

/// Whether the bundle asks for a limit, of those that need a cgroup.
pub(super) fn are_wanted(config: &Config) -> bool {
    let resources = &config.document()["linux"]["resources"];
    NEEDS.iter().any(|(part, _)| is_limit(&resources[part])) || is_limit(&resources["unified"])
}

/// Each controller has files of its own; the one that is a part of another's name is followed by a dot.
fn has_controller(cgroup: &PathBuf, controller: &str) -> bool {
    let entries = std::fs::read_dir(cgroup).into_iter().flatten().flatten();
    let prefix = format!("{controller}.");
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
}

/// Whether there is anything but what stands for no limit.
fn is_limit(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => all.iter().any(is_limit),
        Value::Object(members) => members.values().any(is_limit),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use spec_compat::Config;

    use super::{are_wanted, set};

    fn config(resources: &serde_json::Value) -> Config {
        let document = json!({
            "ociVersion": "1.0.2", "root": {"path": "fs"},
            "process": {"args": ["a"], "cwd": "/"}, "linux": {"resources": resources},
        });
        Config::parse(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_limit_needs_its_cgroup() {
        let pids = tempfile::tempdir().unwrap();
        fs::write(pids.path().join("pids.max"), "max").unwrap();
        let cgroups = [pids.path().to_owned()];

        set(&config(&json!({"pids": {"limit": 7}})), &cgroups).unwrap();
        let refused = set(&config(&json!({"memory": {"limit": 4096}})), &cgroups).unwrap_err();
        fs::write(pids.path().join("hugetlb.2MB.limit_in_bytes"), "").unwrap();
        let pages = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]});

        assert!(set(&config(&pages), &cgroups).unwrap_err().to_string().contains("hugetlb"));
        assert_eq!(fs::read_to_string(pids.path().join("pids.max")).unwrap(), "7");
        assert_eq!(
            refused.to_string(),
            "cannot set memory limit: container could not join or create cgroup"
        );
    }

    #[test]
    fn what_is_no_limit_needs_none() {
        let nothing = json!({
            "devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 0}, "cpu": {},
        });

        set(&config(&nothing), &[]).unwrap();
        assert!(!are_wanted(&config(&nothing)));
        assert!(are_wanted(&config(&json!({"unified": {"memory.high": "7"}}))));
    }
}
