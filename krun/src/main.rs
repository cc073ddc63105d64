//! krun: an OCI runtime that runs each process of a container in a virtual machine.
//!
//! Engines call it in runc's place. It reads the bundle, lets libcontainer make namespaces,
//! mounts and cgroups, and lets the container's first process become the monitor, `km`.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod container;
mod creation;
mod error_chain;
mod execution;
mod foreground;
mod in_child;
mod log;
mod own_binary;
mod rootless;
mod selinux;
mod signals;
mod steps;
mod systemd;
mod version;
mod workload;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use krun_config::Settings;

use crate::cli::Cli;
use crate::log::Log;

/// The exit code of a failure before there is a verb, as for runc.
const FAILURE: u8 = 1;

/// That of a verb that does not exist, as for runc.
const UNKNOWN_VERB: u8 = 3;

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return show_usage(&usage),
    };
    run(&mut cli).unwrap_or_else(|error| {
        // Only what happens before there is a log comes here.
        let message = error_chain::text(error.as_ref());
        Log::to_stderr_only(&message);
        ExitCode::from(FAILURE)
    })
}

fn run(cli: &mut Cli) -> anyhow::Result<ExitCode> {
    if cli.version {
        commands::print(&version::lines())?;
        return Ok(ExitCode::SUCCESS);
    }
    let named = cli.global.config_dir.as_deref();
    let directory = named.unwrap_or(Path::new(krun_config::DIRECTORY));
    let (settings, faults) = Settings::read(directory, env::vars_os(), &cli.global.flags);
    let fault = named.and_then(Settings::missing).or_else(|| faults.into_iter().next());
    cli.global.settings = settings;
    let log = Log::open(&cli.global).context("open the log")?;
    let Some(verb) = &cli.verb else {
        commands::print(&Cli::command().render_help().to_string())?;
        return Ok(ExitCode::SUCCESS);
    };
    // A caller that reads a state must not find other lines; `kontain config dump` shows what is wrong.
    let done = match fault.filter(|_| verb.needs_settings()) {
        Some(fault) => Err(commands::refused(verb, fault)),
        None => commands::execute(&cli.global, &log, verb),
    };
    Ok(done.unwrap_or_else(|error| {
        log.fatal(&error_chain::text(&error));
        ExitCode::from(error.exit_code())
    }))
}

/// Help is asked for, or the command line is wrong.
fn show_usage(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    if !usage.use_stderr() {
        return ExitCode::SUCCESS;
    }
    Log::wrong_command_line(env::args_os(), &in_one_line(&usage.to_string()));
    ExitCode::from(exit_code_of(usage.kind()))
}

fn exit_code_of(wrong: ErrorKind) -> u8 {
    if wrong == ErrorKind::InvalidSubcommand { UNKNOWN_VERB } else { FAILURE }
}

/// What is wrong, what is missing and what is right, as one line of a log.
fn in_one_line(usage: &str) -> String {
    let lines: Vec<_> = usage.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").map_or(line.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Cli, in_one_line};

    #[test]
    fn a_wrong_command_line_is_told_whole_in_one_line() {
        let line = |words: &[&str]| {
            let usage = Cli::try_parse_from(words).expect_err("it is wrong");
            in_one_line(&usage.to_string())
        };

        let missing = line(&["krun", "start"]);
        assert!(missing.contains("arguments were not provided: <ID> Usage: "), "{missing}");
        assert!(missing.starts_with("the following"), "{missing}");
        let unknown = line(&["krun", "--nosuch"]);
        assert!(unknown.starts_with("unexpected argument '--nosuch' found"), "{unknown}");
        assert!(!unknown.contains('\n'), "{unknown}");
    }
}
