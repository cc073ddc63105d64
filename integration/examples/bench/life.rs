//! What a container's whole life costs: a static `true` is created, started, waited for and deleted, by each
//! runtime in turn.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration::bundle::Bundle;
use integration::guests;
use integration::runtime::Runtime;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::contestants::{Contestant, Contestants, Kind, RUNC};
use crate::options::Options;
use crate::say;
use crate::tables::{Row, Table, Unit};

const ROUNDS: usize = 60;
/// Rounds before those that count.
const WARM_UP: usize = 5;
/// Before each life. Right after another one Linux takes less time to put a process into a cgroup.
const PAUSE: Duration = Duration::from_millis(50);
/// As a part of the life before, whose traces the kernel may still be clearing away.
const REST: u32 = 4;
/// A runtime that has used this much makes no further rounds.
const ENOUGH: Duration = Duration::from_secs(20);

/// The largest memory, in KiB, of any process of krun's in a life in a virtual machine and in a native one.
/// All children of this process so far must be krun's.
pub(crate) fn peak_of_krun() -> Result<i64> {
    let bundle = Bundle::with_args(&["/bin/true"])?;
    for runtime in [Runtime::krun()?, Runtime::krun_natively()?] {
        live(&runtime, &bundle)?;
    }
    Ok(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Table>> {
    let bundle = Bundle::with_args(&["/bin/static-true"])?;
    guests::c_text("int main(void) { return 0; }\n", &bundle.in_rootfs("bin/static-true"))?;
    let contestants = Contestants::containers()?;
    let rounds = options.rounds(ROUNDS);
    let mut row = Row::new("create, start, wait, delete", Unit::Nanoseconds);
    let mut used = vec![Duration::ZERO; contestants.0.len()];
    let mut pause = PAUSE;
    say("life");
    for round in 0..WARM_UP.min(rounds) + rounds {
        for (one, used) in contestants.0.iter().zip(&mut used) {
            if row.has_failed(&one.name) || *used > ENOUGH {
                continue;
            }
            thread::sleep(pause);
            let lived = life(one, &bundle)?;
            pause = lived.as_ref().map_or(PAUSE, |time| PAUSE.max(*time / REST));
            match lived {
                Err(reason) => row.fail(&one.name, &reason),
                Ok(time) if round < WARM_UP.min(rounds) => *used += time,
                Ok(time) => {
                    *used += time;
                    row.add(&one.name, time.as_secs_f64() * 1e9);
                }
            }
        }
    }
    Ok(vec![Table {
        key: "life",
        title: "The life of a container",
        text: format!(
            "A static `true` is created, started, waited for and deleted, each step by a call of the runtime's \
             as engines make it. Medians of {rounds} rounds, less for one that needs more than {} s for \
             them; 50 ms of rest before each life, more after a long one.{}",
            ENOUGH.as_secs(),
            contestants.notes()
        ),
        columns: contestants.names(),
        baseline: RUNC,
        rows: vec![row],
    }])
}

fn life(one: &Contestant, bundle: &Bundle) -> Result<Result<Duration, String>> {
    match (&one.kind, &one.refusal) {
        (_, Some(reason)) => Ok(Err(reason.clone())),
        (Kind::Container(runtime, _), None) => one.within(|| live(runtime, bundle)).map(Ok),
        (Kind::Native | Kind::Km(_), None) => Ok(Err("not a container".to_owned())),
    }
}

fn live(runtime: &Runtime, bundle: &Bundle) -> Result<Duration> {
    let pid_file = bundle.path().join("pid");
    let [directory, pid_path] = [bundle.path(), &*pid_file].map(|path| path.to_string_lossy());
    let begin = Instant::now();
    call(runtime, &["create", "--bundle", &*directory, "--pid-file", &*pid_path, "web"])?;
    let number = fs::read_to_string(&pid_file)?.trim().parse()?;
    let process =
        pidfd_open(Pid::from_raw(number).context("a process number")?, PidfdFlags::empty())?;
    call(runtime, &["start", "web"])?;
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None)?;
    call(runtime, &["delete", "web"])?;
    Ok(begin.elapsed())
}

/// A call of which nothing is kept: pipes, and threads that read them, would be measured too.
pub(crate) fn call(runtime: &Runtime, args: &[&str]) -> Result<()> {
    let mut command = runtime.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    ensure!(command.status()?.success(), "{command:?} fails");
    Ok(())
}
