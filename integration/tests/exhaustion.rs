//! A container that takes all it can get harms its own cgroup and nobody else: beside it a neighbour answers, the host
//! has as many processes, files and as much memory as the container's limits leave it, and it can be ended.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use integration::bundle::Bundle;
use integration::guests::{self, Link};
use integration::rootfs;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

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

/// How long a neighbour may take to start a program and answer, which shares the processors.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the container may take to get all: it asks for up to a million and a half of something.
const GREED: Duration = Duration::from_secs(80);

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

/// What keeps a storm from others.
struct Walls {
    /// How many descriptors each of its processes may have.
    descriptors: u64,
    /// The first process of the pid namespace that it is in, if that is not its own.
    among: Option<i64>,
    /// Whether it may be ended for what it takes.
    may_end: bool,
}

impl Walls {
    /// Those that one who takes this much of something has.
    fn against(what: &str) -> Self {
        Self { descriptors: DESCRIPTORS, among: None, may_end: what == "memory" }
    }

    /// Puts them up in a specification.
    fn put_up(&self, spec: &mut Value) {
        let hard = self.descriptors.max(4 * DESCRIPTORS);
        spec["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "soft": self.descriptors, "hard": hard}]);
        spec["linux"]["resources"]["pids"] = json!({"limit": PROCESSES});
        spec["linux"]["resources"]["memory"] = json!({"limit": MEMORY, "swap": MEMORY});
        if let Some(pid) = self.among {
            spec["linux"]["namespaces"][0]["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
}

/// A container that takes as much of something as it gets.
struct Storm {
    runtime: Runtime,
    bundle: Bundle,
    may_end: bool,
}

impl Storm {
    /// Makes the container, and lets it begin if its cgroup is seen to limit it.
    fn begin(what: &str, walls: &Walls) -> Result<Self> {
        let runtime = Runtime::krun()?;
        let mut bundle = Bundle::with_args(&["/bin/exhaust", what])?;
        let program = guests::c("exhaust.c", Link::GlibcStatic)?;
        rootfs::add_program(&bundle.in_rootfs(""), "exhaust", &program)?;
        bundle.change(|spec| walls.put_up(spec))?;
        let path = bundle.path().to_str().context("a path in UTF-8")?;
        let mut command: Command = runtime.command(["create", "--bundle", path, "storm"]);
        // The container has both, too.
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| bundle.path().join(name));
        let (stdout, stderr) = (File::create(stdout)?, File::create(stderr)?);
        let status = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status()?;
        let storm = Self { runtime, bundle, may_end: walls.may_end };
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

    /// Fails if it has ended, and must not.
    fn assert_goes_on(&self) -> Result<()> {
        let status = self.runtime.status("storm")?;
        ensure!(self.may_end || status == "running", "it is {status}");
        Ok(())
    }

    /// Whether it has said that it gets no more, or has ended for it.
    fn has_all(&self) -> bool {
        let has_ended = || self.runtime.status("storm").is_ok_and(|status| status == "stopped");
        self.said("stdout").starts_with("full") || self.may_end && has_ended()
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
fn storms(what: &str, walls: &Walls, neighbour: &Sleeper) -> Result<()> {
    let before = Host::now()?;
    let storm = Storm::begin(what, walls)?;
    let look = || {
        storm.assert_within_limits()?;
        Host::now()?.assert_harmless_since(&before)?;
        assert_answers(neighbour)?;
        storm.assert_goes_on()
    };
    let storms = || {
        let begin = Instant::now();
        while begin.elapsed() < STORM || !storm.has_all() {
            look()?;
            let said = storm.said("stdout");
            ensure!(begin.elapsed() < GREED, "it has not got all, and says {said:?}");
        }
        look()?;
        if ["processes", "threads"].contains(&what) {
            let tasks = storm.number(&["pids.current"])?;
            ensure!(tasks >= PROCESSES / 2, "it has {tasks} processes and threads");
        }
        storm.end()
    };
    storms().with_context(|| format!("{what}, which says {:?}", storm.said("stderr")))
}

fn neighbour() -> Result<Sleeper> {
    let neighbour = Sleeper::new(Runtime::krun()?);
    assert_answers(&neighbour)?;
    Ok(neighbour)
}

fn harms_nobody_else(what: &str) -> Result<()> {
    let neighbour = neighbour()?;
    storms(what, &Walls::against(what), &neighbour)?;
    neighbour.finish();
    Ok(())
}

/// What is found where one of the walls is missing.
fn harm(what: &str, change: impl FnOnce(&mut Walls, &Sleeper)) -> Result<String> {
    let neighbour = neighbour()?;
    let mut walls = Walls::against(what);
    change(&mut walls, &neighbour);
    let found = storms(what, &walls, &neighbour).err();
    neighbour.finish();
    Ok(format!("{:#}", found.context("no harm was found")?))
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

#[test]
fn who_takes_all_descriptors_without_a_limit_is_found() {
    let harm = harm("descriptors", |walls, _| walls.descriptors = 16 * DESCRIPTORS).unwrap();

    assert!(harm.contains(" became Host {"), "{harm}");
}

/// As it would be if signals reached those who are in another pid namespace.
#[test]
fn a_storm_of_signals_that_reaches_a_neighbour_is_found() {
    let harm =
        harm("signals", |walls, neighbour| walls.among = neighbour.processes().first().copied());

    let harm = harm.unwrap();
    assert!(harm.contains("Killed(") || harm.contains("Exited("), "{harm}");
}

/// As it would be if a monitor took as much as its guest asks for, or gave up.
#[test]
fn a_storm_that_ends_its_own_container_is_found() {
    let harm = harm("memory", |walls, _| walls.may_end = false).unwrap();

    assert!(harm.contains("it is stopped"), "{harm}");
}
