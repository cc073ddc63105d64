//! krun's configuration: what an administrator sets for a node without a word in any engine's file.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome};
use integration::runtime::{ALL_NATIVE, Runtime};
use serde_json::Value;
use tempfile::TempDir;

const SCRIPT: [&str; 3] = ["/bin/sh", "-c", "uname -r"];

/// A directory of settings.
fn settings(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory can be made");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
    }
    directory
}

fn krun(directory: &Path) -> Runtime {
    let options = ["--config-dir".as_ref(), directory.as_os_str()];
    Runtime::krun().expect("krun is built").with_options(options)
}

/// Runs a container on a host with these settings, and with these variables.
fn run(directory: &Path, variables: &[(&str, &str)], options: &[&str]) -> Outcome {
    let bundle = Bundle::with_args(&SCRIPT).expect("a bundle can be made");
    let path = bundle.path().to_str().expect("it is text");
    let runtime = krun(directory).with_options(options.iter().copied());
    let mut command = runtime.command(["run", "--bundle", path, "set"]);
    command.envs(variables.iter().copied());
    let outcome = outcome::run(&mut command, None).expect("it ends");
    bundle.footprint.ensure_nothing_is_left().expect("krun leaves nothing");
    outcome
}

fn has_suffix(outcome: &Outcome) -> bool {
    assert!(outcome.is_success(), "{outcome:?}");
    outcome.stdout().contains(".kontain.")
}

#[test]
fn a_container_goes_by_files_then_variables_then_options() {
    let directory = settings(&[
        ("krun.toml", "release_suffix = true\n"),
        ("krun.d/10.toml", "release_suffix = false\nstats = true\n"),
    ]);
    let variable = [("KONTAIN_KRUN_RELEASE_SUFFIX", "true")];

    let usual = run(settings(&[]).path(), &[], &[]);
    let by_file = run(directory.path(), &[], &[]);
    let by_variable = run(directory.path(), &variable, &[]);
    let by_option = run(directory.path(), &variable, &["--no-release-suffix", "--stats=false"]);

    assert!(has_suffix(&usual) && usual.stderr().is_empty(), "{usual:?}");
    assert!(!has_suffix(&by_file) && by_file.stderr().contains("exits"), "{by_file:?}");
    assert!(has_suffix(&by_variable), "{by_variable:?}");
    assert!(!has_suffix(&by_option) && by_option.stderr().is_empty(), "{by_option:?}");
}

#[test]
fn a_file_names_the_directory_of_rules_and_no_variable_does() {
    let policy = settings(&[("10-all.toml", ALL_NATIVE)]);
    let path = policy.path().display().to_string();
    let directory = settings(&[("krun.toml", &format!("policy_dir = {path:?}\n"))]);
    let nothing = settings(&[]);

    assert!(!has_suffix(&run(directory.path(), &[], &[])));
    for name in ["KONTAIN_KRUN_POLICY_DIR", "KONTAIN_KRUN_MONITOR_FILTER"] {
        let refused = run(nothing.path(), &[(name, &path)], &[]);
        assert_eq!(refused.end, End::Exited(1), "{refused:?}");
        assert!(refused.stderr().contains("no variable sets what security needs"), "{refused:?}");
        assert!(refused.stderr().contains(name), "{refused:?}");
    }
}

#[test]
fn a_mistake_makes_no_container_and_is_told_where_callers_look() {
    let directory = settings(&[("krun.toml", "stat = true\n")]);
    let log = directory.path().join("log");
    let path = log.to_str().expect("it is text");

    let refused = run(directory.path(), &[], &["--log", path, "--log-format", "json"]);

    assert_eq!((refused.end, refused.stdout()), (End::Exited(1), String::new()), "{refused:?}");
    let log = fs::read_to_string(&log).expect("krun has written it");
    let line: Value = serde_json::from_str(log.lines().last().unwrap_or_default()).expect("JSON");
    let message = line["msg"].as_str().unwrap_or_default();
    assert!(
        message.contains("krun.toml: stat: there is no such setting: there are debug"),
        "{log}"
    );
}

#[test]
fn a_directory_that_is_asked_for_must_be_there() {
    let refused = run(Path::new("/nonexistent/kontain"), &[], &[]);

    assert_eq!(refused.end, End::Exited(1), "{refused:?}");
    assert!(
        refused.stderr().contains("configuration /nonexistent/kontain: no such"),
        "{refused:?}"
    );
}

#[test]
fn what_others_can_write_makes_no_container() {
    for name in ["krun.toml", "krun.d", "krun.d/10.toml"] {
        let directory = settings(&[("krun.toml", ""), ("krun.d/10.toml", "")]);
        let mode = Permissions::from_mode(0o777);
        fs::set_permissions(directory.path().join(name), mode).expect("it is ours");

        let refused = run(directory.path(), &[], &[]);

        assert_eq!(refused.end, End::Exited(1), "{name}: {refused:?}");
        assert!(refused.stderr().contains("others can write it: chmod go-w"), "{refused:?}");
    }
}

#[test]
fn what_runs_is_seen_and_ended_on_a_host_whose_settings_are_wrong() {
    let directory = settings(&[]);
    let bundle = Bundle::with_args(&["/bin/sleep", "1000"]).expect("a bundle can be made");
    let runtime = krun(directory.path());
    runtime.create(bundle.path(), "set").expect("nothing is wrong yet");
    fs::write(directory.path().join("krun.toml"), "nonsense").expect("it is ours");

    runtime.must(["start", "set"]).expect("it was made before");
    let state = runtime.call(["state", "set"]).expect("it ends");
    let exec = runtime.call(["exec", "set", "/bin/true"]).expect("it ends");
    runtime.must(["delete", "--force", "set"]).expect("it can be ended");

    let printed = state.stdout() + &state.stderr();
    let document: Value = serde_json::from_str(&printed).expect("JSON and nothing else");
    assert_eq!(document["status"], "running", "{printed}");
    assert_eq!(exec.end, End::Exited(255), "{exec:?}");
    assert!(exec.stderr().contains("configuration "), "{exec:?}");
    bundle.footprint.ensure_nothing_is_left().expect("krun leaves nothing");
}
