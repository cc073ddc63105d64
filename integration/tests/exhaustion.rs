//! A container that takes all it can get harms its own cgroup and nobody else: beside it a neighbour answers, the host
//! has as many processes, files and as much memory as the container's limits leave it, and it can be ended.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use integration::bundle::Bundle;
use integration::guests::{self, Link};
use integration::outcome;
use integration::rootfs;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::json;

/// What the container may have.
const PROCESSES: u64 = 96;
const MEMORY: u64 = 192 << 20;
const DESCRIPTORS: u64 = 1024;

/// What else the host may come to have meanwhile: all that other people do on it, and what the kernel needs for what
/// the container has.
const NOISE_TASKS: u64 = 2048;
const NOISE_FILES: u64 = 64 << 10;
const NOISE_KIB: u64 = 1 << 20;

/// How long the container is looked at from its beginning on.
const STORM: Duration = Duration::from_secs(3);

/// How long a neighbour may take to start a program and answer, and the container to get all. Both share the processors.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much there is on the whole host.
#[derive(Clone, Copy, Debug)]
struct Host {
    tasks: u64,
    files: u64,
    free_kib: u64,
}

impl Host {
    fn now() -> Result<Self> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let tasks = load.split(['/', ' ']).nth(4).context("the number of tasks")?.parse()?;
        let files = fs::read_to_string("/proc/sys/fs/file-nr")?;
        let files = files.split_whitespace().next().context("the number of files")?.parse()?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let free = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let free = free.and_then(|text| text.split_whitespace().next()).context("free memory")?;
        Ok(Self { tasks, files, free_kib: free.parse()? })
    }

    /// Fails if there is less left than the container's limits leave.
    fn assert_harmless_since(&self, before: &Self) -> Result<()> {
        ensure!(self.tasks <= before.tasks + PROCESSES + NOISE_TASKS, "{before:?} became {self:?}");
        let files = PROCESSES * DESCRIPTORS + NOISE_FILES;
        ensure!(self.files <= before.files + files, "{before:?} became {self:?}");
        let used = before.free_kib.saturating_sub(self.free_kib);
        ensure!(used <= MEMORY / 1024 + NOISE_KIB, "{before:?} became {self:?}");
        Ok(())
    }
}

/// A container that takes as much of something as it gets.
struct Storm {
    runtime: Runtime,
    bundle: Bundle,
}

