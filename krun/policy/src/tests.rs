//! Tests of decisions.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};
use spec_compat::Config;

use super::facts::Facts;
use super::{Decision, Mode, Policy, without_rules};

/// A task's container of ECS, with what is given in place of its own.
fn config(changes: &Value) -> Config {
    let mut document = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "cwd": "/",
            "args": ["/pause"],
            "capabilities": {"bounding": ["CAP_CHOWN"]},
        },
        "mounts": [
            {"destination": "/etc/hosts", "type": "bind", "source": "/d/hosts", "options": ["rbind"]},
        ],
        "linux": {
            "cgroupsPath": "ecstasks-7.slice:docker:abc",
            "namespaces": [
                {"type": "network", "path": "/proc/sys/kernel/osrelease"}, {"type": "pid"},
            ],
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        },
        "annotations": {"a.b": "c"},
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    Config::parse(document.to_string().as_bytes()).unwrap()
}

/// An error and its causes.
fn text(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", text(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The policy in a directory with these files.
fn policy(files: &[(&str, &str)]) -> Result<Policy, String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    }
    Policy::read(Some(directory.path())).map_err(|error| text(&error))
}

fn decide(files: &[(&str, &str)], config: &Config) -> Result<(Mode, String), String> {
    let decided = policy(files)?.decide(config, Path::new("/nonexistent"));
    decided.map(|Decision { mode, rule, .. }| (mode, rule)).map_err(|error| error.to_string())
}

#[test]
fn without_rules_everything_is_a_virtual_machine() {
    let absent = Policy { rules: Vec::new() };
    let vm = Decision { mode: Mode::Vm, rule: "default".to_owned(), programs: None };

    assert_eq!(absent.decide(&config(&json!({})), Path::new("/")).unwrap(), vm);
    assert_eq!(
        decide(&[("a.toml", "preset = \"default\"\n")], &config(&json!({}))).unwrap(),
        (Mode::Vm, "default".to_owned())
    );
}

#[test]
fn the_first_rule_in_the_order_of_names_decides() {
    let rule = |id: &str, mode: &str| format!("[[rule]]\nid = \"{id}\"\nmode = \"{mode}\"\n");
    let first = rule("one", "native");
    let files = [("20.toml", &*rule("two", "deny")), ("10.toml", &*first), ("x.bak", "not a rule")];

    assert_eq!(decide(&files, &config(&json!({}))).unwrap(), (Mode::Native, "one".to_owned()));
    let twice = [("1.toml", &*first), ("2.toml", &*first)];
    assert!(decide(&twice, &config(&json!({}))).unwrap_err().contains("\"one\" is in "));
}

#[test]
fn a_denied_container_is_told_why_and_by_which_rule() {
    let text = "[[rule]]\nid = \"p\"\nmode = \"deny\"\nreason = \"ask the platform team\"\n";

    let error = decide(&[("9.toml", text)], &config(&json!({}))).unwrap_err();

    assert!(error.starts_with("denied by the policy's rule p ("), "{error}");
    assert!(error.ends_with("/9.toml): ask the platform team"), "{error}");
}

