//! A program that has had thousands of children or threads is no bigger for it: its monitor keeps
//! no memory, descriptor, virtual CPU, thread or mapping of those that are gone.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use integration::guests::{self, Link};
use integration::native_and_km::Case;

/// How many KiB more are noise: a page here and there that was touched late.
const NOISE_KIB: u64 = 512;

/// How many threads may be ending at a time: whoever joins one goes on before it is gone, so on a busy
/// machine more of them are there at once than there were in the first round. What they had is used
/// again by the next ones (stacks are kept by the C library), so that it does not grow with their count.
const ENDING_AT_ONCE: usize = 16;

/// How many mappings a virtual CPU has at most: its shared page, a thread's stack, what guards it, and
/// what the thread allocated.
const VIRTUAL_CPU_MAPPINGS: usize = 8;

/// Reads a count, starts so many children one after another, and says so.
const CHILDREN: &str = "while read count; do
    i=0
    while [ $i -lt $count ]; do /bin/busybox true || exit 1; i=$((i + 1)); done
    echo $i
done";

/// What a monitor has.
#[derive(Debug)]
struct Belongings {
    descriptors: usize,
    threads: usize,
    mappings: usize,
    /// Memory of its own, which no file and no other process has: how much of the rest counts as its
    /// part changes with every other monitor that comes and goes.
    kib: u64,
}

impl Belongings {
    fn of(pid: u32) -> Result<Self> {
        let count = |what: &str| -> Result<usize> {
            Ok(fs::read_dir(format!("/proc/{pid}/{what}"))?.count())
        };
        let sizes = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let own = sizes.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let own = own.and_then(|line| line.split_whitespace().next()).context("its memory")?;
        Ok(Self {
            descriptors: count("fd")?,
            threads: count("task")?,
            mappings: fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().count(),
            kib: own.parse()?,
        })
    }

    /// Fails if there is more than before, but for what some threads have that are ending: what each of
    /// thousands left behind would be far more than that.
    fn assert_not_beyond(&self, before: &Self) {
        let same = self.descriptors <= before.descriptors + ENDING_AT_ONCE
            && self.threads <= before.threads + ENDING_AT_ONCE
            && self.mappings <= before.mappings + ENDING_AT_ONCE * VIRTUAL_CPU_MAPPINGS
            && self.kib <= before.kib + NOISE_KIB;
        assert!(same, "before {before:?}, after {self:?}");
    }
}

/// A program under `km` that does something as often as it is told.
struct Repeater {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Repeater {
    fn start(case: &Case) -> Result<Self> {
        let mut command = case.km_command()?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, orders, answers })
    }

    /// Has it done so often, and looks what it has then.
    fn repeat(&mut self, count: u32) -> Result<Belongings> {
        writeln!(self.orders, "{count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == count.to_string(), "it did {answer:?} of {count}");
        Belongings::of(self.child.id())
    }
}

impl Drop for Repeater {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn assert_nothing_is_kept(case: &Case, first: u32, more: u32) {
    let mut repeater = Repeater::start(case).expect("it starts");
    let before = repeater.repeat(first).expect("it goes on");

    let after = repeater.repeat(more).expect("it goes on");

    after.assert_not_beyond(&before);
}

#[test]
fn ten_thousand_children_leave_nothing_behind() {
    let shell = Case::new(["/bin/busybox", "sh", "-c", CHILDREN]);

    assert_nothing_is_kept(&shell, 1_000, 9_000);
}

#[test]
fn twenty_thousand_threads_leave_nothing_behind() {
    let program = guests::c("threads_on_demand.c", Link::GlibcStatic).expect("the guest compiles");

    assert_nothing_is_kept(&Case::program(&program), 1_000, 19_000);
}
