//! What is written to `--log`, in both formats, by commands that fail and by ones that do not.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;

use anyhow::{Context as _, Result, ensure};
use conformance::failures::{FAILURES, Failure};
use conformance::{Stage, is_time};
use integration::outcome::Outcome;
use integration::runtime::Runtime;
use serde_json::Value;

const LEVELS: [&str; 7] = ["panic", "fatal", "error", "warning", "info", "debug", "trace"];

/// One failure of each kind: before there is a container, while one is made, on one that is there.
fn failures() -> impl Iterator<Item = &'static Failure> {
    let phrases = [
        "container does not exist",
        "exec: \"/etc/passwd\": permission denied",
        "not a directory",
        "cannot start an already running container",
        "exec failed: cannot exec in a stopped container",
        "unknown signal \"NOSUCH\"",
        "invalid container ID format",
    ];
    phrases.into_iter().map(|phrase| {
        let found = FAILURES.iter().find(|one| one.phrase == phrase);
        found.unwrap_or_else(|| panic!("no failure has the phrase {phrase:?}"))
    })
}

/// What a failure leaves in the log, with these options behind `--log`.
fn logged(
    runtime: Result<Runtime>,
    failure: &Failure,
    options: &[&str],
) -> Result<(String, Outcome)> {
    let mut stage = Stage::new(runtime?, &["/bin/sleep", "1000"])?;
    let log = stage.bundle.path().join("log");
    let file = log.to_string_lossy().into_owned();
    let outcome = failure.bring_about(&mut stage, &[&["--log", &file], options].concat())?;
    let text = fs::read_to_string(log)?;
    stage.finish()?;
    Ok((text, outcome))
}

fn ensure_json(text: &str, outcome: &Outcome) -> Result<()> {
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>();
    let lines = lines.with_context(|| format!("each line is JSON: {text}"))?;
    for line in &lines {
        let word = |name: &str| line[name].as_str().with_context(|| format!("{name}: {line}"));
        ensure!(LEVELS.contains(&word("level")?), "{line}");
        ensure!(is_time(word("time")?), "{line}");
        ensure!(!word("msg")?.trim().is_empty(), "{line}");
    }
    let errors = lines.iter().filter(|line| line["level"] == "error").count();
    let last = lines.last().context("there is a line")?;
    ensure!(errors == 1 && last["level"] == "error", "one error, and it comes last: {text}");
    let message = last["msg"].as_str().unwrap_or_default();
    ensure!(outcome.stderr().contains(message), "{message:?} is not in {outcome:?}");
    Ok(())
}

fn ensure_text(text: &str) -> Result<()> {
    for line in text.lines() {
        let rest = line.strip_prefix("time=\"").context("it begins with the time")?;
        let (time, rest) = rest.split_once("\" level=").context("the level follows")?;
        let (level, rest) = rest.split_once(" msg=").context("and the message")?;
        ensure!(is_time(time) && LEVELS.contains(&level), "{line}");
        ensure!(!rest.trim_matches(['"', ' ']).is_empty(), "no message: {line}");
    }
    let last = text.lines().last().unwrap_or_default();
    ensure!(last.contains(" level=error "), "the error comes last: {text}");
    Ok(())
}

#[track_caller]
fn assert_for_all(check: impl Fn(Result<Runtime>, &Failure) -> Result<()>) {
    for failure in failures() {
        for (name, runtime) in [
            ("runc", Runtime::runc()),
            ("krun", Runtime::krun()),
            ("natively", Runtime::krun_natively()),
        ] {
            let checked = check(runtime, failure);
            assert!(checked.is_ok(), "{name}: {failure:?}: {checked:?}");
        }
    }
}

#[test]
fn a_json_log_is_one_object_a_line_and_ends_with_the_error() {
    for options in [&["--log-format", "json"][..], &["--log-format=json", "--debug"]] {
        assert_for_all(|runtime, failure| {
            let (text, outcome) = logged(runtime, failure, options)?;
            ensure_json(&text, &outcome)
        });
    }
}

#[test]
fn a_text_log_has_the_same_fields_and_ends_with_the_error() {
    for options in [&[][..], &["--log-format", "text"]] {
        assert_for_all(|runtime, failure| ensure_text(&logged(runtime, failure, options)?.0));
    }
}

#[test]
fn without_a_log_the_lines_go_to_standard_error() {
    assert_for_all(|runtime, failure| {
        let mut stage = Stage::new(runtime?, &["/bin/sleep", "1000"])?;
        let text = failure.bring_about(&mut stage, &[])?.stderr();
        stage.finish()?;
        ensure_text(&text)
    });
    assert_for_all(|runtime, failure| {
        let mut stage = Stage::new(runtime?, &["/bin/sleep", "1000"])?;
        let outcome = failure.bring_about(&mut stage, &["--log-format", "json"])?;
        stage.finish()?;
        let message: Value = serde_json::from_str(outcome.stderr().lines().last().unwrap_or(""))?;
        let text = message["msg"].as_str().unwrap_or_default();
        ensure!(message["level"] == "error" && !text.trim().is_empty(), "{outcome:?}");
        Ok(())
    });
}

#[test]
fn a_command_that_succeeds_logs_no_error() {
    for (name, runtime) in [("runc", Runtime::runc()), ("krun", Runtime::krun())] {
        let stage = Stage::new(runtime.unwrap(), &["/bin/true"]).unwrap();
        let log = stage.bundle.path().join("log");
        let options = ["--log", &log.to_string_lossy(), "--log-format", "json", "--debug"];

        let ran = stage.with_bundle(&[&options[..], &["run"]].concat(), &["box"]).unwrap();

        assert!(ran.is_success(), "{name}: {ran:?}");
        let text = fs::read_to_string(&log).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let levels: Vec<Value> = lines.map(|line: Value| line["level"].clone()).collect();
        assert!(levels.iter().any(|level| level == "debug"), "{name}: {text}");
        assert!(!levels.iter().any(|level| level == "error"), "{name}: {text}");
        stage.finish().unwrap();
    }
}

/// The steps on the way to a program, by runc's names for them.
#[test]
fn debug_tells_of_the_steps_in_the_words_of_runc() {
    let steps = ["nsexec container setup", "child process in init()"];
    let waits = "init: closing the pipe to signal completion";
    let enters = "setns_init: about to exec";
    for runtime in [Runtime::runc(), Runtime::krun(), Runtime::krun_natively()] {
        let stage = Stage::new(runtime.unwrap(), &["/bin/sleep", "1000"]).unwrap();
        let log = |name: &str| stage.bundle.path().join(name).to_string_lossy().into_owned();
        let options = |file| ["--debug", "--log", file].map(str::to_owned);
        let [created, entered] = ["created", "entered"].map(log);

        let create = [&options(&created)[..], &["create".to_owned()]].concat();
        let words: Vec<_> = create.iter().map(String::as_str).collect();
        let outcome = stage.with_bundle(&words, &["box"]).unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        stage.runtime.must(["start", "box"]).unwrap();
        let exec = [&options(&entered)[..], &["exec", "box", "true"].map(str::to_owned)].concat();
        stage.runtime.must(&exec).unwrap();

        for (file, last) in [(&created, waits), (&entered, enters)] {
            let text = fs::read_to_string(file).unwrap();
            let places = steps.iter().chain([&last]).map(|step| text.find(step));
            let places: Option<Vec<_>> = places.collect();
            assert!(places.is_some_and(|places| places.is_sorted()), "{text}");
        }
        stage.finish().unwrap();
    }
}
