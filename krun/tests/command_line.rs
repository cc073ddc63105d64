//! The command line as callers meet it, as far as it needs neither root nor a device.
//!
//! What a container does is tested in `integration/`, with the real monitor.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn krun(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_krun")).args(arguments).output().expect("krun is built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A state directory, as an argument.
fn root(directory: &TempDir) -> String {
    directory.path().join("root").display().to_string()
}

/// A bundle with this `config.json`, as an argument.
fn bundle(directory: &TempDir, config: &str) -> String {
    fs::write(directory.path().join("config.json"), config)
        .expect("a temporary directory can be written");
    directory.path().display().to_string()
}

#[test]
fn the_version_has_the_three_lines_dockerd_looks_for() {
    let output = krun(&["--version"]);

    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("krun version "), "{text}");
    assert!(lines[1].starts_with("commit: "), "{text}");
    assert_eq!(&lines[2..], ["spec: 1.3.0"]);
}

#[test]
fn features_are_printed_as_json_without_privileges() {
    let output = krun(&["features"]);

    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(output.status.success());
    assert_eq!(document["ociVersionMin"], "1.0.0");
    assert_eq!(document["linux"]["cgroup"]["v1"], true);
}

#[test]
fn a_wrong_command_line_is_told_in_the_log_wherever_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log").display().to_string();
    let option = format!("--log={log}");

    for arguments in [
        &["--nosuch", "--log", &log, "--log-format", "json", "list"][..],
        &[&option, "--log-format=json", "list", "--nosuch"],
    ] {
        let output = krun(arguments);

        assert_eq!(output.status.code(), Some(1));
        let text = fs::read_to_string(&log).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        let message = line["msg"].as_str().unwrap();
        assert!(message.starts_with("unexpected argument '--nosuch' found"), "{message}");
        assert!(message.contains("Usage: krun") && !message.contains('\n'), "{message}");
        assert!(stderr(&output).contains("--nosuch"));
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn a_file_that_a_containers_arguments_name_is_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");

    let output = krun(&["--nosuch", "exec", "box", "sh", "--log", &victim.display().to_string()]);

    assert_eq!(output.status.code(), Some(1));
    assert!(!victim.exists());
}

#[test]
fn a_container_that_is_not_there_is_told_in_runcs_words() {
    let directory = tempfile::tempdir().unwrap();
    let root = root(&directory);

    for arguments in [["state", "x"], ["start", "x"], ["kill", "x"], ["delete", "x"]] {
        let output = krun(&[&["--root", &root], arguments.as_slice()].concat());

        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains("msg=\"container does not exist\""), "{arguments:?}");
    }
    assert!(krun(&["--root", &root, "delete", "--force", "x"]).status.success());
}

#[test]
fn an_error_is_one_json_line_in_the_log_and_plain_on_standard_error() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log.json");
    let log_argument = log.display().to_string();

    let output = krun(&[
        "--root",
        &root(&directory),
        "--log",
        &log_argument,
        "--log-format",
        "json",
        "state",
        "x",
    ]);

    let text = fs::read_to_string(log).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"], "container does not exist");
    assert!(line["time"].is_string());
    assert_eq!(stderr(&output), "container does not exist\n");
}

#[test]
fn all_faults_of_a_bundle_are_told_at_once_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let root = root(&directory);
    let bundle = bundle(&directory, r#"{"ociVersion":"1.0.2","process":{"args":[],"cwd":"x"}}"#);

    // Options may follow the container's name.
    let output = krun(&["--root", &root, "create", "x", "--bundle", &bundle]);

    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    for words in [
        "runc create failed: ",
        "config.json: 3 faults",
        "root.path: found nothing",
        "process.args: found an empty list",
        "process.cwd: found \\\"x\\\", expected an absolute path",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert!(!Path::new(&root).exists());
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    let directory = tempfile::tempdir().unwrap();

    let output = krun(&["--root", &root(&directory), "create", "../x"]);

    assert!(stderr(&output).contains("invalid container ID format"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_is_exit_code_1_but_for_an_unknown_verb() {
    for (arguments, code) in
        [(["create"].as_slice(), 1), (&["nosuch"], 3), (&["--nosuch"], 1), (&["kill"], 1)]
    {
        let output = krun(arguments);

        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
