//! Rules of this repository that no other tool checks.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names what it looks for, and so is not looked at.
const THIS_FILE: &str = "integration/tests/house_rules.rs";

/// No file is longer.
const LONGEST: usize = 600;

/// Half of the files are shorter.
const MEDIAN: usize = 150;

/// What lies at the top, besides files whose name begins with a dot.
const TOP: [&str; 16] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "conformance",
    "docs",
    "fuzz",
    "hooks",
    "integration",
    "krun",
    "monitor",
    "packaging",
    "spec-compat",
];

/// The monitor's layers, the upper first. A layer may use those below it and its own.
const LAYERS: [&[&str]; 7] = [
    &["machine", "control", "main", "cli", "launch"],
    &["run_loop"],
    &["syscall", "snapshot", "debug"],
    &["process", "thread", "loader"],
    &["signal", "files", "memory", "seccomp"],
    &["platform"],
    &["arch", "layout"],
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Paths of all files that are, or could be, committed.
fn files() -> Vec<String> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(top()).args(list).output();
    let output = output.expect("git lists the files").stdout;
    let names = String::from_utf8(output).expect("names are UTF-8");
    let exists = |name: &&str| top().join(name).is_file();
    names.lines().filter(exists).map(str::to_owned).collect()
}

fn rust_sources() -> Vec<Source> {
    let is_rust = |path: &String| Path::new(path).extension().is_some_and(|end| end == "rs");
    let read = |path: String| {
        let text = fs::read_to_string(top().join(&path)).expect("a listed file can be read");
        Source { path, text }
    };
    let sources: Vec<_> = files().into_iter().filter(is_rust).map(read).collect();
    assert!(sources.len() > 10, "these are not all sources: {}", sources.len());
    sources
}

/// Fails with every offence, not with the first one.
fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Lines of code that have an offence, with their place.
fn offending_lines(sources: &[Source], offends: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.path != THIS_FILE) {
        let lines = source.code().filter(|(_, line)| offends(source, line));
        found.extend(lines.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())));
    }
    found
}

#[test]
fn the_top_level_is_as_agreed() {
    let first = |path: &String| path.split('/').next().map(str::to_owned);
    let top: BTreeSet<_> = files().iter().filter_map(first).collect();

    let visible: Vec<_> = top.iter().filter(|name| !name.starts_with('.')).collect();

    assert_eq!(visible, TOP);
}

#[test]
fn no_file_is_longer_than_the_limit_and_half_are_short() {
    let mut lengths: Vec<_> = rust_sources()
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .collect();
    lengths.sort();

    let too_long: Vec<_> = lengths.iter().filter(|(length, _)| *length > LONGEST).collect();

    assert!(too_long.is_empty(), "{too_long:?}");
    assert!(
        lengths[lengths.len() / 2].0 <= MEDIAN,
        "the median is {:?}",
        lengths[lengths.len() / 2]
    );
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let sources = rust_sources();
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! "));

    assert_none(&silent.map(|source| source.path.clone()).collect::<Vec<_>>());
}

#[test]
fn unsafe_code_is_only_in_sys() {
    let word = "unsafe";
    let found = offending_lines(&rust_sources(), |source, line| {
        !source.path.contains("/sys/")
            && line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|token| token == word)
    });

    assert_none(&found);
}

#[test]
fn every_crate_but_sys_forbids_unsafe_code() {
    let is_root = |path: &str| {
        ["src/lib.rs", "src/main.rs"].iter().any(|root| path.ends_with(root))
            && !path.contains("/sys/")
    };
    let sources = rust_sources();
    let attribute = "#![forbid(unsafe_code)]";
    let open = sources.iter().filter(|s| is_root(&s.path) && !s.text.contains(attribute));

    assert_none(&open.map(|source| source.path.clone()).collect::<Vec<_>>());
}

#[test]
fn no_lint_is_allowed_and_no_test_ignored() {
    assert_none(&offending_lines(&rust_sources(), |_, line| {
        line.contains("[allow(") || line.contains("#[ignore")
    }));
}

#[test]
fn work_that_is_left_names_its_issue() {
    let bare = |line: &str| line.matches("TODO").count() > line.matches("TODO(#").count();
    let mut found = Vec::new();
    for source in rust_sources().iter().filter(|source| source.path != THIS_FILE) {
        let lines = (1..).zip(source.text.lines()).filter(|(_, line)| bare(line));
        found.extend(lines.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())));
    }

    assert_none(&found);
}

#[test]
fn every_crate_has_the_workspaces_lints() {
    let is_manifest = |path: &String| path.ends_with("/Cargo.toml");
    let text = |path: &String| fs::read_to_string(top().join(path)).unwrap_or_default();
    let inherits = |path: &String| text(path).contains("[lints]\nworkspace = true");

    let found: Vec<_> =
        files().into_iter().filter(|path| is_manifest(path) && !inherits(path)).collect();

    assert_none(&found);
}

#[test]
fn a_layer_of_the_monitor_uses_no_layer_above_it() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let found = offending_lines(&rust_sources(), |source, line| {
        let Some(path) = source.path.strip_prefix("monitor/src/") else {
            return false;
        };
        let own = path.split(['/', '.']).next().and_then(layer);
        let used = line.split("crate::").skip(1).filter_map(|rest| {
            layer(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?)
        });
        own.is_some_and(|own| used.into_iter().any(|used| used < own))
    });

    assert_none(&found);
}

#[test]
fn the_monitor_names_its_platforms_in_one_place() {
    let knows = ["monitor/src/platform/", "monitor/src/main.rs", "monitor/src/cli"];
    let found = offending_lines(&rust_sources(), |source, line| {
        source.path.starts_with("monitor/src/")
            && !knows.iter().any(|place| source.path.starts_with(place))
            && [concat!("KV", "M"), concat!("KK", "M")].iter().any(|name| line.contains(name))
    });

    assert_none(&found);
}
