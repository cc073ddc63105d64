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
mod policy;
mod rootless;
mod selinux;
mod signals;
mod systemd;
mod version;
mod workload;

use std::env;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::log::Log;

/// The exit code of a failure before there is a verb, as for runc.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return show_usage(&usage),
    };
    run(&cli).unwrap_or_else(|error| {
        // Only what happens before there is a log comes here.
        let message = error_chain::text(error.as_ref());
        Log::to_stderr_only(&message);
        ExitCode::from(FAILURE)
    })
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if cli.version {
        commands::print(&version::lines())?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = Log::open(&cli.global).context("open the log")?;
    let Some(verb) = &cli.verb else {
        commands::print(&Cli::command().render_help().to_string())?;
        return Ok(ExitCode::SUCCESS);
    };
    Ok(commands::execute(&cli.global, &log, verb).unwrap_or_else(|error| {
        log.fatal(&error_chain::text(&error));
        ExitCode::from(error.exit_code())
    }))
}

/// Help is asked for, or the command line is wrong, which is exit code 1 for runc.
fn show_usage(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    if !usage.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let text = usage.to_string();
    let message = text.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    Log::wrong_command_line(env::args_os(), message);
    ExitCode::from(FAILURE)
}
