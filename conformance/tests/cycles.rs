//! A thousand containers later the machine has what it had before: cgroups, mounts, descriptors,
//! directories, keys and processes.
//!
//! `KRUN_CYCLES` says how many there are; without it there are as many as half a minute allows, and at
//! most a thousand.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use conformance::Stage;
use integration::runtime::Runtime;

/// How many containers there are where there is time.
const CYCLES: u32 = 1000;

/// And how much time.
const TIME: Duration = Duration::from_secs(25);

/// A machine is never quite still: a leak is more than one for every so many containers.
const NOISE: usize = 2;

/// Below this, nothing is a leak.
const LEAST: usize = 200;

/// How many there are of what a container may leave behind, anywhere on the machine.
fn belongings() -> BTreeMap<&'static str, usize> {
    let lines = |path: &str| fs::read_to_string(path).unwrap_or_default().lines().count();
    let entries = |path: &str| fs::read_dir(path).into_iter().flatten().count();
    let numbers = |path: &str, field: usize| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let values =
            text.lines().filter_map(|line| line.split_whitespace().nth(field)?.parse().ok());
        values.max().unwrap_or_default()
    };
    BTreeMap::from([
        ("mounts", lines("/proc/self/mountinfo")),
        ("cgroups of a hierarchy", numbers("/proc/cgroups", 2)),
        ("open files", numbers("/proc/sys/fs/file-nr", 0)),
        ("keys", lines("/proc/keys")),
        ("processes", entries("/proc")),
        ("/run", entries("/run")),
        ("/run/user/0", entries("/run/user/0")),
        ("/dev/shm", entries("/dev/shm")),
        ("/tmp", entries("/tmp")),
        ("/var/tmp", entries("/var/tmp")),
    ])
}

/// One container's life, as an engine leads it.
fn live(stage: &Stage) -> Result<()> {
    stage.create("box")?;
    stage.runtime.must(["start", "box"])?;
    stage.runtime.wait_for_status("box", "stopped")?;
    stage.runtime.must(["delete", "box"]).map(drop)
}

fn ensure_nothing_grows(runtime: Runtime) -> Result<()> {
    let wanted = std::env::var("KRUN_CYCLES").ok().and_then(|text| text.parse().ok());
    let stage = Stage::new(runtime, &["/bin/true"])?;
    // What is made once, and kept, is made now.
    live(&stage)?;
    let (before, began) = (belongings(), Instant::now());
    let mut lives = 0;
    while lives < wanted.unwrap_or(CYCLES) && (wanted.is_some() || began.elapsed() < TIME) {
        live(&stage).with_context(|| format!("container {lives}"))?;
        lives += 1;
    }
    ensure!(stage.runtime.state_entries().is_empty(), "{:?}", stage.runtime.state_entries());
    stage.bundle.footprint.ensure_nothing_is_left()?;
    let noise = (usize::try_from(lives)? / NOISE).max(LEAST);
    for (name, now) in belongings() {
        let then = before[name];
        ensure!(now <= then + noise, "{name}: {then} before {lives} containers, {now} after them");
    }
    stage.finish()
}

#[test]
fn a_thousand_containers_leave_nothing_behind() {
    ensure_nothing_grows(Runtime::krun().unwrap()).unwrap();
}

#[test]
fn a_thousand_native_containers_leave_nothing_behind() {
    ensure_nothing_grows(Runtime::krun_natively().unwrap()).unwrap();
}
