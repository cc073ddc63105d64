//! Commands that fail, the phrase that engines look for in each, and how they are brought about.
//!
//! Who looks for what: containerd's shim and CRI-O for "already dead" and "not there", dockerd and podman
//! for what makes exit codes 125, 126 and 127 and advice, and scripts for runc's words of old.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use integration::outcome::{self, Outcome};
use serde_json::Value;

use crate::Stage;

/// A signal takes a moment to end a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The least that leads to a command's failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// A place in `config.json` and the JSON that is put there; `-` appends to a list.
    pub change: Option<(&'static str, &'static str)>,
    /// Commands that succeed before it. `stop` kills, and waits for the end.
    pub before: &'static [&'static [&'static str]],
    /// The command.
    pub command: &'static [&'static str],
    /// What its message has in it, with every runtime.
    pub phrase: &'static str,
}

/// A command on a container for which this was done before.
const fn after(
    before: &'static [&'static [&'static str]],
    command: &'static [&'static str],
    phrase: &'static str,
) -> Failure {
    Failure { change: None, before, command, phrase }
}

/// `create` of a bundle with this in it.
const fn with(place: &'static str, json: &'static str, phrase: &'static str) -> Failure {
    Failure { change: Some((place, json)), before: NOTHING, command: CREATE, phrase }
}

const NOTHING: &[&[&str]] = &[];
const CREATE: &[&str] = &["create", "box"];
const CREATED: &[&[&str]] = &[CREATE];
const RUNNING: &[&[&str]] = &[CREATE, &["start", "box"]];
const PAUSED: &[&[&str]] = &[CREATE, &["start", "box"], &["pause", "box"]];
const STOPPED: &[&[&str]] = &[CREATE, &["start", "box"], &["stop", "box"]];

const ABSENT: &str = "container does not exist";
const NOT_RUNNING: &str = "container not running";
const NO_FILE: &str = "no such file or directory";
const NO_DIRECTORY: &str = "not a directory";

