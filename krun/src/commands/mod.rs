//! The verbs, one file each.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod policy;
mod ps;
mod run;
mod run_hook;
mod spec;
mod start;
mod state;
mod update;

use std::io::{self, Write};
use std::process::ExitCode;

use krun_config::ConfigError;
use krun_policy::PolicyError;

use crate::cli::{Global, Verb};
use crate::container::remove::RemoveError;
use crate::container::start::StartError;
use crate::container::store::{Store, StoreError};
use crate::creation::CreateError;
use crate::execution::ExecError;
use crate::log::Log;
use crate::rootless;

/// Why a verb failed. `Display` is what callers read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerbError {
    /// `create`, in the words dockerd looks for.
    #[error("runc create failed")]
    Create(#[source] CreateError),
    /// `run` could not make the container, in runc's words.
    #[error("runc run failed")]
    RunCreate(#[source] CreateError),
    /// `run` could not start the container, in runc's words.
    #[error("runc run failed")]
    RunStart(#[source] StartError),
    /// `run` made the container and could not look after it.
    #[error("runc run failed")]
    Foreground(#[source] io::Error),
    /// There is no such container, or its state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `start`.
    #[error(transparent)]
    Start(#[from] StartError),
    /// `kill`.
    #[error(transparent)]
    Kill(#[from] kill::KillError),
    /// `delete`.
    #[error(transparent)]
    Delete(#[from] delete::DeleteError),
    /// Something of a container is left.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// `exec`, in runc's words.
    #[error("exec failed")]
    Exec(#[from] ExecError),
    /// `update`.
    #[error(transparent)]
    Update(#[from] update::UpdateError),
    /// `events`.
    #[error(transparent)]
    Events(#[from] events::EventsError),
    /// `spec`.
    #[error(transparent)]
    Spec(#[from] spec::SpecError),
    /// A verb that runc has.
    #[error("{0} is not supported: a container's virtual machines have no snapshots yet")]
    Unsupported(&'static str),
    /// `ps`.
    #[error(transparent)]
    Ps(#[from] ps::PsError),
    /// `pause` and `resume`.
    #[error(transparent)]
    Pause(#[from] pause::PauseError),
    /// The host's settings are wrong.
    #[error(transparent)]
    Settings(ConfigError),
    /// The same for `exec`, in runc's words.
    #[error("exec failed")]
    ExecSettings(#[source] ConfigError),
    /// The host's policy cannot be read, or denies it.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// `policy test` is given a file that is no `config.json`.
    #[error(transparent)]
    PolicyTest(CreateError),
    /// `run-hook`.
    #[error(transparent)]
    RunHook(#[from] run_hook::RunHookError),
    /// Standard output cannot be written.
    #[error("standard output")]
    Output(#[source] io::Error),
}

impl VerbError {
    /// The exit code that tells it, as for runc.
    pub(crate) fn exit_code(&self) -> u8 {
        // The codes below are the program's own.
        if matches!(self, Self::Exec(_) | Self::ExecSettings(_)) { 255 } else { 1 }
    }
}

/// What a verb says that cannot go by the host's settings.
pub(crate) fn refused(verb: &Verb, fault: ConfigError) -> VerbError {
    if matches!(verb, Verb::Exec(_)) {
        VerbError::ExecSettings(fault)
    } else {
        VerbError::Settings(fault)
    }
}

/// Does what `verb` says.
pub(crate) fn execute(global: &Global, log: &Log, verb: &Verb) -> Result<ExitCode, VerbError> {
    match verb {
        Verb::Create(arguments) => create::create(global, log, arguments)?,
        Verb::Start(target) => start::start(global, target)?,
        Verb::State(target) => state::state(global, target)?,
        Verb::Kill(arguments) => kill::kill(global, arguments)?,
        Verb::Delete(arguments) => delete::delete(global, arguments)?,
        Verb::Run(arguments) => return run::run(global, log, arguments),
        Verb::Exec(arguments) => return exec::exec(global, log, arguments),
        Verb::Ps(arguments) => ps::ps(global, arguments)?,
        Verb::List(arguments) => list::list(global, arguments)?,
        Verb::Pause(target) => pause::pause(global, target)?,
        Verb::Resume(target) => pause::resume(global, target)?,
        Verb::Update(arguments) => update::update(global, arguments)?,
        Verb::Events(arguments) => events::events(global, arguments)?,
        Verb::Spec(arguments) => spec::spec(arguments)?,
        Verb::Checkpoint(_) => return Err(VerbError::Unsupported("checkpoint")),
        Verb::Restore(_) => return Err(VerbError::Unsupported("restore")),
        Verb::Policy { verb } => policy::policy(global, verb)?,
        Verb::Features => features::features()?,
        Verb::RunHook(arguments) => return run_hook::run_hook(arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn store(global: &Global) -> Store {
    Store::new(rootless::state_root(global))
}

/// Writes to standard output; `println!` would panic where it is closed.
pub(crate) fn print(text: &str) -> Result<(), VerbError> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(VerbError::Output)
}
