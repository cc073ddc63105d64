//! Every phrase of runc's messages that an engine acts upon, and the command that brings it about.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::thread;

use anyhow::{Context as _, Result};
use conformance::Stage;
use conformance::failures::{FAILURES, Failure};
use integration::outcome::End;
use integration::runtime::Runtime;

/// How the command ended, and whether its message has the phrase.
fn outcome(runtime: Result<Runtime>, failure: &Failure) -> Result<(End, Result<(), String>)> {
    let mut stage = Stage::new(runtime?, &["/bin/sleep", "1000"])?;
    let log = stage.bundle.path().join("log.json");
    let options = ["--log", &log.to_string_lossy(), "--log-format", "json"];
    let outcome = failure.bring_about(&mut stage, &options)?;
    let message = outcome.stderr();
    stage.finish().with_context(|| message.clone())?;
    Ok((outcome.end, if message.contains(failure.phrase) { Ok(()) } else { Err(message) }))
}

/// What is wrong with one row of the table.
fn fault(failure: &Failure) -> Option<String> {
    let expected = match outcome(Runtime::runc(), failure) {
        Ok((end, Ok(()))) => end,
        other => return Some(format!("runc itself: {failure:?}: {other:?}")),
    };
    [("krun", Runtime::krun()), ("natively", Runtime::krun_natively())].into_iter().find_map(
        |(how, runtime)| match outcome(runtime, failure) {
            Ok((end, Ok(()))) if end == expected => None,
            other => Some(format!("{how}: {failure:?}, {expected:?} expected: {other:?}")),
        },
    )
}

#[test]
fn every_phrase_that_engines_act_upon_is_in_the_message() {
    let half = FAILURES.len().div_ceil(2);
    let faults: Vec<String> = thread::scope(|scope| {
        let judges = FAILURES
            .chunks(half)
            .map(|rows| scope.spawn(move || rows.iter().filter_map(fault).collect::<Vec<_>>()));
        let judges: Vec<_> = judges.collect();
        judges.into_iter().flat_map(|judge| judge.join().expect("no row panics")).collect()
    });

    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
