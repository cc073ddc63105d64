//! How much memory programs take, and give back: under `km` as natively, but for what is named here.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use integration::guests::{self, Link};
use integration::native_and_km::Case;

/// How many KiB more are noise: the monitor's own, touched late.
const NOISE_KIB: u64 = 512;

/// Half of what a program has written in order may be put behind what it writes next, as huge pages.
const AHEAD_KIB: u64 = 32 << 10;

/// What mappings that come and go have led to expect: one of 1 MiB is left alone after at most 32 others.
const EXPECTED_KIB: u64 = 33 << 10;

/// The same of mappings and steps of the heap that stay, of which one is left alone after at most 8 others.
const STAYING_KIB: u64 = 8 << 10;

/// What a thread takes of the monitor's own memory, beside its stack.
const THREAD_KIB: u64 = 48;

/// What a process has.
const OWN: &str = "/proc/PID/smaps_rollup";

/// Linux's setting, the chosen word of it in brackets.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// At so many places the guest maps a page before it begins anew.
const PLACES: u64 = 80 << 10;

/// The tables that KVM makes of the guest's, system-wide.
const TABLES: &str = "SecPageTables:";

/// What a program had after each step, beside what it began with, in KiB.
type Steps = Vec<(String, u64)>;

/// Ends a program when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The number behind a name in one of procfs's lists.
fn kib(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.with_context(|| format!("{name} in {path}"))?.parse().context("a number")
}

/// Runs the guest, looking at `list` of its process's, or of the system's, after each step.
fn steps(mut command: Command, list: &str, name: &str) -> Result<Steps> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut running = Running(child);
    let mut orders = running.0.stdin.take().context("its input")?;
    let answers = BufReader::new(running.0.stdout.take().context("its output")?);
    let list = list.replace("PID", &running.0.id().to_string());
    let mut found: Steps = Vec::new();
    for line in answers.lines() {
        found.push((line?, kib(&list, name)?));
        writeln!(orders)?;
    }
    let status = running.0.wait()?;
    ensure!(status.success() && !found.is_empty(), "{status}, {found:?}");
    let first = found[0].1;
    Ok(found.into_iter().map(|(step, kib)| (step, kib.saturating_sub(first))).collect())
}

fn program(arguments: &[&str]) -> Result<Case> {
    let program = guests::c("memory_steps.c", Link::GlibcStatic)?;
    let program = program.as_os_str().to_owned();
    Ok(Case::new([program].into_iter().chain(arguments.iter().map(Into::into))))
}

/// The memory that is a process's own, natively and under `km`.
fn own(arguments: &[&str]) -> Result<[Steps; 2]> {
    let case = program(arguments)?;
    let native = Command::new(guests::c("memory_steps.c", Link::GlibcStatic)?);
    let commands = [with(native, arguments), case.km_command()?];
    let [native, km] = commands.map(|command| steps(command, OWN, "Anonymous:"));
    Ok([native?, km?])
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Each step takes what it takes natively, and at most so much more.
#[track_caller]
fn assert_like_native(arguments: &[&str], more: impl Fn(&str) -> u64) {
    let [native, km] = own(arguments).expect("it runs");

    let is_like = |native: &(String, u64), km: &(String, u64)| {
        native.0 == km.0 && km.1 <= native.1 + more(&native.0) && km.1 + NOISE_KIB >= native.1
    };
    let same =
        native.len() == km.len() && native.iter().zip(&km).all(|(one, two)| is_like(one, two));
    assert!(same, "natively {native:#?}, under km {km:#?}");
}

#[test]
fn memory_that_is_given_up_is_the_hosts_again() {
    assert_like_native(&["returned"], |_| NOISE_KIB);
}

#[test]
fn what_is_touched_here_and_there_takes_single_pages() {
    assert_like_native(&["sparse"], |step| match step {
        "32 MiB written, and a page of each 2 MiB behind them" => AHEAD_KIB,
        "64 mappings of 1 MiB begun, when 100 had been written" => EXPECTED_KIB,
        _ => NOISE_KIB,
    });
}

#[test]
fn mappings_that_stay_lead_to_little_that_is_not_used() {
    assert_like_native(&["staying"], |step| match step {
        "60 mappings of 1 MiB written" => NOISE_KIB,
        _ => STAYING_KIB + NOISE_KIB,
    });
}

/// Nothing else would tell that they are no longer brought in.
#[test]
fn mappings_like_those_that_were_used_are_brought_in() {
    let [native, km] = own(&["staying"]).expect("it runs");

    let taken = |steps: &Steps, step: usize| steps[step].1 - steps[step - 1].1;
    let more = |step| taken(&km, step).saturating_sub(taken(&native, step));
    // After 60 that were written, four are yet to come before one is left alone.
    assert!(more(2) >= 3 << 10 && more(4) >= 3 << 7, "natively {native:#?}, under km {km:#?}");
}

#[test]
fn what_was_only_read_is_no_reason_for_huge_pages() {
    assert_like_native(&["read-mostly"], |_| NOISE_KIB);
}

/// Nothing else would tell that writes in order are no longer noticed.
#[test]
fn what_is_written_in_order_gets_huge_pages_unless_the_host_has_none() {
    let setting = fs::read_to_string(SETTING).expect("the kernel knows huge pages");
    let has_huge = !setting.contains("[never]");
    let command = program(&["ordered"]).and_then(|case| case.km_command());

    let huge = steps(command.expect("the guest compiles"), OWN, "AnonHugePages:");

    let huge: Vec<_> = huge.expect("it runs").into_iter().map(|(_, kib)| kib).collect();
    let [begun, written, grown] = huge[..] else { unreachable!("three steps, not {huge:?}") };
    assert_eq!([begun < written, written < grown], [has_huge; 2], "{huge:?} KiB");
}

#[test]
fn a_thread_takes_kilobytes_of_the_monitors() {
    assert_like_native(&["threads", "500"], |_| 500 * THREAD_KIB);
}

#[test]
fn mappings_at_ever_new_places_leave_nothing_behind() {
    assert_like_native(&["moving", "50000"], |_| 2 * NOISE_KIB);
}

/// One table for each 2 MiB of the host's memory, and some: not one for each that ever held a page. From some
/// 150 GiB on a guest has too few addresses to need more.
#[test]
fn kvms_tables_of_memory_that_is_gone_are_limited() {
    let memory = kib("/proc/meminfo", "MemTotal:").expect("the machine has memory");
    let limit = memory / (2 << 10) * 4 + (4096 + 1024) * 4;
    let places = (limit / 4 * 5 / 4).clamp(50_000, PLACES).to_string();
    let case = program(&["moving", &places]).and_then(|case| case.km_command());

    let tables =
        steps(case.expect("the guest compiles"), "/proc/meminfo", TABLES).expect("it runs");

    assert!(tables.iter().all(|(_, kib)| *kib <= limit), "{tables:?}, at most {limit} KiB");
}