/// Each condition once as it is and once otherwise.
#[test]
fn every_condition_can_hold_and_not() {
    for (condition, changes, holds) in [
        (r#"cgroup_parent = "ecstasks-*""#, json!({}), true),
        (r#"cgroup_parent = ["a", "/docker"]"#, json!({"/linux/cgroupsPath": "/docker/a"}), true),
        (r#"cgroup_parent = "/docker""#, json!({"/linux/cgroupsPath": "/docker/a/b"}), false),
        (r#"network = "joined""#, json!({}), true),
        (r#"network = "host""#, json!({}), false),
        (
            r#"network = "host""#,
            json!({"/linux/namespaces": [{"type": "network", "path": "/proc/thread-self/ns/net"}]}),
            true,
        ),
        (r#"pid = "own""#, json!({}), true),
        (r#"ipc = "host""#, json!({}), true),
        (r#"uts = "own""#, json!({}), false),
        (r#"user = "host""#, json!({}), true),
        (r#"binds = "/d/*""#, json!({}), true),
        (r#"binds = ["/d/*", "/e"]"#, json!({}), false),
        (r#"binds_within = "/d/*""#, json!({}), true),
        (r#"binds_within = ["/e/*"]"#, json!({}), false),
        (r#"capabilities_within = ["CAP_CHOWN", "CAP_KILL"]"#, json!({}), true),
        (r"capabilities_within = []", json!({}), false),
        (r"privileged = false", json!({}), true),
        (r"privileged = true", json!({}), false),
        (
            r"privileged = true",
            json!({"/process/capabilities": {"bounding": ["CAP_SYS_ADMIN"]}, "/linux/seccomp": null}),
            true,
        ),
        (r#"annotations = { "a.b" = "c" }"#, json!({}), true),
        (r#"annotations = { "a.b" = ["x", "c*"] }"#, json!({}), true),
        (r#"annotations = { "a.b" = "d" }"#, json!({}), false),
        (r#"annotations = { "a.c" = "*" }"#, json!({}), false),
        (r#"args = ["/p*"]"#, json!({}), true),
        (r#"args = ["/pause", "*"]"#, json!({}), false),
        (r#"args0 = "*/pause""#, json!({}), true),
        (r#"args0 = "pause""#, json!({}), false),
        (r#"program_sha256 = ["00"]"#, json!({}), false),
    ] {
        let text = format!("[[rule]]\nid = \"it\"\nmode = \"deny\"\n[rule.match]\n{condition}\n");

        let denied = decide(&[("1.toml", &text)], &config(&changes)).is_err();

        assert_eq!(denied, holds, "{condition}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, expected) in [
        ("[[rule]]\nid = \"a\"\n", "missing field `mode`"),
        ("[[rule]]\nid = \"a\"\nmode = \"fast\"\n", "line 3"),
        ("[[rule]]\nid = \"a\"\nmode = \"vm\"\n[rule.match]\ncgroup = \"x\"\n", "line 5"),
        ("preset = \"eks\"\n", "there is no preset \"eks\": there are default, ecs and kubernetes"),
        ("x", "line 1"),
    ] {
        let error = policy(&[("1.toml", text)]).unwrap_err();

        assert!(error.contains("/1.toml: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_image_does_not_make_itself_native() {
    let verdict = |condition: &str| {
        let text = format!("[[rule]]\nid = \"a\"\nmode = \"native\"\n[rule.match]\n{condition}\n");
        policy(&[("1.toml", &text)]).map(|_| ())
    };
    let names = ["args = [\"/pause\"]", "args0 = \"/pause\"", "annotations = { a = \"b\" }"];
    let as_always = [
        "",
        "privileged = false",
        "network = \"own\"",
        "user = \"host\"",
        "binds = []",
        "binds_within = [\"*\"]",
        "capabilities_within = [\"CAP_CHOWN\"]",
    ];
    let told_apart = [
        "cgroup_parent = \"/a\"",
        "privileged = true",
        "network = \"joined\"",
        "pid = \"host\"",
        "user = \"own\"",
        "binds = \"/a\"",
        "program_sha256 = [\"00\"]",
    ];

    for name in names {
        for other in as_always {
            let error = verdict(&format!("{name}\n{other}")).unwrap_err();
            assert!(error.contains("add a condition"), "{name} {other}: {error}");
        }
        for other in told_apart {
            assert_eq!(verdict(&format!("{name}\n{other}")), Ok(()), "{name} {other}");
        }
    }
    assert_eq!(verdict("network = \"own\""), Ok(()), "the host's word about all of a kind");
}

#[test]
fn a_directory_that_is_asked_for_must_be_there() {
    let error = Policy::read(Some(Path::new("/nonexistent/policy.d"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/policy.d"), "{error}");
}

#[test]
fn what_others_could_write_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("1.toml");
    let read =
        || Policy::read(Some(directory.path())).map(|_| ()).map_err(|error| error.to_string());
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    fs::write(&file, "").unwrap();

    for (mode, expected) in [(0o644, Ok(())), (0o664, Err("664")), (0o646, Err("646"))] {
        set(&file, mode);
        match (read(), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (found, _) => panic!("{mode:o}: {found:?}"),
        }
    }
    set(&file, 0o644);
    set(directory.path(), 0o777);
    assert!(read().unwrap_err().contains("chmod go-w"));
    set(directory.path(), 0o755);
    let above = directory.path().join("above");
    fs::create_dir_all(above.join("policy.d")).unwrap();
    set(&above, 0o777);
    let below = Policy::read(Some(&above.join("policy.d"))).unwrap_err().to_string();
    assert!(below.contains("/above: its mode is 777"), "{below}");
    symlink(&file, directory.path().join("2.toml")).unwrap();
    assert!(read().unwrap_err().contains("symbolic link"));
}

#[test]
fn tasks_cannot_be_ecss_agent_or_pause_container() {
    let ecs = [("10.toml", "preset = \"ecs\"\n")];
    let agent = json!({
        "/linux/cgroupsPath": "system.slice:docker:abc",
        "/linux/namespaces": [{"type": "pid"}],
        "/process/args": ["/sbin/docker-init", "--", "/agent"],
        "/mounts": [
            {"destination": "/data", "source": "/var/lib/ecs/data", "options": ["rbind"]},
            {"destination": "/etc/ecs", "source": "/etc/ecs", "options": ["rbind"]},
        ],
    });
    let mut task = agent.clone();
    task["/linux/cgroupsPath"] = json!("ecstasks-7.slice:docker:abc");
    task["/process/capabilities"] = json!({"bounding": ["CAP_SYS_ADMIN"]});

    let rule = |config: &Value| decide(&ecs, &self::config(config)).unwrap();
    assert_eq!(rule(&agent), (Mode::Native, "ecs-agent".to_owned()));
    assert_eq!(rule(&task), (Mode::Vm, "default".to_owned()));
    assert_eq!(rule(&json!({})), (Mode::Vm, "default".to_owned()), "no hash is allowed");
}

#[test]
fn a_pods_sandbox_is_known_by_its_program_alone() {
    let image = tempfile::tempdir().unwrap();
    let pause = image.path().join("pause");
    let mut header = vec![0_u8; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (header[16], header[18], header[20]) = (2, 62, 1);
    (header[52], header[54], header[58]) = (64, 56, 64);
    fs::write(&pause, &header).unwrap();
    let hash = super::hash(image.path(), "/pause").unwrap();
    let text = format!("preset = \"kubernetes\"\npause_sha256 = [{hash:?}]\n");
    let config = config(&json!({"/annotations": {"io.kubernetes.cri.container-type": "sandbox"}}));
    let decide = || policy(&[("10.toml", &text)]).unwrap().decide(&config, image.path()).unwrap();

    let decision = decide();
    assert_eq!((decision.mode, &*decision.rule), (Mode::Native, "pod-sandbox"));
    assert_eq!(decision.programs.as_deref(), Some(&[hash.clone()][..]));
    header[60] = 1;
    fs::write(&pause, &header).unwrap();
    assert_eq!(decide().mode, Mode::Vm);
}

#[test]
fn under_kontains_name_a_container_asks_for_its_virtual_machine() {
    let image = tempfile::tempdir().unwrap();
    let asks = config(&json!({"/annotations": {"app.kontain.version": "1"}}));
    let says_nothing = config(&json!({}));
    let mode = |config: &Config| without_rules(&Facts::of(config, image.path()), true).mode;

    assert_eq!(mode(&asks), Mode::Vm);
    assert_eq!(mode(&says_nothing), Mode::Native);
    fs::write(image.path().join(".kontain"), "").unwrap();
    assert_eq!(mode(&says_nothing), Mode::Vm);
}

#[test]
fn an_explanation_names_what_every_rule_lacks() {
    let text = "preset = \"ecs\"\n[[rule]]\nid = \"all\"\nmode = \"vm\"\nmatch.pid = \"host\"\n";

    let (asked, decision) = policy(&[("1.toml", text)])
        .unwrap()
        .explain(&config(&json!({})), Path::new("/nonexistent"));

    let obstacles: Vec<_> = asked.into_iter().map(|one| one.obstacle.unwrap_or_default()).collect();
    assert_eq!(obstacles[0], "pid is \"own\"");
    assert_eq!(obstacles[1], "cgroup_parent is \"ecstasks-7.slice\"");
    assert!(obstacles[2].starts_with("program_sha256: /pause: "), "{obstacles:?}");
    assert_eq!(decision.unwrap().rule, "default");
}
