//! Containers in a cgroup in which there are others: told, made, and no harm to these.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use conformance::{Stage, assert_same, failure};
use integration::footprint::CGROUPS;
use integration::outcome::Outcome;
use integration::runtime::Runtime;
use serde_json::{Value, json};

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// What is said of a cgroup, by runc 1.1 and by krun.
const WORDS: [&str; 2] =
    ["level=warning msg=\"container's cgroup is not empty: ", "cgroup unexpectedly frozen"];

/// How a command ended, and which of the words it said.
fn told(outcome: &Outcome) -> (bool, [bool; 2]) {
    let text = outcome.stderr();
    (outcome.is_success(), WORDS.map(|words| text.contains(words)))
}

/// Each container's status, where there is one.
fn statuses(stage: &Stage) -> [Option<String>; 3] {
    ["one", "two", "three"].map(|id| stage.runtime.status(id).ok())
}

fn start_two(stage: &Stage) -> Result<(bool, [bool; 2])> {
    stage.create("one")?;
    let second = stage.with_bundle(&["create"], &["two"])?;
    for id in ["one", "two"] {
        stage.runtime.must(["start", id])?;
    }
    Ok(told(&second))
}

fn processes(stage: &Stage, id: &str) -> Result<usize> {
    let listed = stage.runtime.must(["ps", "--format", "json", id])?.stdout();
    Ok(serde_json::from_str::<Vec<Value>>(&listed)?.len())
}

#[test]
fn a_second_container_is_told_of_and_made() {
    assert_same(&SLEEP, |stage| {
        let second = start_two(stage)?;
        let log = stage.bundle.path().join("log");
        let words = ["--log", &log.to_string_lossy(), "create"];
        let third = told(&stage.with_bundle(&words, &["three"])?);
        let text = fs::read_to_string(log)?;
        let lines = text.lines().filter(|line| line.contains(WORDS[0])).count();
        let counts = [processes(stage, "one")?, processes(stage, "three")?];
        Ok((second, third, lines, counts, statuses(stage)))
    });
}

#[test]
fn two_are_paused_together_and_nobody_comes_then() {
    assert_same(&SLEEP, |stage| {
        start_two(stage)?;
        stage.runtime.must(["pause", "one"])?;
        let paused = statuses(stage);
        let third = stage.with_bundle(&["create"], &["three"])?;
        let third = (third.is_success(), told(&third).1[1]);
        stage.runtime.must(["resume", "two"])?;
        Ok((paused, third, statuses(stage)))
    });
}

#[test]
fn the_end_of_one_is_not_that_of_the_other() {
    for [first, second] in [["one", "two"], ["two", "one"]] {
        assert_same(&SLEEP, |stage| {
            start_two(stage)?;
            stage.runtime.must(["kill", first, "KILL"])?;
            stage.runtime.wait_for_status(first, "stopped")?;
            stage.runtime.must(["delete", first])?;
            let (left, ran) = (statuses(stage), stage.runtime.call(["exec", second, "/bin/true"])?);
            stage.runtime.must(["delete", "--force", second])?;
            // The last one takes the cgroup with it.
            Ok((left, ran.end, stage.bundle.footprint.container_cgroups()))
        });
    }
}

#[test]
fn one_that_fails_leaves_the_other_running() {
    assert_same(&SLEEP, |stage| {
        start_two(stage)?;
        stage.bundle.change(|spec| spec["process"]["args"] = json!(["/nonexistent"]))?;
        let failed = ["create", "run"].map(|verb| stage.with_bundle(&[verb], &["three"]));
        let failed = failed.into_iter().collect::<Result<Vec<_>>>()?;
        stage.bundle.change(|spec| spec["process"]["args"] = json!(["/bin/true"]))?;
        let ended = stage.with_bundle(&["run"], &["three"])?;
        let failed: Vec<_> = failed.iter().map(|one| (failure(one), told(one))).collect();
        Ok((failed, told(&ended), statuses(stage)))
    });
}

/// A process of the host's in the bundle's cgroup.
fn stranger(stage: &Stage) -> Result<Child> {
    let sleeps = Command::new("/bin/sleep").arg("1000").spawn()?;
    let below = format!("{}/container", stage.bundle.footprint.cgroup().trim_start_matches('/'));
    for hierarchy in fs::read_dir(CGROUPS)? {
        let hierarchy = hierarchy?.path();
        if !hierarchy.is_dir() || hierarchy.join("cgroup.controllers").exists() {
            continue;
        }
        let own = hierarchy.join(&below);
        fs::create_dir_all(&own).with_context(|| format!("make {}", own.display()))?;
        fill(own.ancestors().skip(1).take(1).chain([own.as_path()]).map(PathBuf::from).collect())?;
        fs::write(own.join("cgroup.procs"), sleeps.id().to_string())?;
    }
    Ok(sleeps)
}

/// Gives cgroups what those above have, where nobody may enter without.
fn fill(cgroups: Vec<PathBuf>) -> Result<()> {
    for cgroup in cgroups {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = cgroup.parent().map(|parent| fs::read_to_string(parent.join(file)));
            if let Some(Ok(text)) = above {
                fs::write(cgroup.join(file), text)?;
            }
        }
    }
    Ok(())
}

/// runc ends everybody in the cgroup when what has no process namespace of its own cannot be made.
#[test]
fn one_without_a_process_namespace_that_fails_ends_nobody_else() {
    for runtime in [Runtime::krun(), Runtime::krun_natively()] {
        let runtime = runtime.expect("krun is built");
        let mut stage = Stage::new(runtime, &["/nonexistent"]).expect("a bundle can be made");
        let change = |spec: &mut Value| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("there are some");
            namespaces.retain(|one| one["type"] != "pid");
        };
        stage.bundle.change(change).expect("it can be changed");
        let mut before = stranger(&stage).expect("a process can enter");

        let failed = stage.with_bundle(&["create"], &["one"]).expect("krun runs");
        let alive = before.try_wait().expect("it can be asked for").is_none();
        before.kill().expect("it can be killed");
        before.wait().expect("it ends");

        assert_eq!((told(&failed), alive), ((false, [true, false]), true), "{failed:?}");
        for cgroup in stage.bundle.footprint.container_cgroups() {
            fs::remove_dir(cgroup).expect("nobody is left in it");
        }
        stage.finish().expect("nothing is left");
    }
}
