//! Each check with a document that fails it, and the whole with one that passes.

use serde_json::{Value, json};

use crate::{Config, ConfigError, LAST_ID};

fn good() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": { "args": ["sh"], "cwd": "/", "env": ["PATH=/bin"] },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
    })
}

/// The good document with the value at `pointer` replaced, or removed where it is null.
fn with(pointer: &str, value: Value) -> Result<Config, ConfigError> {
    let mut document = good();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = document.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    members.insert(name.into(), value);
    Config::parse(document.to_string().as_bytes())
}

#[test]
fn a_good_document_passes() {
    let config = Config::parse(good().to_string().as_bytes()).unwrap();

    assert_eq!(config.arguments(), ["sh"]);
    assert_eq!(config.environment(), ["PATH=/bin"]);
    assert!(!config.wants_terminal());
    assert!(config.warnings().is_empty());
}

/// Where a value is put, the value, and what is said about it.
const BAD_VALUES: &[(&str, &str, &str)] = &[
    (
        "/ociVersion",
        r#""2.0.0""#,
        r#"ociVersion: found "2.0.0", expected a version of the form 1.x.y"#,
    ),
    ("/ociVersion", "1", "ociVersion: found 1, expected a version of the form 1.x.y"),
    ("/root/path", r#""""#, r#"root.path: found "", expected the path of the root file system"#),
    (
        "/process/args",
        "[]",
        "process.args: found an empty list, expected a list with the program and its arguments",
    ),
    ("/process/args", r#""sh""#, r#"process.args: found "sh", expected a list"#),
    (
        "/process/args",
        r#"["sh", 1]"#,
        "process.args[1]: found 1, expected text without a zero byte",
    ),
    (
        "/process/args",
        r#"["a\u0000b"]"#,
        r#"process.args[0]: found "a\u0000b", expected text without a zero byte"#,
    ),
    ("/process/cwd", r#""tmp""#, r#"process.cwd: found "tmp", expected an absolute path"#),
    ("/process/env", r#"["PATH"]"#, r#"process.env[0]: found "PATH", expected NAME=value"#),
    ("/process/env", r#"["=x"]"#, r#"process.env[0]: found "=x", expected NAME=value"#),
    (
        "/process/capabilities",
        r#"{ "bounding": [0] }"#,
        "process.capabilities.bounding[0]: found 0, expected a capability such as CAP_CHOWN",
    ),
    (
        "/process/consoleSize",
        r#"{"height": 10, "width": 65536}"#,
        "process.consoleSize.width: found 65536, expected a number of characters from 0 to 65535",
    ),
    (
        "/process/rlimits",
        r#"[{ "type": "NOFILE", "soft": 1, "hard": 1 }]"#,
        r#"process.rlimits[0].type: found "NOFILE", expected a resource limit such as RLIMIT_NOFILE"#,
    ),
    ("/mounts", "[{}]", "mounts[0].destination: found nothing, expected a path in the container"),
    (
        "/mounts",
        r#"[{ "destination": "/a", "type": "bind", "source": "/b", "options": ["ro"] }]"#,
        r#"mounts[0].type: found "bind", expected the option bind or rbind with it"#,
    ),
    (
        "/process/rlimits",
        r#"[{ "type": "RLIMIT_NOFILE", "soft": 2, "hard": 1 }]"#,
        "process.rlimits[0].soft: found 2, expected no more than hard",
    ),
    ("/process/user", "[1]", "process.user: found a list, expected an object"),
    (
        "/linux/resources",
        r#"{"pids": [1]}"#,
        "linux.resources.pids: found a list, expected an object",
    ),
    (
        "/linux/seccomp",
        r#"{"syscalls": [["a"]]}"#,
        "linux.seccomp.syscalls[0]: found a list, expected an object",
    ),
    (
        "/linux/seccomp",
        r#"{"syscalls": [{"names": [""]}]}"#,
        r#"linux.seccomp.syscalls[0].names[0]: found "", expected the name of a system call"#,
    ),
    (
        "/linux/devices",
        r#"[{"path": "/dev/x", "major": -1}]"#,
        "linux.devices[0].major: found -1, expected a device number",
    ),
    (
        "/mounts",
        r#"[{"destination": "/a", "options": ["bind"]}]"#,
        "mounts[0].source: found nothing, expected the path of what is bound",
    ),
    (
        "/mounts",
        r#"[{"destination": "/a", "type": "a\u0000b"}]"#,
        r#"mounts[0].type: found "a\u0000b", expected text without a zero byte"#,
    ),
    (
        "/hooks",
        r#"{ "prestart": [{ "path": "/true", "env": ["a\u0000"] }] }"#,
        r#"hooks.prestart[0].env[0]: found "a\u0000", expected text without a zero byte"#,
    ),
    (
        "/linux/namespaces",
        r#"[{ "type": "net" }]"#,
        r#"linux.namespaces[0].type: found "net", expected one of cgroup, ipc, mount, network, pid, time, user, uts"#,
    ),
    (
        "/linux/namespaces",
        r#"[{ "type": "pid" }, { "type": "pid" }]"#,
        r#"linux.namespaces[1].type: found "pid", expected each namespace once"#,
    ),
    (
        "/linux/resources",
        r#"{"devices": [{"type": "u", "access": "rwm"}]}"#,
        r#"linux.resources.devices[0].type: found "u", expected one of a, b, c"#,
    ),
    (
        "/linux/resources",
        r#"{"devices": [{"access": "r"}, {"allow": true}]}"#,
        "linux.resources.devices[1].access: found nothing, expected some of r, w, m",
    ),
    (
        "/linux/resources",
        r#"{"devices": [{"access": "x"}]}"#,
        r#"linux.resources.devices[0].access: found "x", expected some of r, w, m"#,
    ),
    (
        "/linux/resources",
        r#"{"devices": [{"access": "r", "major": -1, "minor": -2}]}"#,
        "linux.resources.devices[0].minor: found -2, expected a device number, or -1 for all",
    ),
    (
        "/linux/rootfsPropagation",
        r#""public""#,
        r#"linux.rootfsPropagation: found "public", expected one of shared, slave, private, unbindable, or these with r in front"#,
    ),
    (
        "/hooks",
        r#"{ "poststop": [{ "path": "true" }] }"#,
        r#"hooks.poststop[0].path: found "true", expected an absolute path"#,
    ),
    (
        "/hooks",
        r#"{ "prestart": [{ "path": "/true", "timeout": 0 }] }"#,
        "hooks.prestart[0].timeout: found 0, expected a number of seconds above 0",
    ),
];

#[test]
fn every_check_names_the_field_the_value_and_the_expectation() {
    for (pointer, value, expected) in BAD_VALUES {
        let error = with(pointer, serde_json::from_str(value).unwrap()).unwrap_err();

        assert_eq!(error.to_string(), *expected);
    }
}

#[test]
fn users_and_groups_are_numbers_that_setresuid_takes_for_ones() {
    const EXPECTED: &str = "expected another number: uids and gids must be in range 0-2147483647";
    for id in ["2147483648", "4294967294", "4294967295", "4294967296", "-1", "1.5"] {
        for (field, user) in [
            ("uid", format!(r#"{{"uid": {id}, "gid": 0}}"#)),
            ("gid", format!(r#"{{"uid": 0, "gid": {id}}}"#)),
            (
                "additionalGids[1]",
                format!(r#"{{"uid": 0, "gid": 0, "additionalGids": [5, {id}]}}"#),
            ),
        ] {
            let error = with("/process/user", serde_json::from_str(&user).unwrap()).unwrap_err();

            let expected = format!("process.user.{field}: found {id}, {EXPECTED}");
            assert_eq!(error.to_string(), expected);
        }
    }
    let last = json!({"uid": LAST_ID, "gid": LAST_ID, "additionalGids": [LAST_ID, 0]});
    let config = with("/process/user", last).unwrap();
    assert_eq!(config.process().user().uid(), LAST_ID);
}

#[test]
fn a_value_of_the_wrong_type_in_an_unchecked_field_is_named_too() {
    let error = with("/hostname", json!(["a"])).unwrap_err();

    assert_eq!(error.to_string(), "hostname: found sequence, expected a string");
}

#[test]
fn bytes_that_are_no_json_are_refused_with_line_and_column() {
    let error = Config::parse(b"{\n  \"ociVersion\": }").unwrap_err();

    assert_eq!(error.to_string(), "not valid JSON: expected value at line 2 column 17");
}

#[test]
fn no_document_makes_the_reader_panic() {
    for text in [
        "",
        "null",
        "[]",
        "1",
        "{}",
        "{\"process\":1,\"linux\":[],\"hooks\":\"\"}",
        "{\"root\":{\"path\":{}}}",
    ] {
        assert!(Config::parse(text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(Config::parse(deep.as_bytes()).is_err());
}

/// The specification: a property that is not known must be ignored.
#[test]
fn what_the_specification_does_not_know_may_be_anything() {
    let lists = json!({ "grid": [[1, 2], [3, 4]] });
    for pointer in [
        "/x-vendor",
        "/root/x-vendor",
        "/process/x-vendor",
        "/mounts/0/x-vendor",
        "/linux/x-vendor",
        "/linux/namespaces/0/x-vendor",
    ] {
        assert!(with(pointer, lists.clone()).is_ok(), "{pointer}");
        assert!(with(pointer, json!([[1]])).is_ok(), "{pointer}");
    }
}

#[test]
fn where_an_object_belongs_a_list_is_not_taken_for_its_members() {
    for (pointer, value, field) in [
        ("/mounts", json!([["/proc"]]), "mounts[0]"),
        (
            "/mounts",
            json!([{ "destination": "/a", "uidMappings": [[0, 0, 1]] }]),
            "mounts[0].uidMappings[0]",
        ),
        ("/process/rlimits", json!([["RLIMIT_CPU", 1, 1]]), "process.rlimits[0]"),
        ("/hooks", json!({ "poststop": [["/true"]] }), "hooks.poststop[0]"),
        ("/linux/uidMappings", json!([[0, 0, 1]]), "linux.uidMappings[0]"),
        ("/linux/resources", json!({ "rdma": { "a": [1, 2] } }), "linux.resources.rdma.a"),
        ("/linux/timeOffsets", json!({ "boottime": [1, 2] }), "linux.timeOffsets.boottime"),
    ] {
        let error = with(pointer, value).unwrap_err();

        assert_eq!(error.to_string(), format!("{field}: found a list, expected an object"));
    }
}

#[test]
fn a_mount_on_proc_is_one_however_its_path_is_written() {
    let with_mount = |destination: &str| {
        let mut document = good();
        document["mounts"][0]["destination"] = json!(destination);
        document["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        Config::parse(document.to_string().as_bytes())
    };
    for destination in ["/proc", "/proc/", "/proc/.", "//./proc", "/sys/../proc", "/../proc"] {
        assert!(with_mount(destination).is_ok(), "{destination}");
    }
    for destination in ["/proc/sys", "/process", "/proc/..", "/sys/proc"] {
        assert!(with_mount(destination).is_err(), "{destination}");
    }
}

#[test]
fn null_means_absence_as_go_writes_it() {
    assert!(with("/mounts", Value::Null).is_ok());
    assert!(with("/hooks", Value::Null).is_ok());
}

#[test]
fn a_scheduler_has_the_flags_of_the_specification() {
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"],
    });

    let config = with("/process/scheduler", scheduler).unwrap();

    let flags = config.process().scheduler().as_ref().unwrap().flags().as_ref().unwrap();
    assert_eq!(flags.len(), 2);
}

#[test]
fn flags_of_a_personality_are_dropped_with_a_warning() {
    for (flags, warnings) in [
        (json!([]), &[][..]),
        (json!(["X"]), &[r#"ignoring unsupported personality flags: ["X"]"#][..]),
    ] {
        let config =
            with("/linux/personality", json!({ "domain": "LINUX32", "flags": flags })).unwrap();

        assert_eq!(config.warnings(), warnings);
        assert_eq!(config.document().pointer("/linux/personality/flags"), None);
    }
}

#[test]
fn unknown_letters_of_an_access_are_dropped_with_a_warning() {
    let rules = json!([{ "allow": false, "access": "rwm" }, { "allow": false, "access": "rwa" }]);

    let config = with("/linux/resources", json!({ "devices": rules })).unwrap();

    let expected = r#"linux.resources.devices[1].access: ignoring what is not r, w or m in "rwa""#;
    assert_eq!(config.warnings(), [expected]);
    let access = config.document().pointer("/linux/resources/devices/1/access");
    assert_eq!(access, Some(&json!("rw")));
}

#[test]
fn an_unknown_capability_is_dropped_with_a_warning() {
    let lists = json!({ "bounding": ["CAP_CHOWN", "CAP_FROM_THE_FUTURE"], "effective": ["CAP_FROM_THE_FUTURE"] });

    let config = with("/process/capabilities", lists).unwrap();

    assert_eq!(
        config.warnings(),
        [r#"ignoring unknown or unavailable capability "CAP_FROM_THE_FUTURE""#]
    );
    assert_eq!(
        config.document().pointer("/process/capabilities/bounding"),
        Some(&json!(["CAP_CHOWN"]))
    );
}
