//! Somebody else who edits the same file: his work is never lost.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use kontain::{Engine, NodeError};
use serde_json::Value;

use crate::place::{DAEMON_JSON, Node, wish};

/// How often the other one saves.
const SAVES: u32 = 300;

#[test]
fn a_file_that_changes_between_reading_and_writing_is_left() {
    let edits: [fn(&Node) -> Result<()>; 3] = [
        |node| node.write(DAEMON_JSON, "{\"edited\": true}"),
        |node| {
            node.write("/etc/docker/new", "{}")?;
            Ok(fs::rename(node.path("/etc/docker/new"), node.path(DAEMON_JSON))?)
        },
        |node| Ok(fs::remove_file(node.path(DAEMON_JSON))?),
    ];
    for edit in edits {
        let node = Node::with(DAEMON_JSON, "{}").unwrap();
        let work = node.plan(Engine::Docker, &wish()).unwrap();
        edit(&node).unwrap();
        let edited = node.all().unwrap();

        let error = work.apply(&node.root().unwrap()).unwrap_err();

        assert!(matches!(error, NodeError::Changed { .. }), "{error}");
        assert_eq!(node.all().unwrap(), edited);
    }
}

#[test]
fn a_file_that_appears_meanwhile_is_left() {
    let node = Node::new().unwrap();
    let work = node.plan(Engine::Docker, &wish()).unwrap();
    node.write(DAEMON_JSON, "{\"mine\": 1}").unwrap();
    let edited = node.all().unwrap();

    let error = work.apply(&node.root().unwrap()).unwrap_err();

    assert!(matches!(error, NodeError::Changed { .. }), "{error}");
    assert_eq!(node.all().unwrap(), edited);
}

#[test]
fn two_who_begin_at_once_on_a_new_node_both_come_to_their_end() {
    for _ in 0..40 {
        let node = Node::new().unwrap();
        thread::scope(|scope| {
            let install = |engine| node.install(engine, &wish()).map(drop);
            let other = scope.spawn(move || install(Engine::Docker));
            install(Engine::Podman).unwrap();
            other.join().unwrap().unwrap();
        });
        for engine in [Engine::Docker, Engine::Podman] {
            node.uninstall(engine).unwrap();
        }
    }
}

#[test]
fn who_saves_all_the_time_loses_nothing() {
    let node = Node::with(DAEMON_JSON, "{\"n\": 0}").unwrap();
    let done = AtomicBool::new(false);
    let done = &done;
    let mut all_left = Vec::new();

    thread::scope(|scope| {
        let node = &node;
        scope.spawn(move || {
            for n in 1..=SAVES {
                // As editors save: a new file in the old one's place.
                node.write("/etc/docker/new", format!("{{\"n\": {n}}}")).unwrap();
                fs::rename(node.path("/etc/docker/new"), node.path(DAEMON_JSON)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut won = 0;
        while !done.load(Ordering::Acquire) || won == 0 {
            let results = [node.install(Engine::Docker, &wish()), node.uninstall(Engine::Docker)];
            won += u32::from(results[0].is_ok());
            for result in results {
                if let Err(NodeError::Changed { left, .. }) = result {
                    all_left.extend(left);
                }
            }
        }
    });

    node.uninstall(Engine::Docker).unwrap();
    let value: Value = serde_json::from_str(&node.read(DAEMON_JSON).unwrap()).unwrap();
    assert_eq!(value["n"], SAVES);
    // Of two that were saved while kontain was there, the earlier one is left beside.
    for left in &all_left {
        let text = fs::read_to_string(left).unwrap();
        assert!(text.starts_with("{\"n\": ") && !text.contains("krun"), "{text}");
    }
    let count = fs::read_dir(node.path("/etc/docker")).unwrap().count();
    assert_eq!(count, 1 + all_left.len(), "{all_left:?}");
}