/// All of them.
pub const FAILURES: &[Failure] = &[
    after(NOTHING, &["state", "box"], ABSENT),
    after(NOTHING, &["start", "box"], ABSENT),
    after(NOTHING, &["kill", "box", "KILL"], ABSENT),
    after(NOTHING, &["kill", "--all", "box", "9"], ABSENT),
    after(NOTHING, &["delete", "box"], ABSENT),
    after(NOTHING, &["pause", "box"], ABSENT),
    after(NOTHING, &["resume", "box"], ABSENT),
    after(NOTHING, &["ps", "box"], ABSENT),
    after(NOTHING, &["events", "--stats", "box"], ABSENT),
    after(NOTHING, &["update", "--pids-limit", "9", "box"], ABSENT),
    after(NOTHING, &["exec", "box", "true"], "exec failed: container does not exist"),
    after(NOTHING, &["state", "a/b"], "invalid container ID format"),
    after(NOTHING, &["create", "a/b"], "runc create failed: invalid container ID format"),
    after(NOTHING, &["create", ""], "runc create failed: container id cannot be empty"),
    after(CREATED, CREATE, "runc create failed: container with given ID already exists"),
    after(CREATED, &["resume", "box"], "container not paused"),
    after(CREATED, &["kill", "box", "NOSUCH"], "unknown signal \"NOSUCH\""),
    after(CREATED, &["update", "--memory", "x", "box"], "invalid value for memory: "),
    after(RUNNING, CREATE, "container with given ID already exists"),
    after(RUNNING, &["start", "box"], "cannot start an already running container"),
    after(RUNNING, &["delete", "box"], "cannot delete container box that is not stopped: running"),
    after(RUNNING, &["resume", "box"], "container not paused"),
    after(
        RUNNING,
        &["exec", "box", "nosuch"],
        "exec: \"nosuch\": executable file not found in $PATH",
    ),
    after(RUNNING, &["exec", "box", "/no"], "exec: \"/no\": stat /no: no such file or directory"),
    after(RUNNING, &["exec", "box", "/etc/passwd"], "exec: \"/etc/passwd\": permission denied"),
    after(RUNNING, &["exec", "box", "/bin"], "permission denied"),
    after(
        RUNNING,
        &["exec", "--cwd", "/no", "box", "true"],
        "chdir to cwd (\"/no\") set in config.json failed: no such file or directory",
    ),
    after(RUNNING, &["exec", "box"], "exec failed: process args cannot be empty"),
    after(RUNNING, &["exec", "--process", "/no/file", "box"], NO_FILE),
    after(PAUSED, &["pause", "box"], NOT_RUNNING),
    after(PAUSED, &["start", "box"], "cannot start a container in the paused state"),
    after(PAUSED, &["delete", "box"], "cannot delete container box that is not stopped: paused"),
    after(
        PAUSED,
        &["exec", "box", "true"],
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)",
    ),
    after(STOPPED, CREATE, "container with given ID already exists"),
    after(STOPPED, &["start", "box"], "cannot start a container that has stopped"),
    after(STOPPED, &["kill", "box", "TERM"], NOT_RUNNING),
    after(STOPPED, &["pause", "box"], NOT_RUNNING),
    after(STOPPED, &["resume", "box"], "container not paused"),
    after(STOPPED, &["update", "--pids-limit", "9", "box"], NOT_RUNNING),
    after(STOPPED, &["exec", "box", "true"], "exec failed: cannot exec in a stopped container"),
    after(STOPPED, &["events", "--stats", "box"], "container with id box is not running"),
    with("/process/args", r#"["/no"]"#, "exec: \"/no\": stat /no: no such file or directory"),
    with("/process/args", r#"["no"]"#, "exec: \"no\": executable file not found in $PATH"),
    with("/process/args", r#"["/etc/passwd"]"#, "exec: \"/etc/passwd\": permission denied"),
    with("/process/args", r#"["/bin"]"#, "permission denied"),
    with("/process/args", r#"["/bin/true/"]"#, NO_DIRECTORY),
    with("/process/args", "[]", "args"),
    with("/process/cwd", r#""/etc/passwd""#, NO_DIRECTORY),
    with("/process/cwd", r#""etc""#, "an absolute path"),
    with("/process/terminal", "true", "cannot allocate tty if "),
    with("/process/apparmorProfile", r#""nosuch""#, "write /proc/self/attr/exec: "),
    with("/root/path", r#""nowhere""#, NO_FILE),
    with(
        "/mounts/-",
        r#"{"destination": "/etc/passwd", "type": "bind", "source": "/etc", "options": ["bind"]}"#,
        NO_DIRECTORY,
    ),
    with(
        "/mounts/-",
        r#"{"destination": "/etc", "type": "bind", "source": "/etc/passwd", "options": ["rbind"]}"#,
        NO_DIRECTORY,
    ),
    with(
        "/mounts/-",
        r#"{"destination": "/mnt", "type": "bind", "source": "/no/such", "options": ["bind"]}"#,
        "stat /no/such: no such file or directory",
    ),
    with("/mounts/-", r#"{"destination": "/mnt", "type": "nosuchfs"}"#, "no such device"),
    with("/linux/sysctl", r#"{"net.no": "1"}"#, "open /proc/sys/net/no: no such file or directory"),
    with("/linux/sysctl", r#"{"vm.swappiness": "1"}"#, "is not in a separate kernel namespace"),
    with("/linux/namespaces/4", r#"{"type": "network", "path": "/no/such"}"#, NO_FILE),
    with("/hooks", r#"{"prestart": [{"path": "/no/such"}]}"#, NO_FILE),
    with("/hooks", r#"{"createRuntime": [{"path": "/bin/false"}]}"#, "hook #0: "),
    with("/hooks", r#"{"createContainer": [{"path": "/bin/false"}]}"#, "hook #0: "),
];

impl Failure {
    /// Does what comes before, and then the command with these global options.
    pub fn bring_about(&self, stage: &mut Stage, options: &[&str]) -> Result<Outcome> {
        if let Some((place, json)) = self.change {
            let value = serde_json::from_str(json)?;
            stage.bundle.change(|spec| put(spec, place, value))?;
        }
        for command in self.before {
            match command {
                ["stop", id] => {
                    stage.runtime.must(["kill", id, "KILL"])?;
                    let stopped = || stage.runtime.status(id).is_ok_and(|now| now == "stopped");
                    ensure!(outcome::eventually(PATIENCE, stopped), "{id} does not end");
                }
                command => {
                    let done = Self::call(stage, &[], command)?;
                    ensure!(done.is_success(), "{command:?}: {done:?}");
                }
            }
        }
        Self::call(stage, options, self.command)
    }

    fn call(stage: &Stage, options: &[&str], command: &[&str]) -> Result<Outcome> {
        let (verb, rest) = command.split_first().context("a command has a verb")?;
        if *verb == "create" {
            return stage.with_bundle(&[options, &["create"]].concat(), rest);
        }
        stage.runtime.call([options, command].concat())
    }
}

/// Puts a value into a document; what leads there is made.
pub fn put(document: &mut Value, place: &str, value: Value) {
    let Some((parent, name)) = place.rsplit_once('/') else { return };
    let mut into = document;
    for step in parent.split('/').skip(1) {
        into = &mut into[step];
    }
    match (into.as_array_mut(), name.parse::<usize>()) {
        (Some(list), Ok(index)) => list[index] = value,
        (Some(list), Err(_)) => list.push(value),
        (None, _) => into[name] = value,
    }
}
