//! What `kontain check --run` leaves, and says, where krun does not do what it should.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kontain::{Finding, Status};
use tempfile::TempDir;

/// Starts `check --run` with a script in the place of krun, which finds its own directory in `$HERE`.
fn start(script: &str, timeout: &str) -> Result<(Child, TempDir)> {
    let directory = tempfile::Builder::new().prefix("kontain-fake").tempdir()?;
    let krun = directory.path().join("krun");
    let here = directory.path().display();
    fs::write(
        &krun,
        format!("#!/bin/sh\nHERE={here}\ncase $3 in delete) exit 0;; esac\n{script}\n"),
    )?;
    fs::set_permissions(&krun, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    command.args(["check", "--run", "--json", "--timeout", timeout, "--binary"]).arg(krun);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    Ok((child, directory))
}

/// The smoke container's finding, when it has ended, with the exit code, and what is left.
fn end(child: Child) -> Result<(Finding, Option<i32>, Vec<PathBuf>)> {
    let number = child.id();
    let output = child.wait_with_output()?;
    let all: Vec<Finding> = serde_json::from_slice(&output.stdout)?;
    let smoke = all.into_iter().find(|finding| finding.id == "smoke").context("no finding")?;
    Ok((smoke, output.status.code(), left(number)))
}

fn left(number: u32) -> Vec<PathBuf> {
    let prefix = format!("kontain-check-{number}-");
    let entries = fs::read_dir("/run").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_its = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    };
    entries.filter(is_its).collect()
}

fn wait_until(is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    is_so()
}

fn lives(file: &Path) -> bool {
    // Who has not written it yet does not live: `/proc//stat` is another file.
    let Ok(pid) = fs::read_to_string(file).unwrap_or_default().trim().parse::<u32>() else {
        return false;
    };
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_krun_that_fails_is_quoted() {
    let (child, _directory) =
        start("echo 'krun: open /dev/kvm: no room' >&2; exit 1", "20").unwrap();

    let (smoke, code, left) = end(child).unwrap();

    assert_eq!((smoke.status, code), (Status::Fail, Some(1)));
    assert!(smoke.why.contains("open /dev/kvm: no room") && !smoke.fix.is_empty(), "{smoke:?}");
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn what_did_not_run_in_a_machine_is_no_success() {
    let (child, _directory) = start("uname -r", "20").unwrap();

    let (smoke, _, left) = end(child).unwrap();

    assert_eq!(smoke.status, Status::Fail);
    assert!(smoke.why.contains("natively"), "{smoke:?}");
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn a_krun_that_hangs_is_killed() {
    let (child, directory) = start("echo $$ >$HERE/pid; sleep 600", "1").unwrap();

    let (smoke, code, left) = end(child).unwrap();

    assert_eq!((smoke.status, code), (Status::Fail, Some(1)));
    assert!(smoke.why.contains("was killed"), "{smoke:?}");
    assert!(!lives(&directory.path().join("pid")));
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn who_kills_kontain_leaves_nothing() {
    let (mut child, directory) = start("echo $$ >$HERE/pid; sleep 600", "600").unwrap();
    let pid = directory.path().join("pid");
    assert!(wait_until(|| lives(&pid) && !left(child.id()).is_empty()), "it did not start");

    child.kill().unwrap();
    child.wait().unwrap();

    assert!(wait_until(|| !lives(&pid) && left(child.id()).is_empty()), "{:?}", left(child.id()));
}

#[test]
fn an_images_directory_is_not_run() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));

    let output = command.args(["check", "--run", "--root", "/"]).output().unwrap();

    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn lives_of_containers_are_measured() {
    let script = "case $3 in --stats) echo 'km: 1: helper: not used; an exit takes 0.9 µs; 0 wakes' >&2;; esac
        echo $(uname -r).kontain.KVM; echo $* >>$HERE/calls";
    let (mut child, directory) = start(script, "20").unwrap();
    child.wait().unwrap();
    let without = fs::read_to_string(directory.path().join("calls")).unwrap().lines().count();

    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    command.args(["check", "--bench", "--json", "--binary"]).arg(directory.path().join("krun"));
    let output = command.output().unwrap();

    let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
    let all: Vec<Finding> = serde_json::from_slice(&output.stdout).unwrap();
    let life = all.iter().find(|finding| finding.id == "life").expect("it was measured");
    assert_eq!(without, 1, "only with --bench");
    // A runc may be there, and finds nothing that the script has not done.
    let is_own = life.status == Status::Ok || life.why.contains("runc");
    assert!(is_own && life.nanoseconds.is_none_or(|time| time > 0), "{life:?}");
    assert!(life.status != Status::Ok || calls.lines().count() == 2 + 11, "{calls}");
}
