//! Runs the same program natively and under `km`, and compares all that can be seen of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::built;
use crate::outcome::{self, End, Outcome};

/// A program with its arguments and surroundings, to be run more than once.
#[derive(Clone, Debug)]
pub struct Case {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    stdin: Option<Vec<u8>>,
    exitless: Option<String>,
    supervisor: Option<PathBuf>,
}

/// The two outcomes of one case.
#[derive(Debug)]
pub struct Both {
    /// What Linux does.
    pub native: Outcome,
    /// What the monitor does.
    pub km: Outcome,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args = self.argv.iter().take(6).map(|arg| arg.to_string_lossy());
        args.map(|arg| arg.chars().take(200).collect::<String>())
            .try_for_each(|arg| write!(f, "{arg:?} "))
    }
}

impl Case {
    /// A program and its arguments, with a small environment and no standard input.
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Self {
        let path = ("PATH".into(), "/usr/bin:/bin".into());
        let locale = ("LC_ALL".into(), "C".into());
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: vec![path, locale],
            dir: PathBuf::from("/"),
            stdin: None,
            exitless: built::exitless(),
            supervisor: None,
        }
    }

    /// One program without arguments.
    pub fn program(program: &Path) -> Self {
        Self::new([program])
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Whether `km` makes calls without leaving the virtual machine: `auto`, `on` or `off`.
    #[must_use]
    pub fn exitless(mut self, way: &str) -> Self {
        self.exitless = Some(format!("--exitless={way}"));
        self
    }

    /// Has a program run `km`, which is its first argument.
    #[must_use]
    pub fn supervised_by(mut self, supervisor: &Path) -> Self {
        self.supervisor = Some(supervisor.to_owned());
        self
    }

    /// Another working directory than `/`.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.dir);
        self
    }

    /// Bytes that come through a pipe on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs natively, then under `km`.
    pub fn run(&self) -> Result<Both> {
        Ok(Both { native: self.run_natively()?, km: self.run_under_km()? })
    }

    /// Runs on the host's kernel.
    pub fn run_natively(&self) -> Result<Outcome> {
        let mut command = Command::new(&self.argv[0]);
        outcome::run(self.surround(command.args(&self.argv[1..])), self.stdin.as_deref())
    }

    /// Runs in a virtual machine.
    pub fn run_under_km(&self) -> Result<Outcome> {
        outcome::run(&mut self.km_command()?, self.stdin.as_deref())
    }

    /// The command that runs this under `km`, for a test that wants to look at it while it runs.
    pub fn km_command(&self) -> Result<Command> {
        let km = built::km()?;
        let mut command = match &self.supervisor {
            Some(supervisor) => Command::new(supervisor),
            None => Command::new(&km),
        };
        command.args(self.supervisor.as_ref().map(|_| &km));
        command.args(&self.exitless);
        self.surround(command.args(&self.argv));
        Ok(command)
    }

    /// Runs both ways and panics unless output and end are equal. Returns what both did.
    #[track_caller]
    pub fn assert_same(&self) -> Outcome {
        match self.run() {
            Ok(Both { native, km }) => {
                if let Some(difference) = outcome::difference(&native, &km) {
                    panic!("{self}: {difference}\n=== native: {native:?}\n=== km: {km:?}");
                }
                native
            }
            Err(error) => panic!("{self}: {error:#}"),
        }
    }

    /// As [`Case::assert_same`], for a case that natively ends like this: it proves the case too.
    #[track_caller]
    pub fn assert_same_end(&self, end: End) {
        let native = self.assert_same();
        assert_eq!(native.end, end, "the native run: {native:?}");
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let env = self.env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        command.env_clear().envs::<_, &OsStr, &OsStr>(env).current_dir(&self.dir)
    }
}
