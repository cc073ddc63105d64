//! Whatever an administrator has written, in whatever form: after `install` and `uninstall` every byte is as before,
//! and if somebody else has changed the file meanwhile, its meaning is.

use anyhow::Result;
use kontain::Engine;
use proptest::prelude::*;
use serde_json::Value;

use crate::place::{DAEMON_JSON, Node, wish, wish_default};

/// Names as they are in files, some of which kontain looks for.
fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        r#""runtimes""#,
        r#""default-runtime""#,
        r#""krun""#,
        r#""path""#,
        r#""features""#,
        r#""br\u0061ce}{""#,
        r#""ü\"\\""#,
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z]{1,8}".prop_map(|name| format!("{name:?}"))]
}

/// White space.
fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", " ", "\n", "\n  ", "\r\n\t", "  "])
}

fn object(of: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), name(), space(), space(), of, space());
    (space(), prop::collection::vec(member, 0..5)).prop_map(|(empty, members)| {
        let member = |(a, name, b, c, value, d): &(_, _, _, _, String, _)| {
            format!("{a}{name}{b}:{c}{value}{d}")
        };
        let members: Vec<_> = members.iter().map(member).collect();
        if members.is_empty() {
            format!("{{{empty}}}")
        } else {
            format!("{{{}}}", members.join(","))
        }
    })
}

/// An object as text.
fn document() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(vec![
        "true",
        "null",
        "-1.50e2",
        r#""krun""#,
        r#""{,}: \" \\ \u00fc""#,
        "[ 1,\n{} ]",
        "18446744073709551616",
    ]);
    let value = plain.prop_map(str::to_owned).prop_recursive(3, 12, 4, object);
    (space(), object(value), space()).prop_map(|(a, object, b)| format!("{a}{object}{b}"))
}

/// Takes kontain's own away from what a document means.
fn without_krun(text: &str) -> Result<Value> {
    let mut value: Value = serde_json::from_str(text)?;
    if value["default-runtime"] == "krun" {
        value.as_object_mut().map(|all| all.remove("default-runtime"));
    }
    if let Some(runtimes) = value["runtimes"].as_object_mut() {
        runtimes.remove("krun");
    }
    if value["runtimes"].as_object().is_none_or(serde_json::Map::is_empty) {
        value.as_object_mut().map(|all| all.remove("runtimes"));
    }
    Ok(value)
}

fn round_trip(text: &str, default: bool, edited: bool) -> Result<()> {
    let node = Node::with(DAEMON_JSON, text)?;
    let untouched = node.all()?;
    let wish = if default { wish_default() } else { wish() };
    if node.install(Engine::Docker, &wish).is_err() {
        assert_eq!(node.all()?, untouched);
        return Ok(());
    }
    let after = node.read(DAEMON_JSON)?;
    let value: Value = serde_json::from_str(&after)?;
    assert_eq!(value["runtimes"]["krun"]["path"], "/opt/kontain/bin/krun");
    assert!(!default || value["default-runtime"] == "krun");
    if !default {
        assert_eq!(without_krun(&after)?, without_krun(text)?);
    }
    if edited {
        node.write(DAEMON_JSON, format!("{after}\n"))?;
        let before: Value = serde_json::from_str(text)?;
        if before["default-runtime"] == "krun" {
            // It was the default before there was any: nobody knows now who said so.
            assert!(node.uninstall(Engine::Docker).is_err());
            return Ok(());
        }
        node.uninstall(Engine::Docker)?;
        assert_eq!(without_krun(&node.read(DAEMON_JSON)?)?, without_krun(text)?);
        return Ok(());
    }
    node.uninstall(Engine::Docker)?;
    assert_eq!(node.all()?, untouched);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn daemon_json_is_as_before(text in document(), default: bool, edited: bool) {
        round_trip(&text, default, edited).unwrap();
    }
}
