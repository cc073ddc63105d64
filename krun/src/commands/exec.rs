//! `krun exec`: start another program in a container, and wait for its end.

use std::process::ExitCode;

use krun_policy::Mode;

use super::VerbError;
use crate::cli::{Exec, Global};
use crate::container::process::ProcessName;
use crate::container::store::replace_file;
use crate::creation::Console;
use crate::execution::{self, ExecError};
use crate::foreground::{self, ConsoleSocket};
use crate::log::Log;
use crate::own_binary;
use crate::signals::HeldSignals;

pub(super) fn exec(global: &Global, log: &Log, arguments: &Exec) -> Result<ExitCode, VerbError> {
    Ok(start_and_attend(global, log, arguments)?)
}

fn start_and_attend(global: &Global, log: &Log, arguments: &Exec) -> Result<ExitCode, ExecError> {
    let entry = super::store(global).find(&arguments.id)?;
    if entry.load()?.mode == Mode::Native {
        own_binary::protect()?;
    }
    let pid_file = arguments.pid_file.as_deref().map(std::path::absolute).transpose();
    let pid_file = pid_file.map_err(ExecError::PidFile)?;
    let signals = HeldSignals::hold().map_err(ExecError::Signals)?;
    let mut socket = None;
    let console = if arguments.detach || arguments.console_socket.is_some() {
        Console::Caller(arguments.console_socket.as_deref())
    } else {
        Console::OwnIfWanted(&mut socket)
    };
    let process = execution::execute(global, log, &entry, arguments, console)?;
    if let Some(path) = pid_file {
        replace_file(&path, process.pid.to_string().as_bytes()).map_err(ExecError::PidFile)?;
    }
    if arguments.detach {
        return Ok(ExitCode::SUCCESS);
    }
    // From here on they are the program's.
    drop(signals);
    attend(process, socket).map_err(ExecError::Foreground)
}

fn attend(process: ProcessName, socket: Option<ConsoleSocket>) -> std::io::Result<ExitCode> {
    let master = socket.map(ConsoleSocket::receive).transpose()?;
    foreground::attend(process, master).map(ExitCode::from)
}
