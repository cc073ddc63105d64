//! Verbs in many orders: statuses, exit codes and the phrases that engines match on.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::time::Duration;

use anyhow::ensure;
use conformance::{Stage, assert_same, failure};
use integration::outcome::{self, End};
use integration::runtime::Runtime;

/// A process that lives until it is killed.
const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// All signals but those of real time.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// How long a process is watched that shall outlive a signal.
const MOMENT: Duration = Duration::from_millis(200);

/// How long a signal may take to end a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that ends at once.
const TRUE: [&str; 1] = ["/bin/true"];

/// A call and what an engine sees of its failure.
macro_rules! fails {
    ($stage:ident, $($arg:expr),+) => { failure(&$stage.runtime.call([$($arg),+])?) };
}

fn created(stage: &Stage) -> anyhow::Result<()> {
    stage.create("box")
}

fn running(stage: &Stage) -> anyhow::Result<()> {
    created(stage)?;
    stage.runtime.must(["start", "box"]).map(drop)
}

fn stopped(stage: &Stage) -> anyhow::Result<()> {
    running(stage)?;
    stage.runtime.must(["kill", "box", "KILL"])?;
    stage.runtime.wait_for_status("box", "stopped")
}

#[test]
fn a_container_is_created_then_running_then_stopped_then_gone() {
    assert_same(&SLEEP, |stage| {
        let mut seen = Vec::new();
        created(stage)?;
        seen.push(stage.runtime.status("box")?);
        stage.runtime.must(["start", "box"])?;
        seen.push(stage.runtime.status("box")?);
        stage.runtime.must(["kill", "box", "KILL"])?;
        stage.runtime.wait_for_status("box", "stopped")?;
        stage.runtime.must(["delete", "box"])?;
        Ok((seen, fails!(stage, "state", "box"), stage.runtime.state_entries()))
    });
}

#[test]
fn a_process_that_ends_stops_its_container() {
    assert_same(&TRUE, |stage| {
        running(stage)?;
        stage.runtime.wait_for_status("box", "stopped")?;
        Ok(failure(&stage.runtime.must(["delete", "box"])?))
    });
}

#[test]
fn a_container_that_is_not_there_is_told_so_by_every_verb() {
    assert_same(&TRUE, |stage| {
        Ok([
            fails!(stage, "state", "box"),
            fails!(stage, "start", "box"),
            fails!(stage, "kill", "box"),
            fails!(stage, "delete", "box"),
            fails!(stage, "delete", "--force", "box"),
        ])
    });
}

#[test]
fn a_created_container_takes_and_refuses_what_runcs_does() {
    assert_same(&SLEEP, |stage| {
        created(stage)?;
        let again = failure(&stage.with_bundle(&["create"], &["box"])?);
        let delete = fails!(stage, "delete", "box");
        Ok((again, delete, fails!(stage, "state", "box")))
    });
}

#[test]
fn a_signal_that_is_ignored_leaves_a_created_container_created() {
    assert_same(&SLEEP, |stage| {
        created(stage)?;
        stage.runtime.must(["kill", "box", "CONT"])?;
        let after = stage.runtime.status("box")?;
        let start = fails!(stage, "start", "box");
        Ok((after, start, stage.runtime.status("box")?))
    });
}

/// Signals that end a created container.
const END_IT: [&str; 13] = [
    "ABRT", "BUS", "FPE", "HUP", "ILL", "INT", "KILL", "QUIT", "SEGV", "STKFLT", "SYS", "TERM",
    "TRAP",
];

/// The signals that end a created container. For those that shall, it has the time that it takes.
fn ends_of(runtime: anyhow::Result<Runtime>) -> anyhow::Result<Vec<&'static str>> {
    let stage = Stage::new(runtime?, &SLEEP)?;
    let mut ends = Vec::new();
    for name in SIGNALS {
        stage.create("box")?;
        stage.runtime.must(["kill", "box", name])?;
        let is_stopped = || stage.runtime.status("box").is_ok_and(|status| status == "stopped");
        let time = if END_IT.contains(&name) { PATIENCE } else { MOMENT };
        if outcome::eventually(time, is_stopped) {
            ends.push(name);
        } else {
            let status = stage.runtime.status("box")?;
            ensure!(status == "created", "after {name} it is {status}");
        }
        stage.runtime.must(["delete", "--force", "box"])?;
    }
    stage.finish()?;
    ends.sort_unstable();
    Ok(ends)
}

