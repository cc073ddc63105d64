//! `krun run`: create, start, wait, delete, in one process.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::process::{getpid, set_child_subreaper};

use super::VerbError;
use crate::cli::{Global, Run};
use crate::container::record::Record;
use crate::container::remove::{self, Insist};
use crate::container::start;
use crate::container::store::{Entry, StoreError};
use crate::creation::{self, Console, Created, start_socket};
use crate::foreground::{self, ConsoleSocket};
use crate::log::Log;

pub(super) fn run(global: &Global, log: &Log, arguments: &Run) -> Result<ExitCode, VerbError> {
    let options = &arguments.options;
    if !arguments.detach && !arguments.no_subreaper {
        set_child_subreaper(Some(getpid())).map_err(|errno| VerbError::Foreground(errno.into()))?;
    }
    let mut socket = None;
    let console = if arguments.detach || options.console_socket.is_some() {
        Console::Caller(options.console_socket.as_deref())
    } else {
        Console::OwnIfWanted(&mut socket)
    };
    let created = creation::create(global, log, &arguments.id, options, console)
        .map_err(VerbError::RunCreate)?;
    let Created { entry, record, lock } = created;
    let started = start_created(&entry, &record, arguments, socket);
    // Others may act on the container while it runs, and delete it.
    drop(lock);
    let result = started.and_then(|master| attend(&record, arguments, master));
    if !(arguments.detach || arguments.keep) || result.is_err() {
        remove_if_there(&entry, &record)?;
    }
    result
}

/// Starts the program; gives the master side of its terminal if krun is to have it.
fn start_created(
    entry: &Entry,
    record: &Record,
    arguments: &Run,
    socket: Option<ConsoleSocket>,
) -> Result<Option<OwnedFd>, VerbError> {
    let master = socket.map(ConsoleSocket::receive).transpose().map_err(VerbError::Foreground)?;
    start::start(entry, record, &start_socket(entry.directory(), &arguments.id))
        .map_err(VerbError::RunStart)?;
    Ok(master)
}

fn attend(
    record: &Record,
    arguments: &Run,
    master: Option<OwnedFd>,
) -> Result<ExitCode, VerbError> {
    match record.process {
        Some(process) if !arguments.detach => {
            let code = foreground::attend(process, master).map_err(VerbError::Foreground)?;
            Ok(ExitCode::from(code))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn remove_if_there(entry: &Entry, record: &Record) -> Result<(), VerbError> {
    match entry.lock() {
        Ok(_lock) => Ok(remove::remove(entry, record, Insist::No)?),
        Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
