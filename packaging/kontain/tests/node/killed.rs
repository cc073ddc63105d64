//! A kontain that is killed between two of its changes: done again, what was begun is finished.

use std::fs;

use anyhow::Result;
use kontain::{Engine, Work};

use crate::place::{DAEMON_JSON, Node, wish_default};

const RECORD: &str = "/var/lib/kontain/install/docker.json";
const BACKUP: &str = "/var/lib/kontain/install/docker.before";
const TEXT: &str = "{\n  \"a\": 1\n}\n";

/// Makes the first changes only. Says whether there were more, which is so until all are made.
fn begin(node: &Node, work: &Work, count: usize) -> Result<bool> {
    Ok(Work::apply_first(std::slice::from_ref(work), &node.root()?, count)?)
}

/// Takes krun away, and demands that all of kontain's is gone.
fn end(node: &Node, text: Option<&str>) -> Result<()> {
    node.uninstall(Engine::Docker)?;

    assert_eq!(node.read(DAEMON_JSON).ok().as_deref(), text);
    assert!(!node.path(RECORD).exists() && !node.path(BACKUP).exists());
    assert!(!node.uninstall(Engine::Docker)?.is_needed());
    Ok(())
}

/// A node whose daemon.json has a text, or is not there.
fn node(text: Option<&str>) -> Result<Node> {
    text.map_or_else(Node::new, |text| Node::with(DAEMON_JSON, text))
}

#[test]
fn an_installation_that_was_killed_is_finished_by_the_next() {
    for text in [Some(TEXT), None] {
        let whole = node(text).unwrap();
        whole.install(Engine::Docker, &wish_default()).unwrap();
        let mut count = 0;
        loop {
            let node = node(text).unwrap();
            let work = node.plan(Engine::Docker, &wish_default()).unwrap();
            let is_cut = begin(&node, &work, count).unwrap();

            node.install(Engine::Docker, &wish_default()).unwrap();

            for file in [DAEMON_JSON, BACKUP] {
                assert_eq!(node.read(file).ok(), whole.read(file).ok(), "{file} after {count}");
            }
            end(&node, text).unwrap();
            count += 1;
            if !is_cut {
                break;
            }
        }
        assert!(count > 2, "{count}");
    }
}

#[test]
fn an_installation_that_was_killed_can_be_taken_away() {
    for count in 0..3 {
        let node = node(Some(TEXT)).unwrap();
        let work = node.plan(Engine::Docker, &wish_default()).unwrap();
        begin(&node, &work, count).unwrap();

        let work = node.uninstall(Engine::Docker).unwrap();

        assert_eq!(node.read(DAEMON_JSON).unwrap(), TEXT);
        assert!(!node.path(RECORD).exists());
        // Without a record nobody knows whose it is.
        let is_told = work.warnings.iter().any(|line| line.contains("docker.before"));
        assert_eq!(node.path(BACKUP).exists(), is_told, "{count}: {:?}", work.warnings);
    }
}

#[test]
fn a_backup_that_was_left_is_written_anew() {
    let node = node(Some(TEXT)).unwrap();
    let work = node.plan(Engine::Docker, &wish_default()).unwrap();
    begin(&node, &work, 1).unwrap();
    let other = "{\"other\": 1}";
    node.write(DAEMON_JSON, other).unwrap();

    node.install(Engine::Docker, &wish_default()).unwrap();

    assert_eq!(node.read(BACKUP).unwrap(), other);
    end(&node, Some(other)).unwrap();
}

#[test]
fn taking_away_that_was_killed_is_finished_by_the_next() {
    for text in [Some(TEXT), None] {
        let mut count = 0;
        loop {
            let node = node(text).unwrap();
            node.install(Engine::Docker, &wish_default()).unwrap();
            let work = kontain::uninstall(&node.root().unwrap(), Engine::Docker).unwrap();
            let is_cut = begin(&node, &work, count).unwrap();
            // As long as krun is there, so is what says so.
            let is_there = node.read(DAEMON_JSON).is_ok_and(|text| text.contains("krun"));
            assert!(!is_there || node.path(RECORD).exists(), "after {count}");
            assert_eq!(node.path(RECORD).exists(), is_cut, "the record goes last");

            end(&node, text).unwrap();

            count += 1;
            if !is_cut {
                break;
            }
        }
        assert!(count > 2, "{count}");
    }
}

#[test]
fn what_was_half_taken_away_can_be_installed_again() {
    for count in 0..4 {
        let node = node(Some(TEXT)).unwrap();
        node.install(Engine::Docker, &wish_default()).unwrap();
        let installed = node.read(DAEMON_JSON).unwrap();
        let work = kontain::uninstall(&node.root().unwrap(), Engine::Docker).unwrap();
        begin(&node, &work, count).unwrap();

        node.install(Engine::Docker, &wish_default()).unwrap();

        assert_eq!(node.read(DAEMON_JSON).unwrap(), installed);
        end(&node, Some(TEXT)).unwrap();
    }
}

#[test]
fn nothing_is_left_where_crio_reads_all() {
    let drop_ins = "/etc/crio/crio.conf.d";
    for count in 0..3 {
        let node = Node::with("/etc/crio/crio.conf.d/10-crio.conf", "").unwrap();
        let work = node.plan(Engine::Crio, &wish_default()).unwrap();
        begin(&node, &work, count).unwrap();

        let names =
            fs::read_dir(node.path(drop_ins)).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
        let work = node.install(Engine::Crio, &wish_default());
        assert!(work.is_ok(), "{work:?}");
        node.uninstall(Engine::Crio).unwrap();
        assert_eq!(fs::read_dir(node.path(drop_ins)).unwrap().count(), 1);
    }
}
