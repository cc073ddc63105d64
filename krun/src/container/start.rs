//! Letting a created container's program start.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use hooks::Point;
use spec_compat::Status;

use super::record::Record;
use super::start_gate;
use super::store::Entry;

/// Why a container was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// runc's words.
    #[error("cannot start an already running container")]
    Running,
    /// runc's words.
    #[error("cannot start a container that has stopped")]
    Stopped,
    /// runc's words.
    #[error("cannot start a container in the {0} state")]
    Status(Status),
    /// The gate or the socket cannot be used.
    #[error("tell the container to start")]
    Tell(#[source] io::Error),
    /// The program could not be started after all. runc's words.
    #[error("unable to start container process: {0}")]
    Program(String),
}

/// Starts the program of the container, which the caller has locked.
pub(crate) fn start(entry: &Entry, record: &Record, socket: &Path) -> Result<(), StartError> {
    match entry.status(record) {
        Status::Created => {}
        Status::Running => return Err(StartError::Running),
        Status::Stopped => return Err(StartError::Stopped),
        other @ (Status::Creating | Status::Paused) => return Err(StartError::Status(other)),
    }
    let reader = start_gate::reader(entry.directory()).map_err(StartError::Tell)?;
    tell(socket).map_err(StartError::Tell)?;
    let reports = start_gate::wait_for_exec(reader).map_err(StartError::Tell)?;
    if let Some(fault) = reports.fault {
        return Err(StartError::Program(fault));
    }
    start_gate::remove(entry.directory()).map_err(StartError::Tell)?;
    run_poststart_hooks(record);
    Ok(())
}

/// Connects to libcontainer's socket; the words are for its log only.
fn tell(socket: &Path) -> io::Result<()> {
    // A socket's path holds 107 bytes at most, a state directory's may be longer.
    let directory = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short)?.write_all(b"start container")
}

fn run_poststart_hooks(record: &Record) {
    let state = record.state(Status::Running).to_hook_json();
    for error in hooks::run_all(Point::Poststart, &record.poststart, &state, &[]) {
        // The specification: log a warning, and go on as if the hook had succeeded.
        tracing::warn!("{error}");
    }
}
