//! Programs that kontain starts: none runs longer than it may, nor after whoever wants to know has gone.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest time in which what was made is taken away.
const CLEANING: Duration = Duration::from_secs(15);
/// More than this of what a program says is not read.
const LONGEST: u64 = 4 << 20;

/// How long programs may run.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    each: Duration,
    is_orphan: Arc<AtomicBool>,
}

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None if it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Limits {
    /// So long for each, and no longer than somebody holds the other end of standard input.
    pub(crate) fn of_orphans(each: Duration) -> Self {
        let is_orphan = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_orphan);
        thread::spawn(move || {
            // Nothing is ever written there: it ends when its writer does.
            _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            seen.store(true, Ordering::Relaxed);
        });
        Self { each, is_orphan }
    }

    /// For what takes away what was made, whoever has gone.
    pub(crate) fn of_cleaning() -> Self {
        Self::of(CLEANING)
    }

    /// So long for each.
    pub(crate) fn of(each: Duration) -> Self {
        Self { each, is_orphan: Arc::default() }
    }

    /// The longest time.
    pub(crate) fn each(&self) -> Duration {
        self.each
    }

    /// Runs a program with nothing to read, in a process group of its own.
    pub(crate) fn run(&self, command: &mut Command) -> io::Result<Ended> {
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let began = Instant::now();
        let mut child = command.process_group(0).spawn()?;
        let status = self.wait(&mut child, began)?;
        let took = began.elapsed();
        Ok(Ended { status, stdout: text(&mut stdout)?, stderr: text(&mut stderr)?, took })
    }

    fn wait(&self, child: &mut Child, began: Instant) -> io::Result<Option<ExitStatus>> {
        while began.elapsed() < self.each && !self.is_orphan.load(Ordering::Relaxed) {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(PAUSE);
        }
        // All that it has started, too, as far as that has not left its group.
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
            child.kill()?;
        }
        child.wait().map(|_| None)
    }
}

impl Ended {
    /// Whether it said that all went well.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Why it did not, in one line.
    pub(crate) fn reason(&self) -> String {
        let Some(status) = self.status else {
            return format!(
                "it had not ended after {:.1} s, and was killed",
                self.took.as_secs_f64()
            );
        };
        let mut lines = self.stderr.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        match lines.find(|line| !line.starts_with("km: ") || !line.contains("left")) {
            Some(line) => format!("{status}: {line}"),
            None => status.to_string(),
        }
    }
}

fn text(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Limits, PAUSE};

    #[test]
    fn who_does_not_end_is_killed_with_all_he_started() {
        let limits = Limits::of(Duration::from_secs(1));

        let ended =
            limits.run(Command::new("sh").args(["-c", "sleep 60 & echo $!; wait"])).unwrap();

        // On a busy machine it may not even have begun.
        let sleeper: Option<u32> = ended.stdout.trim().parse().ok();
        let lives = || {
            let stat = sleeper.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")));
            stat.is_some_and(|stat| stat.is_ok_and(|stat| !stat.contains(") Z ")))
        };
        // It is not waited for, and the kernel takes its time.
        let end = Instant::now() + Duration::from_secs(10);
        while lives() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
        assert!(ended.status.is_none() && ended.reason().contains("killed"), "{ended:?}");
        assert!(!lives(), "{ended:?}");
    }
}
