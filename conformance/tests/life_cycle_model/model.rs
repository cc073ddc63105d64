//! What runc does with containers, in as few words as there are: no processes, no cgroups, no files.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, prop, prop_oneof};

/// The most containers at a time; each [`Program`] has one.
const CONTAINERS: usize = 3;

/// runc's word on a container that is not there.
const ABSENT: &str = "container does not exist";

/// What a container runs, and so its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    /// Lives until it is killed, as process 1 does that has no handlers.
    Stays,
    /// Ends at `SIGTERM`.
    Obeys,
    /// Ends by itself, at once.
    Ends,
}

impl Program {
    pub(crate) const ALL: [Self; CONTAINERS] = [Self::Stays, Self::Obeys, Self::Ends];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Obeys => "obeys",
            Self::Ends => "ends",
        }
    }
}

/// A command on one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start,
    State,
    Kill(&'static str),
    KillAll,
    Pause,
    Resume,
    /// A program that returns 7.
    Exec,
    Ps,
    Update,
    Delete,
    DeleteByForce,
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Success,
    /// The status of the program that `exec` runs.
    Status(i32),
    /// 1, or 255 for `exec`, and these words on standard error.
    Failure(&'static str),
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Created,
    Running,
    Stopped,
}

/// One container.
#[derive(Clone, Copy, Debug, Default)]
struct Container {
    life: Life,
    is_frozen: bool,
    /// A signal that it is to end at waits until it is no longer frozen.
    is_doomed: bool,
}

impl Container {
    fn status(self) -> &'static str {
        match self.life {
            Life::Stopped => "stopped",
            _ if self.is_frozen => "paused",
            Life::Running => "running",
            Life::Created => "created",
        }
    }

    /// What is doomed ends, unless it is frozen.
    fn settle(&mut self) {
        if self.is_doomed && !self.is_frozen {
            self.life = Life::Stopped;
        }
    }

    /// Takes a signal.
    fn receive(&mut self, program: Program, signal: &str) {
        match signal {
            // It dies even if it is frozen.
            "KILL" => self.life = Life::Stopped,
            // runc's own process, which waits to become the program, ends at it, too.
            "TERM" => self.is_doomed |= self.life == Life::Created || program == Program::Obeys,
            _ => {}
        }
        self.settle();
    }

    /// Does what the verb is for. `delete` and `create` are not this container's own business.
    fn carry_out(&mut self, program: Program, verb: Verb) -> Expected {
        use Expected::{Failure, Status, Success};
        match (verb, self.status()) {
            (Verb::Start, "created") => {
                self.life = if program == Program::Ends { Life::Stopped } else { Life::Running };
            }
            (Verb::Start, "running") => {
                return Failure("cannot start an already running container");
            }
            (Verb::Start, "stopped") => {
                return Failure("cannot start a container that has stopped");
            }
            (Verb::Start, _) => return Failure("cannot start a container in the paused state"),
            (Verb::Pause, "created" | "running") => self.is_frozen = true,
            (Verb::Kill(_) | Verb::Update, "stopped") | (Verb::Pause, _) => {
                return Failure("container not running");
            }
            (Verb::Kill(signal), _) => self.receive(program, signal),
            (Verb::KillAll, _) => self.life = Life::Stopped,
            (Verb::Resume, "paused") => {
                self.is_frozen = false;
                self.settle();
            }
            (Verb::Resume, _) => return Failure("container not paused"),
            (Verb::Exec, "created" | "running") => return Status(7),
            (Verb::Exec, "paused") => return Failure("cannot exec in a paused container"),
            (Verb::Exec, _) => return Failure("cannot exec in a stopped container"),
            (Verb::Delete, "running" | "paused") => return Failure("that is not stopped: "),
            (Verb::Create, _) => return Failure("container with given ID already exists"),
            (Verb::State | Verb::Ps | Verb::Update | Verb::Delete | Verb::DeleteByForce, _) => {}
        }
        Success
    }
}

/// All containers.
#[derive(Debug, Default)]
pub(crate) struct Model {
    containers: BTreeMap<Program, Container>,
}

impl Model {
    /// The status of each container that is there.
    pub(crate) fn statuses(&self) -> BTreeMap<String, String> {
        let status = |(program, container): (&Program, &Container)| {
            (program.id().to_owned(), container.status().to_owned())
        };
        self.containers.iter().map(status).collect()
    }

    /// Does what the verb is for, and says how the command ends.
    pub(crate) fn carry_out(&mut self, program: Program, verb: Verb) -> Expected {
        let Some(container) = self.containers.get_mut(&program) else {
            if verb == Verb::Create {
                self.containers.insert(program, Container::default());
            }
            let is_fine = matches!(verb, Verb::Create | Verb::DeleteByForce);
            return if is_fine { Expected::Success } else { Expected::Failure(ABSENT) };
        };
        let expected = container.carry_out(program, verb);
        let is_deleted = matches!(verb, Verb::Delete | Verb::DeleteByForce);
        if is_deleted && expected == Expected::Success {
            self.containers.remove(&program);
        }
        expected
    }
}

/// Any commands on as many containers in any order; what leads further comes more often.
pub(crate) fn commands(most: usize) -> impl Strategy<Value = Vec<(Program, Verb)>> {
    let of = move |count| {
        let program = prop::sample::select(Program::ALL[..count].to_vec());
        prop::collection::vec((program, verb()), 1..=most)
    };
    (1..=CONTAINERS).prop_flat_map(of)
}

fn verb() -> impl Strategy<Value = Verb> {
    let signal = prop::sample::select(vec!["0", "CONT", "USR1", "TERM", "KILL"]);
    prop_oneof![
        5 => Just(Verb::Create),
        5 => Just(Verb::Start),
        1 => Just(Verb::State),
        5 => signal.prop_map(Verb::Kill),
        1 => Just(Verb::KillAll),
        3 => Just(Verb::Pause),
        3 => Just(Verb::Resume),
        2 => Just(Verb::Exec),
        1 => Just(Verb::Ps),
        1 => Just(Verb::Update),
        2 => Just(Verb::Delete),
        1 => Just(Verb::DeleteByForce),
    ]
}
