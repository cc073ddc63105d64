//! Several commands at once on one container: what may win wins once, and nothing is left half made.
//!
//! runc has no lock of its own, so some of these can go wrong with it, and it is not the measure here. What
//! may happen is written down instead: it is what the same commands do one after another, in any order.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use anyhow::{Context as _, Result, ensure};
use conformance::Stage;
use integration::outcome::{self, End, Outcome, Running};
use integration::runtime::Runtime;

/// How often each race is run, in each mode.
const ROUNDS: usize = 4;

const START: &[&str] = &["start", "box"];
const CREATE: &[&str] = &["create", "box"];
const DELETE: &[&str] = &["delete", "box"];
const FORCE: &[&str] = &["delete", "--force", "box"];
const KILL: &[&str] = &["kill", "box", "KILL"];
const EXEC: &[&str] = &["exec", "box", "/bin/true"];

/// What was before, and what is done at once.
struct Race {
    before: &'static [&'static [&'static str]],
    at_once: &'static [&'static [&'static str]],
    /// How many of them may succeed, at least and at most.
    winners: (usize, usize),
    /// What `state` may say then: a status, or nothing where there is no container.
    after: &'static [&'static str],
}

/// The words of a command that came too early or too late.
const LATE: [&str; 11] = [
    "container with given ID already exists",
    "container does not exist",
    "container not running",
    "container not paused",
    "cannot start an already running container",
    "cannot start a container that has stopped",
    "cannot start a container in the paused state",
    "that is not stopped: ",
    "cannot exec in a stopped container",
    "cannot exec in a paused container",
    // Its container is dying under it, and is not dead yet.
    "exec failed: ",
];

const GONE: &str = "";

/// What `exec` ends with when its program was ended by `SIGKILL`: 128 and the signal's number, as a shell says it.
const KILLED: End = End::Exited(128 + 9);

const RACES: &[Race] = &[
    Race { before: &[], at_once: &[CREATE, CREATE, CREATE], winners: (1, 1), after: &["created"] },
    Race {
        before: &[CREATE],
        at_once: &[START, START, START],
        winners: (1, 1),
        after: &["running"],
    },
    Race { before: &[CREATE], at_once: &[DELETE, DELETE], winners: (1, 1), after: &[GONE] },
    // `delete` of a created container removes it; of a running one it refuses.
    Race {
        before: &[CREATE],
        at_once: &[START, DELETE],
        winners: (1, 1),
        after: &["running", GONE],
    },
    Race { before: &[CREATE], at_once: &[START, FORCE], winners: (1, 2), after: &[GONE] },
    Race {
        before: &[CREATE, START],
        at_once: &[FORCE, FORCE, FORCE],
        winners: (3, 3),
        after: &[GONE],
    },
    Race { before: &[CREATE, START], at_once: &[KILL, FORCE], winners: (1, 2), after: &[GONE] },
    Race {
        before: &[CREATE, START],
        at_once: &[KILL, DELETE],
        winners: (1, 2),
        after: &["stopped", GONE],
    },
    Race {
        before: &[CREATE, START],
        at_once: &[EXEC, EXEC, FORCE],
        winners: (1, 3),
        after: &[GONE],
    },
    Race { before: &[CREATE], at_once: &[EXEC, START], winners: (2, 2), after: &["running"] },
    Race {
        before: &[CREATE, START],
        at_once: &[&["pause", "box"], &["resume", "box"], &["pause", "box"]],
        winners: (1, 3),
        after: &["running", "paused"],
    },
    Race {
        before: &[CREATE, START],
        at_once: &[&["pause", "box"], FORCE],
        winners: (1, 2),
        after: &[GONE],
    },
    // The one may be gone before the other comes.
    Race {
        before: &[CREATE],
        at_once: &[CREATE, FORCE],
        winners: (1, 2),
        after: &["created", GONE],
    },
];

impl Race {
    fn run(&self, runtime: Runtime) -> Result<()> {
        let mut stage = Stage::new(runtime, &["/bin/sleep", "1000"])?;
        for command in self.before {
            let done = begin(&stage, command)?.finish()?;
            ensure!(done.is_success(), "{command:?}: {done:?}");
        }
        let begun = self.at_once.iter().map(|command| begin(&stage, command));
        let begun = begun.collect::<Result<Vec<_>>>()?;
        let ended = begun.into_iter().map(Running::finish).collect::<Result<Vec<_>>>()?;
        self.ensure_fair(&ended)?;
        self.ensure_whole(&mut stage)?;
        stage.finish()
    }

    fn ensure_fair(&self, ended: &[Outcome]) -> Result<()> {
        let winners = ended.iter().filter(|one| one.is_success()).count();
        let (least, most) = self.winners;
        ensure!((least..=most).contains(&winners), "{winners} of {:?}: {ended:?}", self.at_once);
        for (command, one) in self.at_once.iter().zip(ended).filter(|(_, one)| !one.is_success()) {
            let is_fair = is_late(one) || *command == EXEC && is_killed(one);
            ensure!(is_fair, "{:?}: {ended:?}", self.at_once);
        }
        Ok(())
    }

    /// What `state` says is what the other commands make of it.
    fn ensure_whole(&self, stage: &mut Stage) -> Result<()> {
        let status = || stage.runtime.status("box").unwrap_or_default();
        let is_settled = || self.after.contains(&status().as_str());
        ensure!(outcome::eventually(outcome::TIME_LIMIT / 10, is_settled), "it is {:?}", status());
        let entries = stage.runtime.state_entries();
        ensure!(entries.is_empty() == (status() == GONE), "{entries:?} and {:?}", status());
        stage.runtime.must(FORCE)?;
        stage.bundle.footprint.ensure_nothing_is_left()?;
        // The name is free, and the next container is as good as the first.
        stage.create("box")?;
        stage.runtime.must(START)?;
        ensure!(stage.runtime.status("box")? == "running", "the next container runs");
        stage.runtime.must(FORCE).map(drop)
    }
}

/// Whether a command came too early or too late, and said so.
fn is_late(ended: &Outcome) -> bool {
    let text = ended.stderr();
    LATE.iter().any(|words| text.contains(words)) && !text.contains("panicked")
}

/// Whether the program that a command ran was killed with its container: no fault, and nothing is said of it.
fn is_killed(ended: &Outcome) -> bool {
    ended.end == KILLED && ended.stderr().is_empty()
}

/// Starts a command. One that makes a container gets the bundle.
fn begin(stage: &Stage, command: &[&str]) -> Result<Running> {
    let path = stage.bundle.path().to_string_lossy().into_owned();
    let mut command = match command {
        ["create", id] => stage.runtime.command(["create", "--bundle", &path, id]),
        other => stage.runtime.command(other),
    };
    outcome::start(&mut command, None)
}

#[track_caller]
fn assert_fair(runtime: fn() -> Result<Runtime>) {
    for race in RACES {
        for round in 0..ROUNDS {
            let ran = runtime().and_then(|runtime| race.run(runtime));
            let ran = ran.with_context(|| format!("round {round} of {:?}", race.at_once));
            assert!(ran.is_ok(), "{ran:?}");
        }
    }
}

#[test]
fn commands_at_once_do_what_they_do_one_after_another() {
    assert_fair(Runtime::krun);
}

#[test]
fn commands_at_once_do_natively_what_they_do_one_after_another() {
    assert_fair(Runtime::krun_natively);
}
