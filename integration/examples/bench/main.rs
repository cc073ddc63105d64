//! `make bench`: what a container's whole life costs, as a ratio to runc's.
//!
//! A static `true` is created, started, waited for and deleted, by each runtime in turn, and the
//! median of all rounds is printed. A machine that does something else at the same time gives other
//! numbers, but hardly other ratios.

use std::fs;
use std::io::Write;
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

const ROUNDS: usize = 60;
/// Rounds before those that count.
const WARM_UP: usize = 5;
/// Before each life. Right after another one Linux takes less time to put a process into a cgroup.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let native = Runtime::krun_natively()?;
    let contestants =
        [("runc", Runtime::runc()?), ("krun", Runtime::krun()?), ("krun, native", native)];
    // Before runc and the compiler, which are children of this process as well.
    let bundle = Bundle::with_args(&["/bin/true"])?;
    for (_, runtime) in &contestants[1..] {
        life(runtime, &bundle)?;
    }
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let bundle = Bundle::with_args(&["/bin/static-true"])?;
    guests::c_text("int main(void) { return 0; }\n", &bundle.in_rootfs("bin/static-true"))?;
    let mut times = contestants.each_ref().map(|_| Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        for ((_, runtime), times) in contestants.iter().zip(&mut times) {
            let time = life(runtime, &bundle)?;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let mut output = std::io::stdout();
    writeln!(
        output,
        "create, start, wait and delete of a static `true`, median of {ROUNDS} rounds:"
    )?;
    for ((name, _), median) in contestants.iter().zip(medians) {
        let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
        writeln!(output, "  {name:14} {:7.2} ms   {ratio:.2} of runc", median.as_secs_f64() * 1e3)?;
    }
    writeln!(output, "peak of krun's memory: {peak} KiB")?;
    Ok(())
}

fn life(runtime: &Runtime, bundle: &Bundle) -> Result<Duration> {
    let pid_file = bundle.path().join("pid");
    let [directory, pid_path] = [bundle.path(), &*pid_file].map(|path| path.to_string_lossy());
    thread::sleep(PAUSE);
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
fn call(runtime: &Runtime, args: &[&str]) -> Result<()> {
    let mut command = runtime.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    ensure!(command.status()?.success(), "{command:?} fails");
    Ok(())
}
