//! `SCMP_ACT_NOTIFY`: an agent outside the container decides about calls, as with runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Result;
use integration::bundle::Bundle;
use integration::guests;
use integration::outcome;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const ASKED_ABOUT: [&str; 6] = ["mkdir", "openat", "execve", "newfstatat", "getcwd", "clone3"];

fn runtimes() -> [Runtime; 3] {
    Runtime::all().expect("runc is installed, and krun is built")
}

/// A running agent, see `notify/agent.c`.
struct Agent {
    directory: TempDir,
    process: Child,
}

impl Agent {
    fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("krun-agent").tempdir()?;
        let program = directory.path().join("agent");
        guests::c_text(include_str!("notify/agent.c"), &program)?;
        let socket = directory.path().join("socket");
        let mut command = Command::new(program);
        command.arg(&socket).stdout(File::create(directory.path().join("said"))?);
        let process = command.spawn()?;
        let agent = Self { directory, process };
        assert!(outcome::eventually(PATIENCE, || agent.socket().exists()), "it listens");
        Ok(agent)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The profile that has it asked.
    fn profile(&self, calls: &[&str]) -> Value {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": self.socket(),
            "listenerMetadata": "what the agent wants to know",
            "syscalls": [
                {"names": calls, "action": "SCMP_ACT_NOTIFY"},
                {"names": ["chroot"], "action": "SCMP_ACT_ERRNO"},
            ],
        })
    }

    /// What it was told and asked, until it has said "end" so often.
    fn said(&self, ends: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        let count = || read().lines().filter(|line| *line == "end").count();
        assert!(outcome::eventually(PATIENCE, || count() >= ends), "{}", read());
        read().lines().map(str::to_owned).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which a test has noticed.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// What an agent was told, one process after the other, without what differs with every container.
fn told(said: &[String]) -> Vec<Value> {
    let documents = said.iter().filter_map(|line| line.strip_prefix("told "));
    let parse = |text: &str| {
        let mut message: Value = serde_json::from_str(text).expect("a document");
        for version in ["/ociVersion", "/state/ociVersion"] {
            let version = message.pointer_mut(version).expect("it has a version");
            assert!(version.take().is_string());
        }
        message
    };
    documents.map(parse).collect()
}

/// What it was asked by the program, not by what made the container.
fn asked(said: &[String]) -> Vec<&String> {
    said.iter().skip_while(|line| !line.starts_with("mkdir /tmp/errno")).collect()
}

fn add_program(path: &Path) {
    guests::c_text(include_str!("notify/asked.c"), path).expect("gcc compiles it");
}

#[test]
fn an_agent_decides_about_calls_of_threads_children_and_executed_programs() {
    let seen = runtimes().map(|runtime| {
        let agent = Agent::start().expect("the agent runs");
        let mut bundle = Bundle::with_args(&["/bin/asked"]).expect("a bundle");
        add_program(&bundle.in_rootfs("bin/asked"));
        bundle
            .change(|spec| spec["linux"]["seccomp"] = agent.profile(&ASKED_ABOUT))
            .expect("it can be changed");
        let path = bundle.path().to_str().expect("the path is text").to_owned();
        let outcome = runtime.call(["run", "--bundle", &path, "web"]).expect("it runs");

        let said = agent.said(1);
        let mut told = told(&said);
        let [message] = told.as_mut_slice() else { panic!("{told:?}") };
        let pid = message["pid"].take();
        assert!(pid.as_i64().is_some_and(|pid| pid > 0) && message["state"]["pid"].take() == pid);
        assert_eq!(message["state"]["bundle"].take(), json!(bundle.path()));
        (outcome, message.clone(), asked(&said).into_iter().cloned().collect::<Vec<_>>())
    });

    let [(expected, message, questions), others @ ..] = &seen;
    assert!(expected.is_success() && questions.len() > 20, "{expected:?} {questions:?}");
    for (got, same_message, same_questions) in others {
        let difference = outcome::difference(expected, got);
        assert!(difference.is_none(), "{}", difference.unwrap_or_default());
        assert_eq!((message, questions), (same_message, same_questions));
    }
}

#[test]
fn a_further_program_has_a_listener_of_its_own_and_the_programs_rights() {
    let status = ["web", "busybox", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/1/status"];
    let seen = runtimes().map(|runtime| {
        let agent = Agent::start().expect("the agent runs");
        let sleeper = Sleeper::changed(runtime, |spec| {
            spec["linux"]["seccomp"] = agent.profile(&["mkdir"]);
            spec["process"]["noNewPrivileges"] = json!(false);
        });
        add_program(&sleeper.bundle.in_rootfs("bin/asked"));
        let first = sleeper.runtime.state("web").expect("state")["pid"].clone();
        let printed = ["/tmp/errno", "/tmp/value", "/tmp/goes-on"]
            .map(|path| sleeper.exec(&["web", "asked", path], None).stdout());
        let rights = sleeper.exec(&status, None).stdout();
        let lines: Vec<_> = rights.lines().filter(|line| !line.contains("filters")).collect();
        let said = agent.said(4);
        let told = told(&said);
        for message in &told {
            assert_eq!(message["state"]["pid"], first);
        }
        assert_eq!(told[0]["pid"], first);
        assert_ne!(told[1]["pid"], first);
        let told_as: Vec<_> = told.iter().map(|told| told["state"]["status"].clone()).collect();
        let seen = (printed, lines.join("\n"), told_as, asked(&said).len());
        sleeper.finish();
        seen
    });

    assert!(seen[0].0[1].contains("77"), "{seen:?}");
    assert_eq!([&seen[1], &seen[2]], [&seen[0], &seen[0]]);
}

#[test]
fn what_no_agent_can_be_asked_about_is_refused_by_name() {
    let agent = Agent::start().expect("the agent runs");
    let cases = [
        (json!({"listenerPath": null}), "seccomp listenerPath is not set"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "cannot be used as default action"),
        (json!({"listenerPath": "/nowhere"}), "connect to /nowhere: no such file or directory"),
        (
            json!({"syscalls": [{"names": ["mmap"], "action": "SCMP_ACT_NOTIFY"}]}),
            "cannot be used for the mmap syscall in a virtual machine",
        ),
    ];
    let mut bundle = Bundle::with_args(&["/bin/true"]).expect("a bundle");
    for (change, words) in cases {
        let mut profile = agent.profile(&["mkdir"]);
        for (name, value) in change.as_object().expect("an object") {
            profile[name] = value.clone();
        }
        if profile["listenerPath"].is_null() {
            profile.as_object_mut().expect("an object").remove("listenerPath");
        }
        bundle.change(|spec| spec["linux"]["seccomp"] = profile).expect("it can be changed");
        let path = bundle.path().to_str().expect("the path is text");
        let runtime = Runtime::krun().expect("krun is built");

        let outcome = runtime.call(["create", "--bundle", path, "web"]).expect("it is called");

        assert!(!outcome.is_success() && outcome.stderr().contains(words), "{outcome:?}");
        assert!(runtime.state_entries().is_empty());
    }
}
