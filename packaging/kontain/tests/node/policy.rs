//! `kontain policy`: the rules as they stand, and what they say of a container.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use anyhow::Result;
use serde_json::{Value, json};

use crate::place::Node;

const RULES: &str = "/etc/kontain/policy.d/10-rules.toml";
const TEXT: &str = r#"
[[rule]]
id = "monitoring"
mode = "native"
match = { cgroup_parent = ["system.slice", "/docker"], binds = "/proc" }

[[rule]]
id = "no"
mode = "deny"
reason = "not on this host"
match = { network = "host" }
"#;

fn policy(node: &Node, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    Ok(command.arg("policy").args(args).arg("--root").arg(node.path("/")).output()?)
}

/// A bundle's file for a container with these namespaces.
fn bundle(node: &Node, namespaces: &[&str]) -> Result<String> {
    let namespaces: Vec<_> = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    let config = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": namespaces},
    });
    node.write("/bundle/config.json", config.to_string())?;
    Ok(node.path("/bundle/config.json").to_string_lossy().into_owned())
}

#[test]
fn rules_are_listed_in_their_order() {
    let node = Node::with(RULES, TEXT).unwrap();

    let text = policy(&node, &["list"]).unwrap();
    let all = policy(&node, &["list", "--json"]).unwrap();

    let text =
        String::from_utf8(text.stdout).unwrap().replace(&*node.path("/").to_string_lossy(), "/");
    insta::assert_snapshot!(text, @r#"
    native monitoring (/etc/kontain/policy.d/10-rules.toml): cgroup_parent=["system.slice","/docker"] binds="/proc"
    deny   no (/etc/kontain/policy.d/10-rules.toml): network="host"
    vm     default: every other container
    "#);
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(
        (&all["rules"][1]["id"], &all["rules"][1]["match"]),
        (&json!("no"), &json!({"network": "host"}))
    );
    assert_eq!(all["default"], "vm");
}

#[test]
fn without_rules_everything_is_a_virtual_machine() {
    let output = policy(&Node::new().unwrap(), &["list"]).unwrap();

    assert_eq!(output.stdout, b"vm     default: every other container\n");
}

#[test]
fn a_container_is_told_what_is_decided_for_it() {
    let node = Node::with(RULES, TEXT).unwrap();
    let own = bundle(&node, &["mount", "pid", "network"]).unwrap();
    let decided = policy(&node, &["test", &own]).unwrap();
    let hosts = bundle(&node, &["mount", "pid"]).unwrap();
    let denied = policy(&node, &["test", &hosts, "--json"]).unwrap();

    let text = String::from_utf8(decided.stdout).unwrap();
    assert!(decided.status.success() && text.ends_with("mode vm by rule default\n"), "{text}");
    assert!(text.contains("no: network is \"own\""), "{text}");
    let answer: Value = serde_json::from_slice(&denied.stdout).unwrap();
    assert_eq!((denied.status.code(), &answer["mode"]), (Some(3), &json!("deny")), "{answer}");
    assert!(answer["reason"].as_str().unwrap().ends_with("not on this host"), "{answer}");
}

#[test]
fn what_others_could_write_is_no_list() {
    let node = Node::with(RULES, TEXT).unwrap();
    fs::set_permissions(node.path(RULES), Permissions::from_mode(0o646)).unwrap();

    let output = policy(&node, &["list", "--json"]).unwrap();

    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["error"]["kind"]), (Some(3), &json!("refused")));
    assert!(answer["error"]["reason"].as_str().unwrap().contains("chmod go-w"), "{answer}");
}
