//! Running one point's hooks.
//!
//! A hook's input and its complaints are files in memory and not pipes: a hook that does
//! not read cannot block us, and one that leaves a daemon behind cannot keep us waiting for
//! the end of its output. Each hook leads a process group of its own, so that a timeout
//! ends its children as well.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use spec_compat::Hook;

use crate::Point;

/// How much of a failed hook's standard error is told.
const TOLD: u64 = 4096;

/// A hook that failed: which one, and how.
#[derive(Debug, thiserror::Error)]
#[error("error running {point} hook #{index}: {failure}")]
pub struct HookError {
    /// Where in the container's life.
    pub point: Point,
    /// Which of the point's hooks, from 0.
    pub index: usize,
    /// What happened.
    #[source]
    pub failure: Failure,
}

/// How a hook can fail.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be started, or not be waited for.
    #[error("{path}: {source}")]
    Start {
        /// The hook's program.
        path: String,
        /// What Linux said.
        source: io::Error,
    },
    /// It ended with something else than 0.
    #[error("error running hook: {}, stderr: {stderr}", end(*status))]
    Status {
        /// How it ended.
        status: ExitStatus,
        /// The beginning of what it said.
        stderr: String,
    },
    /// It took longer than it may, and was killed.
    #[error("killed after its timeout of {seconds} s, stderr: {stderr}")]
    Timeout {
        /// The hook's own timeout.
        seconds: u64,
        /// The beginning of what it said.
        stderr: String,
    },
}

/// How a hook ended, as Go says it and so runc does.
fn end(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal: {}", signal_name(signal)),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => status.to_string(),
    }
}

/// What Go calls the signals that end hooks.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Runs all `hooks` one after the other, those behind one that fails too, and gives the failures.
///
/// So it is at [`Point::Poststart`] and [`Point::Poststop`]: the container is there, or gone, and the
/// specification goes on as if the hook had succeeded. Otherwise as [`run`].
pub fn run_all(
    point: Point,
    hooks: &[Hook],
    state: &str,
    environment: &[String],
) -> Vec<HookError> {
    let one = |(index, hook)| {
        let failure = run_one(hook, state, environment).err()?;
        Some(HookError { point, index, failure })
    };
    hooks.iter().enumerate().filter_map(one).collect()
}

/// Runs `hooks` one after the other up to the first that fails, each with `state` on standard input.
///
/// A hook that says nothing of its environment gets `environment`, `NAME=value` each.
pub fn run(
    point: Point,
    hooks: &[Hook],
    state: &str,
    environment: &[String],
) -> Result<(), HookError> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state, environment).map_err(|failure| HookError { point, index, failure })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str, environment: &[String]) -> Result<(), Failure> {
    let start = |source| Failure::Start { path: hook.path().display().to_string(), source };
    let mut complaints = memory_file("hook-stderr").map_err(start)?;
    let mut child = spawn(hook, state, environment, &complaints).map_err(start)?;
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    let ended = wait(&mut child, timeout).map_err(start)?;
    match (ended, timeout) {
        (Some(status), _) if status.success() => Ok(()),
        (Some(status), _) => Err(Failure::Status { status, stderr: told(&mut complaints) }),
        (None, seconds) => Err(Failure::Timeout {
            seconds: seconds.unwrap_or_default(),
            stderr: told(&mut complaints),
        }),
    }
}

fn spawn(hook: &Hook, state: &str, environment: &[String], stderr: &File) -> io::Result<Child> {
    let mut input = memory_file("hook-state")?;
    input.write_all(state.as_bytes())?;
    input.rewind()?;
    let mut command = Command::new(hook.path());
    if let Some((name, arguments)) = hook.args().as_deref().and_then(<[_]>::split_first) {
        command.arg0(name).args(arguments);
    }
    let variables = hook.env().as_deref().unwrap_or(environment);
    command
        .env_clear()
        .envs(variables.iter().filter_map(|variable| variable.split_once('=')))
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(stderr.try_clone()?)
        .process_group(0)
        .spawn()
}

/// Waits for the hook; `None` if it had to be killed.
fn wait(child: &mut Child, timeout: Option<u64>) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    if let Some(seconds) = timeout
        && !ends_within(pid, Duration::from_secs(seconds))?
    {
        // The group's leader is not reaped yet, so the number is still its own.
        kill_process_group(pid, Signal::KILL)?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}

