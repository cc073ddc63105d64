//! What files look like afterwards, and that they are as before when it is taken away: `tests/golden/ENGINE` has a file
//! for each case, `tests/node/snapshots` what becomes of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kontain::Engine;

use crate::place::{CONFIG_TOML, DAEMON_JSON, Node, wish_default};

/// Installs over each of an engine's cases as the default, and takes it away again.
fn check(engine: Engine, name: &str, file: &str) -> Result<()> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut count = 0;
    for case in fs::read_dir(&cases)? {
        let case = case?.path();
        let before = fs::read(&case)?;
        let node = Node::with(file, &before)?;
        let untouched = node.all()?;

        let work = node.install(engine, &wish_default())?;

        let after = node.read(file).unwrap_or_default();
        let stem = case.file_stem().context("a name")?.to_string_lossy().into_owned();
        let shown = format!("{}---\n{after}", work.diff()).replace('\r', "<CR>");
        insta::assert_snapshot!(format!("{name}_{stem}"), shown);
        assert!(!node.plan(engine, &wish_default())?.is_needed(), "{stem}: not idempotent");
        node.uninstall(engine)?;
        assert_eq!(node.all()?, untouched, "{stem}");
        count += 1;
    }
    assert!(count > 1, "{} has {count} cases", cases.display());
    Ok(())
}

#[test]
fn daemon_json_keeps_its_form() {
    check(Engine::Docker, "docker", DAEMON_JSON).unwrap();
}

#[test]
fn containerds_file_keeps_its_form_in_each_version() {
    check(Engine::Containerd, "containerd", CONFIG_TOML).unwrap();
}

#[test]
fn podman_and_crio_get_drop_ins() {
    check(Engine::Podman, "podman", "/etc/containers/containers.conf").unwrap();
    check(Engine::Crio, "crio", "/etc/crio/crio.conf").unwrap();
}