#[test]
fn the_signals_that_end_a_created_container_are_known() {
    for (how, runtime) in [
        ("runc", Runtime::runc()),
        ("krun", Runtime::krun()),
        ("natively", Runtime::krun_natively()),
    ] {
        assert_eq!(ends_of(runtime).unwrap(), END_IT, "{how}");
    }
}

#[test]
fn a_created_container_that_is_killed_stops() {
    assert_same(&SLEEP, |stage| {
        created(stage)?;
        stage.runtime.must(["kill", "box", "KILL"])?;
        stage.runtime.wait_for_status("box", "stopped")?;
        Ok((fails!(stage, "start", "box"), fails!(stage, "delete", "box")))
    });
}

#[test]
fn a_running_container_takes_and_refuses_what_runcs_does() {
    assert_same(&SLEEP, |stage| {
        running(stage)?;
        let again = fails!(stage, "start", "box");
        let delete = fails!(stage, "delete", "box");
        let alive = fails!(stage, "kill", "box", "0");
        Ok((again, delete, alive, stage.runtime.status("box")?))
    });
}

#[test]
fn a_stopped_container_takes_and_refuses_what_runcs_does() {
    assert_same(&SLEEP, |stage| {
        stopped(stage)?;
        let start = fails!(stage, "start", "box");
        let kill = fails!(stage, "kill", "box", "TERM");
        let all = fails!(stage, "kill", "--all", "box", "KILL");
        let again = failure(&stage.with_bundle(&["create"], &["box"])?);
        Ok((start, kill, all, again, fails!(stage, "delete", "box")))
    });
}

#[test]
fn a_running_container_is_deleted_by_force() {
    assert_same(&SLEEP, |stage| {
        running(stage)?;
        let delete = fails!(stage, "delete", "--force", "box");
        let twice = fails!(stage, "delete", "--force", "box");
        Ok((delete, twice, stage.runtime.state_entries()))
    });
}

#[test]
fn a_signal_has_three_names() {
    for name in ["9", "KILL", "SIGKILL"] {
        assert_same(&SLEEP, |stage| {
            running(stage)?;
            let kill = fails!(stage, "kill", "box", name);
            stage.runtime.wait_for_status("box", "stopped")?;
            Ok(kill)
        });
    }
}

#[test]
fn a_signal_that_has_no_such_name_is_refused() {
    assert_same(&SLEEP, |stage| {
        running(stage)?;
        let refused = fails!(stage, "kill", "box", "NOSUCH");
        Ok((refused, stage.runtime.status("box")?))
    });
}

#[test]
fn a_verb_with_too_few_or_too_many_arguments_is_refused() {
    assert_same(&TRUE, |stage| {
        let ends: Vec<End> = [
            fails!(stage, "create"),
            fails!(stage, "start"),
            fails!(stage, "state"),
            fails!(stage, "delete"),
            fails!(stage, "state", "one", "two"),
            fails!(stage, "create", "one", "two"),
        ]
        .map(|(end, _)| end)
        .into();
        Ok((ends, stage.runtime.state_entries()))
    });
}

#[test]
fn a_container_is_recreated_under_an_id_that_was_deleted() {
    assert_same(&TRUE, |stage| {
        for _ in 0..3 {
            running(stage)?;
            stage.runtime.wait_for_status("box", "stopped")?;
            stage.runtime.must(["delete", "box"])?;
        }
        Ok(stage.runtime.state_entries())
    });
}

#[test]
fn containers_with_different_ids_do_not_meet() {
    assert_same(&SLEEP, |stage| {
        let cgroup = |name: &str| format!("{}/{name}", stage.bundle.footprint.cgroup());
        let paths = [cgroup("one"), cgroup("two")];
        for (id, path) in ["one", "two"].into_iter().zip(paths) {
            stage.bundle.change(|spec| spec["linux"]["cgroupsPath"] = path.into())?;
            stage.create(id)?;
        }
        stage.runtime.must(["delete", "--force", "one"])?;
        Ok((fails!(stage, "state", "one"), stage.runtime.status("two")?))
    });
}
