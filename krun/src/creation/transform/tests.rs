//! The transformation, point by point.

use std::path::Path;

use serde_json::{Value, json};
use spec_compat::Config;

use super::{Deeds, Inputs, Namespaces, for_libcontainer, leave_room_for_monitor};
use crate::container::devices;

/// A minimal document with `changes` put at the top, transformed.
fn transformed(changes: &Value) -> Value {
    let mut document = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": { "args": ["sh"], "cwd": "/" },
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    let config = Config::parse(document.to_string().as_bytes()).unwrap();
    for_libcontainer(&Inputs {
        config: &config,
        bundle: Path::new("/bundle"),
        rootfs: Path::new("/bundle/rootfs"),
        cgroup: Path::new("/web"),
        devices: Some(&devices::decide(&config).unwrap()),
        has_limits: false,
        own_path: Path::new("/opt/krun"),
        gate: Path::new("/run/krun/web/exec.fifo"),
        hook_home: None,
        deeds: Deeds::default(),
        late: &[],
        mapped: &[],
        namespaces: &Namespaces::default(),
    })
}

#[test]
fn namespaces_that_are_there_are_not_asked_for() {
    let namespaces = json!({
        "linux": {
            "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "pid" }],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }],
        },
    });
    let ready = vec![("mount", "/proc/self/fd/9".to_owned())];
    let inside = Namespaces { has_user: true, ready };
    let mut document = namespaces.clone();

    inside.put_into(&mut document["linux"]);

    let expected = json!([{ "type": "mount", "path": "/proc/self/fd/9" }, { "type": "pid" }]);
    assert_eq!(document["linux"], json!({ "namespaces": expected }));
}

#[test]
fn a_file_system_needs_no_source() {
    let document = transformed(&json!({ "mounts": [{ "destination": "/proc", "type": "proc" }] }));

    assert_eq!(document["mounts"][0]["source"], "none");
}

#[test]
fn limits_that_count_the_monitors_memory_leave_room_for_it() {
    let mut process = json!({ "rlimits": [
        { "type": "RLIMIT_AS", "soft": 1 << 30, "hard": 2_u64 << 30 },
        { "type": "RLIMIT_NOFILE", "soft": 7, "hard": 8 },
        { "type": "RLIMIT_DATA", "soft": 5, "hard": u64::MAX },
    ]});

    leave_room_for_monitor(&mut process);

    let share = 1_u64 << 40;
    let expected = json!([
        { "type": "RLIMIT_AS", "soft": share + (1 << 30), "hard": share + (2_u64 << 30) },
        { "type": "RLIMIT_NOFILE", "soft": 7, "hard": 8 },
        { "type": "RLIMIT_DATA", "soft": share + 5, "hard": u64::MAX },
    ]);
    assert_eq!(process["rlimits"], expected);
}

#[test]
fn paths_and_the_cgroup_are_filled_in() {
    let document = transformed(&json!({
        "mounts": [
            { "destination": "/data", "source": "data", "options": ["rbind"] },
            { "destination": "/proc", "source": "proc", "type": "proc" },
        ],
    }));

    assert_eq!(document["root"]["path"], "/bundle/rootfs");
    assert_eq!(document["linux"]["cgroupsPath"], "/web");
    assert_eq!(document["mounts"][0]["source"], "/bundle/data");
    assert_eq!(document["mounts"][1]["source"], "proc");
    assert_eq!(document["process"]["env"], json!(["HOME=/"]));
    assert_eq!(document["process"]["user"]["umask"], 0o022);
}

#[test]
fn without_rules_for_devices_everything_is_denied_but_what_every_container_has() {
    let document = transformed(&json!({ "linux": { "resources": { "pids": { "limit": 9 } } } }));

    let resources = &document["linux"]["resources"];
    assert_eq!(resources["pids"]["limit"], 9);
    let rules = resources["devices"].as_array().unwrap();
    assert_eq!(rules[0], json!({ "allow": false, "type": "a", "access": "rwm" }));
    let null = json!({ "allow": true, "type": "c", "access": "rwm", "major": 1, "minor": 3 });
    assert!(rules.contains(&null), "{rules:?}");
}

#[test]
fn the_seccomp_profile_does_not_reach_the_monitor() {
    let document = transformed(&json!({
        "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ERRNO" } },
    }));

    assert_eq!(document["linux"].get("seccomp"), None);
}

#[test]
fn every_propagation_of_the_specification_is_put_into_libcontainers_words() {
    for (given, expected) in [
        ("rprivate", Some("private")),
        ("slave", Some("slave")),
        ("rslave", Some("slave")),
        ("", None),
    ] {
        let document = transformed(&json!({ "linux": { "rootfsPropagation": given } }));

        let found = document["linux"].get("rootfsPropagation").and_then(Value::as_str);
        assert_eq!(found, expected, "{given}");
    }
}

#[test]
fn a_new_namespace_may_have_an_empty_path() {
    let document =
        transformed(&json!({ "linux": { "namespaces": [{ "type": "pid", "path": "" }] } }));

    assert_eq!(document["linux"]["namespaces"], json!([{ "type": "pid" }]));
}

#[test]
fn hooks_are_stood_in_for_or_kept_back() {
    let document = transformed(&json!({
        "hooks": {
            "createRuntime": [{ "path": "/bin/true", "timeout": 3 }],
            "poststop": [{ "path": "/bin/true" }],
        },
    }));

    let hooks = document["hooks"].as_object().unwrap();
    assert_eq!(hooks.keys().collect::<Vec<_>>(), ["createRuntime"]);
    let stand_in = &hooks["createRuntime"][0];
    assert_eq!(stand_in["path"], "/opt/krun");
    assert_eq!(stand_in.get("timeout"), None);
    assert!(stand_in["args"][2].as_str().unwrap().contains("\"bundle\":\"/bundle\""));
    assert_eq!(transformed(&json!({})).get("hooks"), None);
}
