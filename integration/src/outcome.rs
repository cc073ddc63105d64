//! Runs a command to its end, within a time limit, and says how it ended.
//!
//! Output goes to files, not to pipes: a container that outlives the command keeps its end of a
//! pipe open, and whoever reads to the end would wait for the container.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// Long enough for a slow machine, shorter than the test runner's own limit.
pub const TIME_LIMIT: Duration = Duration::from_secs(100);

/// How often a running command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How much of each end of an output a failed test shows.
const SHOWN: usize = 600;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned this exit status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

/// What a command that has ended leaves: its end and its output.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status or signal.
    pub end: End,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Whether the command returned 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Exited(0)
    }
}

/// Says where two outcomes part, or nothing where they are equal.
pub fn difference(expected: &Outcome, got: &Outcome) -> Option<String> {
    if expected == got {
        return None;
    }
    let ends = format!("ended as {:?}, not as {:?}", got.end, expected.end);
    let stdout = first_different_line("stdout", &expected.stdout(), &got.stdout());
    let stderr = first_different_line("stderr", &expected.stderr(), &got.stderr());
    let end = (expected.end != got.end).then_some(ends);
    Some([end, stdout, stderr].into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

fn first_different_line(name: &str, expected: &str, got: &str) -> Option<String> {
    let mut lines = (1..).zip(expected.lines().zip(got.lines()));
    if let Some((number, (expected, got))) = lines.find(|(_, (expected, got))| expected != got) {
        let (expected, got) = (shorten(expected), shorten(got));
        return Some(format!("{name}, line {number}\n  is  {got}\n  not {expected}"));
    }
    let lengths = format!("{name} has {} bytes, not {}", got.len(), expected.len());
    (expected != got).then_some(lengths)
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.end)?;
        writeln!(f, "--- stdout ({} bytes)\n{}", self.stdout.len(), shorten(&self.stdout()))?;
        write!(f, "--- stderr ({} bytes)\n{}", self.stderr.len(), shorten(&self.stderr()))
    }
}

/// A command that is running, its output on its way into files.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

/// Starts a command with this standard input, or with none.
pub fn start(command: &mut Command, stdin: Option<&[u8]>) -> Result<Running> {
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let input = if stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(input).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;

    if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
        let bytes = bytes.to_vec();
        // Whoever does not read its input closes the pipe: that is not this thread's fault.
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    Ok(Running { child, stdout, stderr })
}

/// Runs a command to its end.
pub fn run(command: &mut Command, stdin: Option<&[u8]>) -> Result<Outcome> {
    start(command, stdin)?.finish().with_context(|| format!("run {command:?}"))
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What standard output holds so far.
    pub fn stdout_so_far(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(&contents(&mut self.stdout)?).into_owned())
    }

    /// Waits for the end, and kills the command if that takes longer than [`TIME_LIMIT`].
    pub fn finish(mut self) -> Result<Outcome> {
        let Some(status) = wait(&mut self.child, TIME_LIMIT)? else {
            self.child.kill()?;
            self.child.wait()?;
            let (stdout, stderr) = (contents(&mut self.stdout)?, contents(&mut self.stderr)?);
            let so_far = Outcome { end: End::Killed(Signal::KILL.as_raw()), stdout, stderr };
            bail!("no end within {TIME_LIMIT:?}, so far: {so_far:?}");
        };
        let (stdout, stderr) = (contents(&mut self.stdout)?, contents(&mut self.stderr)?);
        Ok(Outcome { end: End::from(status), stdout, stderr })
    }
}

/// Waits for a child, `None` if it lives on after the limit.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        let status = child.try_wait()?;
        if status.is_some() || start.elapsed() > limit {
            return Ok(status);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Asks until the answer is yes, and returns whether it was within the limit.
pub fn eventually(limit: Duration, mut question: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !question() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(5 * LOOK_EVERY);
    }
    true
}

/// Sends a signal to a child by its pid.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed()).context("a pid is not 0")?;
    rustix::process::kill_process(pid, signal).context("signal a child")
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Killed(signal),
            (None, None) => unreachable!("wait returns only processes that have ended"),
        }
    }
}

fn contents(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn shorten(text: &str) -> String {
    if text.len() <= 2 * SHOWN {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(SHOWN);
    let tail = text.ceil_char_boundary(text.len() - SHOWN);
    format!("{}\n[... {} bytes ...]\n{}", &text[..head], tail - head, &text[tail..])
}
