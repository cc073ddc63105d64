//! Many containers later the machine has what it had before: cgroups, mounts, descriptors,
//! directories, keys and processes.
//!
//! There are as many as half a minute allows, some hundreds, and at most a thousand; `KRUN_CYCLES` says how many
//! there are, however long that takes. What is counted is the whole machine's: nothing else may run meanwhile,
//! which `.config/nextest.toml` sees to.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use conformance::Stage;
use integration::outcome;
use integration::runtime::Runtime;

/// How many containers there are at most.
const CYCLES: u32 = 1000;

/// And how much time.
const TIME: Duration = Duration::from_secs(25);

/// How long the kernel may take to free things.
const PATIENCE: Duration = Duration::from_secs(5);

/// A machine is never quite still: up to 25 more open files and 14 more keys were seen for a moment beside
/// other work. This much is no leak, however many containers there were.
const NOISE: usize = 30;

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
        ("cgroups", cgroups(Path::new("/sys/fs/cgroup"))),
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

/// The cgroups of all hierarchies, by their directories: `/proc/cgroups` also counts those that are removed and that the
/// kernel keeps for as long as a page of a file that was first read in one of them is cached.
fn cgroups(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| 1 + cgroups(&entry.path())).sum()
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
    // The kernel takes its time to free what nobody has any more.
    let grown = || {
        let grown = belongings().into_iter().filter(|(name, now)| *now > before[name] + NOISE);
        grown.collect::<Vec<_>>()
    };
    outcome::eventually(PATIENCE, || grown().is_empty());
    ensure!(
        grown().is_empty(),
        "{lives} containers: {before:?} before them, after them {:?}",
        grown()
    );
    stage.finish()
}

#[test]
fn as_many_containers_as_fit_in_the_time_leave_nothing_behind() {
    ensure_nothing_grows(Runtime::krun().unwrap()).unwrap();
}

#[test]
fn as_many_native_containers_as_fit_in_the_time_leave_nothing_behind() {
    ensure_nothing_grows(Runtime::krun_natively().unwrap()).unwrap();
}