fn ends_within(pid: Pid, limit: Duration) -> io::Result<bool> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    Ok(poll(&mut polled, Some(&limit))? > 0)
}

fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

/// The beginning of what a hook said; it is only shown, so trouble reading it is no trouble.
fn told(complaints: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = complaints.rewind();
    let _ = complaints.take(TOLD).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use serde_json::json;
    use spec_compat::Hook;

    use super::{run, run_all};
    use crate::Point;

    /// A hook that runs `script`, with further fields.
    fn shell(script: &str, fields: serde_json::Value) -> Hook {
        let mut hook = fields;
        hook["path"] = json!("/bin/sh");
        hook["args"] = json!(["sh", "-c", script]);
        serde_json::from_value(hook).unwrap()
    }

    #[test]
    fn a_hook_reads_the_state_on_standard_input() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy");
        let hook = shell(&format!("cat > {}", copy.display()), json!({}));

        run(Point::Poststart, &[hook], "{\"id\":\"x\"}", &[]).unwrap();

        assert_eq!(fs::read_to_string(copy).unwrap(), "{\"id\":\"x\"}");
    }

    #[test]
    fn a_hook_that_fails_is_named_with_its_complaint_and_ends_the_row() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let good = shell("true", json!({}));
        let bad = shell("echo no network >&2; exit 3", json!({}));
        let unreached = shell(&format!("touch {}", mark.display()), json!({}));

        let error = run(Point::CreateRuntime, &[good, bad, unreached], "", &[]).unwrap_err();

        assert_eq!(
            error.to_string(),
            "error running createRuntime hook #1: error running hook: exit status 3, stderr: no network"
        );
        assert!(!mark.exists());
    }

    #[test]
    fn a_signal_has_the_name_that_runc_gives_it() {
        for (signal, name) in [("KILL", "killed"), ("SYS", "bad system call"), ("URG", "")] {
            let hook = shell(&format!("kill -{signal} $$"), json!({}));
            let told = run(Point::StartContainer, &[hook], "", &[]).map_err(|one| one.to_string());
            let expected = format!(
                "error running startContainer hook #0: error running hook: signal: {name}, stderr: "
            );
            assert_eq!(told.err(), (!name.is_empty()).then_some(expected));
        }
    }

    #[test]
    fn where_failures_end_nothing_all_hooks_run_and_each_failure_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let bad = |status: u8| shell(&format!("exit {status}"), json!({}));
        let last = shell(&format!("cat >{}", mark.display()), json!({}));

        let hooks = [bad(3), bad(4), last];
        let failures = run_all(Point::Poststop, &hooks, "state", &[]);

        let told: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let words = |index, status| {
            format!(
                "error running poststop hook #{index}: error running hook: exit status {status}, stderr: "
            )
        };
        assert_eq!(told, [words(0, 3), words(1, 4)]);
        assert_eq!(fs::read_to_string(mark).unwrap(), "state");
    }

    #[test]
    fn a_timeout_kills_the_hook_and_its_children() {
        let began = Instant::now();
        let hook = shell("sleep 60 & sleep 60", json!({ "timeout": 1 }));

        let error = run(Point::Prestart, &[hook], "", &[]).unwrap_err();

        assert!(error.to_string().contains("killed after its timeout of 1 s"), "{error}");
        assert!(began.elapsed().as_secs() < 30);
    }

    #[test]
    fn a_hook_has_its_own_environment_or_else_the_given_one() {
        let own = shell("test \"$A\" = 1 && test -z \"$B\"", json!({ "env": ["A=1"] }));
        let given = shell("test -z \"$A\" && test \"$B\" = 2", json!({}));

        run(Point::Poststop, &[own, given], "", &["B=2".to_owned()]).unwrap();
    }

    #[test]
    fn a_hook_that_does_not_exist_is_named() {
        let hook: Hook = serde_json::from_value(json!({ "path": "/no/such/hook" })).unwrap();

        let error = run(Point::Prestart, &[hook], "", &[]).unwrap_err();

        assert_eq!(
            error.to_string(),
            "error running prestart hook #0: /no/such/hook: No such file or directory (os error 2)"
        );
    }
}
