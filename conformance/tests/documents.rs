//! What engines read: state JSON, pid files, log lines, version and features.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use conformance::{Stage, assert_same};
use integration::outcome;
use integration::runtime::Runtime;
use serde_json::{Value, json};

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// Keys and the JSON type of each.
fn shape(value: &Value) -> BTreeMap<String, &'static str> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), kind(value))).collect()
}

/// `state` of something that is not there, with these global options before.
fn fail_with(stage: &Stage, options: &[&str], log: &Path) -> Result<String> {
    let mut command = Command::new(stage.runtime.program());
    command.arg("--root").arg(stage.runtime.root()).arg("--log").arg(log);
    let outcome = outcome::run(command.args(options).args(["state", "missing"]), None)?;
    Ok(outcome.stderr())
}

/// The state's shape without what krun adds to it.
fn state_shape(stage: &Stage) -> Result<BTreeMap<String, &'static str>> {
    let mut shape = shape(&stage.runtime.state("box")?);
    for added in ["mode", "rule"] {
        assert!(shape.remove(added).is_none_or(|kind| kind == "string"), "{added}");
    }
    Ok(shape)
}

#[test]
fn the_state_has_runcs_keys_and_types() {
    assert_same(&SLEEP, |stage| {
        stage.bundle.change(|spec| spec["annotations"] = json!({"org.example": "yes"}))?;
        stage.create("box")?;
        let mut shapes = vec![state_shape(stage)?];
        stage.runtime.must(["start", "box"])?;
        shapes.push(state_shape(stage)?);
        stage.runtime.must(["kill", "box", "KILL"])?;
        stage.runtime.wait_for_status("box", "stopped")?;
        shapes.push(state_shape(stage)?);
        Ok(shapes)
    });
}

#[test]
fn the_state_tells_id_bundle_annotations_and_a_living_process() {
    assert_same(&SLEEP, |stage| {
        stage.bundle.change(|spec| spec["annotations"] = json!({"org.example": "yes"}))?;
        stage.create("box")?;
        let state = stage.runtime.state("box")?;
        let bundle = stage.bundle.path().to_string_lossy().into_owned();
        let lives = Path::new("/proc").join(state["pid"].to_string()).exists();
        let id = state["id"].clone();
        Ok((id, state["bundle"] == bundle, lives, state["annotations"].clone()))
    });
}

#[test]
fn a_stopped_containers_process_is_0() {
    assert_same(&SLEEP, |stage| {
        stage.create("box")?;
        stage.runtime.must(["kill", "box", "KILL"])?;
        stage.runtime.wait_for_status("box", "stopped")?;
        Ok(stage.runtime.state("box")?["pid"].clone())
    });
}

#[test]
fn the_pid_file_is_the_number_and_nothing_else() {
    assert_same(&SLEEP, |stage| {
        let file = stage.bundle.path().join("pid");
        stage.with_bundle(&["create", "--pid-file", &file.to_string_lossy()], &["box"])?;
        let number = stage.runtime.state("box")?["pid"].to_string();
        Ok(fs::read_to_string(file)? == number)
    });
}

#[test]
fn an_error_is_one_json_line_in_the_log_and_plain_text_on_stderr() {
    assert_same(&SLEEP, |stage| {
        let log = stage.bundle.path().join("log.json");
        let stderr = fail_with(stage, &["--log-format", "json"], &log)?;
        let text = fs::read_to_string(&log)?;
        let line: Value = serde_json::from_str(text.lines().last().context("a line")?)?;
        let message = line["msg"].as_str().unwrap_or_default();
        Ok((shape(&line), line["level"].clone(), stderr.contains(message), message.to_owned()))
    });
}

#[test]
fn a_log_is_appended_to() {
    assert_same(&SLEEP, |stage| {
        let log = stage.bundle.path().join("log.json");
        fs::write(&log, "{\"level\":\"info\",\"msg\":\"earlier\"}\n")?;
        fail_with(stage, &["--log-format", "json"], &log)?;
        Ok(fs::read_to_string(&log)?.lines().next().map(str::to_owned))
    });
}

#[test]
fn a_text_log_has_runcs_form() {
    assert_same(&SLEEP, |stage| {
        let log = stage.bundle.path().join("log");
        fail_with(stage, &[], &log)?;
        let text = fs::read_to_string(&log)?;
        let line = text.lines().last().unwrap_or_default();
        Ok((line.starts_with("time=\""), line.split(' ').skip(1).collect::<Vec<_>>().join(" ")))
    });
}

#[test]
fn the_version_has_the_lines_that_docker_reads() {
    assert_same(&SLEEP, |stage| {
        let text = stage.runtime.must(["--version"])?.stdout();
        let has = |word: &str| text.lines().any(|line| line.starts_with(word));
        let first = text.lines().next().unwrap_or_default();
        Ok((first.split(' ').nth(1).map(str::to_owned), has("commit: "), has("spec: ")))
    });
}

#[test]
fn the_features_have_at_least_runcs_keys() {
    let features = |runtime: Result<Runtime>| -> Result<Value> {
        Ok(serde_json::from_slice(&runtime?.must(["features"])?.stdout)?)
    };
    let expected = features(Runtime::runc()).unwrap();
    let got = features(Runtime::krun()).unwrap();

    let missing = |expected: &Value, got: &Value| -> Vec<String> {
        shape(expected)
            .into_iter()
            .filter(|pair| shape(got).get(&pair.0) != Some(&pair.1))
            .map(|(key, kind)| format!("{key}: {kind}"))
            .collect()
    };

    assert_eq!(missing(&expected, &got), Vec::<String>::new());
    assert_eq!(missing(&expected["linux"], &got["linux"]), Vec::<String>::new());
}
