//! Random commands on one to three containers, judged by a model of what runc does.
//!
//! The same commands go to runc first: where it does not do what the model says, the model is wrong.
//! Then krun has to do it, with virtual machines and natively. After each command the exit status, the
//! words of a failure and the status of every container are compared; in the end all is removed, and
//! nothing may be left.
//!
//! `PROPTEST_CASES` says how many such sequences there are.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod model;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use integration::bundle::Bundle;
use integration::changed_bundle;
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::{Value, json};

use self::model::{Expected, Model, Program, Verb};

/// How many sequences there are where nobody wants more: about twenty seconds.
const CASES: u32 = 10;

/// How many commands a sequence has at most.
const COMMANDS: usize = 24;

/// A signal takes a moment to end a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// A shell that ends when it is told to, and says when it can be told.
const OBEYS: &str =
    "trap 'exit 3' TERM; echo > /tmp/ready/file; while :; do sleep 1000 & wait; done";

/// A runtime with a bundle for each program.
struct Subject {
    runtime: Runtime,
    bundles: BTreeMap<Program, Bundle>,
}

impl Subject {
    fn new(runtime: Runtime) -> Result<Self> {
        let bundle = |program| Ok((program, bundle(program)?));
        Ok(Self { runtime, bundles: Program::ALL.into_iter().map(bundle).collect::<Result<_>>()? })
    }

    fn bundle(&self, program: Program) -> Result<&Bundle> {
        self.bundles.get(&program).context("each program has a bundle")
    }

    /// Says to the program's container what the verb is for.
    fn carry_out(&self, program: Program, verb: Verb) -> Result<Outcome> {
        let id = program.id();
        let path = self.bundle(program)?.path().to_string_lossy().into_owned();
        let shell = ["exec", id, "/bin/sh", "-c", "exit 7"];
        match verb {
            Verb::Create => self.runtime.call(["create", "--bundle", &path, id]),
            Verb::Start => self.start(program),
            Verb::State => self.runtime.call(["state", id]),
            Verb::Kill(signal) => self.runtime.call(["kill", id, signal]),
            Verb::KillAll => self.runtime.call(["kill", "--all", id, "KILL"]),
            Verb::Pause => self.runtime.call(["pause", id]),
            Verb::Resume => self.runtime.call(["resume", id]),
            Verb::Exec => self.runtime.call(shell),
            Verb::Ps => self.runtime.call(["ps", "--format", "json", id]),
            Verb::Update => self.runtime.call(["update", "--pids-limit", "1000", id]),
            Verb::Delete => self.runtime.call(["delete", id]),
            Verb::DeleteByForce => self.runtime.call(["delete", "--force", id]),
        }
    }

    /// Waits until the program has its handler, if it is to have one.
    fn start(&self, program: Program) -> Result<Outcome> {
        let ready = ready(self.bundle(program)?);
        _ = fs::remove_file(&ready);
        let started = self.runtime.call(["start", program.id()])?;
        if program == Program::Obeys && started.is_success() {
            ensure!(outcome::eventually(PATIENCE, || ready.exists()), "the program does not begin");
        }
        Ok(started)
    }

    /// What `list` says of each container.
    fn statuses(&self) -> Result<BTreeMap<String, String>> {
        let listed = self.runtime.must(["list", "--format", "json"])?;
        let listed: Option<Vec<Value>> = serde_json::from_slice(&listed.stdout)?;
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let listed = listed.unwrap_or_default();
        for one in &listed {
            let has_ended = one["status"] == "stopped";
            ensure!((one["pid"] == json!(0)) == has_ended, "a process has a number: {one}");
        }
        Ok(listed.iter().map(|one| (text(one, "id"), text(one, "status"))).collect())
    }

    fn ensure_like(&self, model: &Model) -> Result<()> {
        let mut seen = BTreeMap::new();
        let is_like = || {
            seen = self.statuses().unwrap_or_default();
            seen == model.statuses()
        };
        let is_like = outcome::eventually(PATIENCE, is_like);
        ensure!(is_like, "containers are {seen:?}, not {:?}", model.statuses());
        Ok(())
    }

    /// Removes all, and looks what is left.
    fn finish(self) -> Result<()> {
        for program in Program::ALL {
            self.runtime.must(["delete", "--force", program.id()])?;
        }
        ensure!(self.runtime.state_entries().is_empty(), "{:?}", self.runtime.state_entries());
        self.bundles.values().try_for_each(|bundle| bundle.footprint.ensure_nothing_is_left())
    }
}

fn is_as_expected(ended: &Outcome, expected: Expected) -> bool {
    match expected {
        Expected::Success => ended.is_success(),
        Expected::Status(status) => ended.end == End::Exited(status),
        Expected::Failure(words) => {
            matches!(ended.end, End::Exited(1 | 255)) && ended.stderr().contains(words)
        }
    }
}

/// Where the program says that it is ready.
fn ready(bundle: &Bundle) -> PathBuf {
    bundle.path().join("ready/file")
}

fn bundle(program: Program) -> Result<Bundle> {
    let args: &[&str] = match program {
        Program::Stays => &["/bin/sleep", "1000"],
        Program::Obeys => &["/bin/sh", "-c", OBEYS],
        Program::Ends => &["/bin/true"],
    };
    let mut bundle = Bundle::with_args(args)?;
    let directory = bundle.path().join("ready");
    fs::create_dir(&directory)?;
    let mount = json!({"destination": "/tmp/ready", "type": "bind", "source": directory,
                       "options": ["bind", "rw"]});
    bundle.change(|spec| changed_bundle::add_mount(spec, mount))?;
    Ok(bundle)
}

/// Takes the commands, and says where the runtime parts from the model.
fn drive(runtime: Result<Runtime>, commands: &[(Program, Verb)]) -> Result<()> {
    let subject = Subject::new(runtime?)?;
    let mut model = Model::default();
    for (number, &(program, verb)) in (1..).zip(commands) {
        let expected = model.carry_out(program, verb);
        let ended = subject.carry_out(program, verb)?;
        let which = || format!("command {number}, {program:?} {verb:?}: {ended:?}");
        ensure!(is_as_expected(&ended, expected), "{}, not {expected:?}", which());
        subject.ensure_like(&model).with_context(which)?;
    }
    subject.finish()
}

fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

#[test]
fn krun_does_with_any_commands_what_runc_does() {
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        // A sequence takes seconds, and a test that fails shall say so in time.
        max_shrink_time: 40_000,
        ..Config::default()
    };

    let judged = TestRunner::new(config).run(&model::commands(COMMANDS), |commands| {
        for (name, runtime) in [
            ("the model is wrong: runc", Runtime::runc()),
            ("krun", Runtime::krun()),
            ("krun, natively", Runtime::krun_natively()),
        ] {
            let driven = drive(runtime, &commands);
            driven.map_err(|error| TestCaseError::fail(format!("{name}: {error:#}")))?;
        }
        Ok(())
    });

    match judged {
        Err(TestError::Fail(reason, commands)) => panic!("{reason}\n{commands:?}"),
        judged => judged.expect("there are commands"),
    }
}
