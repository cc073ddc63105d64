//! Command lines that are wrong: the exit codes are runc's. The words are krun's own.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use conformance::assert_same;

/// Lines that neither has a meaning for.
const WRONG: &[&[&str]] = &[
    &["nosuch"],
    &["nosuch", "box"],
    &["help", "nosuch"],
    &["--nosuch"],
    &["--nosuch", "list"],
    &["--log-format", "nosuch", "list"],
    &["create"],
    &["create", "one", "two"],
    &["create", "--nosuch", "box"],
    &["create", "--preserve-fds", "x", "box"],
    &["run"],
    &["start"],
    &["start", "--nosuch", "box"],
    &["state"],
    &["state", "one", "two"],
    &["kill"],
    &["kill", "box", "KILL", "more"],
    &["kill", "box", "NOSUCH"],
    &["delete"],
    &["delete", "one", "two"],
    &["exec"],
    &["exec", "box"],
    &["exec", "--nosuch", "box", "true"],
    &["exec", "--preserve-fds", "x", "box", "true"],
    &["ps"],
    &["list", "more"],
    &["list", "--format", "nosuch"],
    &["list", "--nosuch"],
    &["events"],
    &["pause"],
    &["resume"],
    &["update"],
    &["update", "--pids-limit", "x", "box"],
    &["spec", "more"],
    &["features", "more"],
    &["checkpoint"],
    &["restore"],
];

#[test]
fn a_wrong_command_line_has_runcs_exit_code() {
    assert_same(&["/bin/true"], |stage| {
        let mut ends = Vec::new();
        for words in WRONG {
            ends.push((words, stage.runtime.call(*words)?.end));
        }
        Ok(ends)
    });
}

#[test]
fn help_and_version_are_no_faults() {
    assert_same(&["/bin/true"], |stage| {
        let lines: [&[&str]; 6] =
            [&[], &["help"], &["-h"], &["--version"], &["help", "start"], &["start", "--help"]];
        lines
            .into_iter()
            .map(|words| Ok((words, stage.runtime.call(words)?.end)))
            .collect::<anyhow::Result<Vec<_>>>()
    });
}

#[test]
fn of_a_container_that_is_not_there_a_signal_is_not_looked_at() {
    assert_same(&["/bin/true"], |stage| {
        Ok(conformance::failure(&stage.runtime.call(["kill", "box", "NOSUCH"])?))
    });
}