impl Storm {
    /// Makes the container, and lets it begin if its cgroup is seen to limit it.
    fn begin(what: &str) -> Result<Self> {
        let runtime = Runtime::krun()?;
        let mut bundle = Bundle::with_args(&["/bin/exhaust", what])?;
        let program = guests::c("exhaust.c", Link::GlibcStatic)?;
        rootfs::add_program(&bundle.in_rootfs(""), "exhaust", &program)?;
        bundle.change(|spec| {
            spec["process"]["rlimits"] =
                json!([{"type": "RLIMIT_NOFILE", "soft": DESCRIPTORS, "hard": 4 * DESCRIPTORS}]);
            spec["linux"]["resources"]["pids"] = json!({"limit": PROCESSES});
            spec["linux"]["resources"]["memory"] = json!({"limit": MEMORY, "swap": MEMORY});
        })?;
        let path = bundle.path().to_str().context("a path in UTF-8")?;
        let mut command: Command = runtime.command(["create", "--bundle", path, "storm"]);
        // The container has both, too.
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| bundle.path().join(name));
        let (stdout, stderr) = (File::create(stdout)?, File::create(stderr)?);
        let status = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status()?;
        let storm = Self { runtime, bundle };
        ensure!(status.success(), "create: {status}: {}", storm.said("stderr"));
        ensure!(storm.number(&["pids.max"])? == PROCESSES, "{:?}", storm.number(&["pids.max"]));
        let memory = storm.number(&["memory.limit_in_bytes", "memory.max"])?;
        ensure!(memory == MEMORY, "it may have {memory} bytes");
        storm.runtime.must(["start", "storm"])?;
        Ok(storm)
    }

    /// What it has written so far.
    fn said(&self, output: &str) -> String {
        fs::read_to_string(self.bundle.path().join(output)).unwrap_or_default()
    }

    /// What a file of its cgroup says, which has one of these names.
    fn number(&self, names: &[&str]) -> Result<u64> {
        let text = names.iter().find_map(|name| self.bundle.footprint.cgroup_file(name));
        let text = text.with_context(|| format!("its cgroup has {names:?}"))?;
        text.parse().with_context(|| format!("{names:?}: {text}"))
    }

    /// Fails if there is more in its cgroup than its limits allow.
    fn assert_within_limits(&self) -> Result<()> {
        let tasks = self.number(&["pids.current"])?;
        ensure!(tasks <= PROCESSES, "it has {tasks} processes");
        let bytes = self.number(&["memory.usage_in_bytes", "memory.current"])?;
        ensure!(bytes <= MEMORY, "it has {bytes} bytes");
        Ok(())
    }

    /// Waits until it has said that it gets no more. Who takes all memory was ended before that.
    fn wait_until_it_has_all(&self, what: &str) -> Result<()> {
        let has_ended = || self.runtime.status("storm").is_ok_and(|status| status == "stopped");
        let has_all = || self.said("stdout").starts_with("full") || what == "memory" && has_ended();
        ensure!(outcome::eventually(PATIENCE, has_all), "{what}: {:?}", self.said("stdout"));
        Ok(())
    }

    /// Ends it, whatever it does.
    fn end(&self) -> Result<()> {
        self.runtime.must(["delete", "--force", "storm"])?;
        self.bundle.footprint.ensure_nothing_is_left()
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // A failed test may leave it.
        drop(self.runtime.call(["delete", "--force", "storm"]));
    }
}

/// Fails if the neighbour does not start a program that answers.
fn assert_answers(neighbour: &Sleeper) -> Result<()> {
    let begin = Instant::now();
    let answer = neighbour.exec(&["web", "/bin/echo", "alive"], None);
    ensure!(answer.stdout() == "alive\n", "{answer:?}");
    ensure!(begin.elapsed() < PATIENCE, "it took {:?}", begin.elapsed());
    Ok(())
}

/// Looks while the storm begins, and once it has all.
fn harms_nobody_else(what: &str) -> Result<()> {
    let neighbour = Sleeper::new(Runtime::krun()?);
    assert_answers(&neighbour)?;
    let before = Host::now()?;
    let storm = Storm::begin(what)?;
    let look = || {
        Host::now()?.assert_harmless_since(&before)?;
        assert_answers(&neighbour)
    };
    let storms = || {
        let end = Instant::now() + STORM;
        while Instant::now() < end {
            storm.assert_within_limits()?;
            look()?;
        }
        storm.wait_until_it_has_all(what)?;
        look()?;
        storm.assert_within_limits()?;
        if ["processes", "threads"].contains(&what) {
            let tasks = storm.number(&["pids.current"])?;
            ensure!(tasks >= PROCESSES / 2, "it has {tasks} processes and threads");
        }
        storm.end()
    };
    storms().with_context(|| format!("{what}, which says {:?}", storm.said("stderr")))?;
    neighbour.finish();
    Ok(())
}

#[test]
fn a_bomb_of_processes_harms_nobody_else() {
    harms_nobody_else("processes").unwrap();
}

#[test]
fn a_bomb_of_threads_harms_nobody_else() {
    harms_nobody_else("threads").unwrap();
}

#[test]
fn who_takes_all_descriptors_harms_nobody_else() {
    harms_nobody_else("descriptors").unwrap();
}

#[test]
fn who_takes_all_mappings_harms_nobody_else() {
    harms_nobody_else("mappings").unwrap();
}

#[test]
fn who_takes_all_memory_harms_nobody_else() {
    harms_nobody_else("memory").unwrap();
}

#[test]
fn a_storm_of_signals_harms_nobody_else() {
    harms_nobody_else("signals").unwrap();
}

#[test]
fn a_gibibyte_of_environment_harms_nobody_else() {
    harms_nobody_else("environment").unwrap();
}
