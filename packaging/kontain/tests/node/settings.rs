//! What `kontain config dump` says of a node.

use std::process::{Command, Output};

use anyhow::Result;
use serde_json::Value;

use crate::place::Node;

const FILE: &str = "/etc/kontain/krun.toml";

fn dump(node: &Node, args: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    command.args(["config", "dump", "--root"]).arg(node.path("/")).args(args);
    Ok(command.envs(variables.iter().copied()).output()?)
}

fn setting<'a>(dump: &'a Value, key: &str) -> &'a Value {
    let all = dump["settings"].as_array().expect("it is a list");
    all.iter().find(|one| one["key"] == key).expect("every setting is shown")
}

#[test]
fn each_value_is_shown_with_where_it_is_from() {
    let node = Node::with(FILE, "stats = true\nexitless = \"on\"\n").unwrap();
    node.write("/etc/kontain/krun.d/10.toml", "exitless = \"off\"\n").unwrap();
    let variables = [("KONTAIN_KRUN_DEBUG", "true")];

    let output = dump(&node, &["--json", "--no-release-suffix"], &variables).unwrap();

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["errors"], serde_json::json!([]));
    for (key, value, origin, place) in [
        ("debug", "true", "environment", "\"KONTAIN_KRUN_DEBUG\"".to_owned()),
        ("exitless", "\"off\"", "file", format!("{:?}", node.path("/etc/kontain/krun.d/10.toml"))),
        ("monitor_filter", "true", "default", "null".to_owned()),
        ("policy_dir", "null", "default", "null".to_owned()),
        ("release_suffix", "false", "flag", "\"--no-release-suffix\"".to_owned()),
        ("stats", "true", "file", format!("{:?}", node.path(FILE))),
    ] {
        let found = setting(&shown, key);
        assert_eq!(found["value"].to_string(), value, "{key}");
        assert_eq!(found["origin"], origin, "{key}");
        assert_eq!(found["place"].to_string(), place, "{key}");
    }
    let text = dump(&node, &[], &variables).unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("debug            true     variable KONTAIN_KRUN_DEBUG\n"), "{text}");
    assert!(text.contains("policy_dir       usual    default\n"), "{text}");
}

#[test]
fn what_is_wrong_is_shown_beside_what_is_right() {
    let node = Node::with(FILE, "stats = true\ndebug = 1\n").unwrap();
    let variables = [("KONTAIN_KRUN_MONITOR_FILTER", "false")];

    let output = dump(&node, &["--json"], &variables).unwrap();
    let text = dump(&node, &[], &variables).unwrap();

    assert_eq!((output.status.code(), text.status.code()), (Some(3), Some(3)));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(setting(&shown, "stats")["value"], true);
    assert_eq!(setting(&shown, "debug")["value"], false);
    assert_eq!(setting(&shown, "monitor_filter")["value"], true);
    assert_eq!(shown["errors"][0]["key"], "debug");
    assert_eq!(shown["errors"][0]["file"], node.path(FILE).to_str().unwrap());
    assert_eq!(shown["errors"][1]["key"], "monitor_filter");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("debug: found a value of type integer, expected true or false"),
        "{text}"
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{text}");
}

#[test]
fn a_file_that_others_can_write_is_shown_as_wrong() {
    let node = Node::with(FILE, "stats = true\n").unwrap();
    node.mode(FILE, 0o666).unwrap();

    let output = dump(&node, &["--json"], &[]).unwrap();

    assert_eq!(output.status.code(), Some(3));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(setting(&shown, "stats")["value"], false);
    assert!(shown["errors"][0]["message"].as_str().unwrap().contains("chmod go-w"), "{shown}");
}
