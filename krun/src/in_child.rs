//! The making of a container's process in a child of krun's, which tells its number.
//!
//! libcontainer's processes inherit places and namespaces that krun itself must not have, or could not
//! leave again: a child has them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use crate::container::memberships;

/// Calls `work` in a child, which is born in this version 2 cgroup if there is one.
///
/// `work` gives a process that is a child of its caller's parent. The error is its own, or says what
/// else went wrong. The caller has one thread.
pub(crate) fn run(
    cgroup: Option<&Path>,
    work: impl FnOnce() -> Result<i32, String>,
) -> Result<i32, String> {
    let told = run_and_listen(cgroup, work);
    let told = told.map_err(|error| format!("start a process that makes another: {error}"))?;
    match told.split_once(' ') {
        Some(("pid", number)) => number.parse().map_err(|_| told.clone()),
        Some(("fault", fault)) => Err(fault.to_owned()),
        _ => Err("the process that makes another died".to_owned()),
    }
}

/// What the child says of the result: one word for the kind, and the rest.
fn run_and_listen(
    cgroup: Option<&Path>,
    work: impl FnOnce() -> Result<i32, String>,
) -> io::Result<String> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let mut ends = Some((writer, work));
    let child = fork(cgroup, || {
        let Some((writer, work)) = ends.take() else { return };
        let text = match work() {
            Ok(pid) => format!("pid {pid}"),
            Err(fault) => format!("fault {fault}"),
        };
        // If nobody listens, the parent has gone.
        _ = File::from(writer).write_all(text.as_bytes());
    })?;
    drop(ends);
    let told = read_message(reader);
    waitpid(child, None)?;
    told
}

/// A child in the cgroup, if Linux puts one there.
fn fork(cgroup: Option<&Path>, mut work: impl FnMut()) -> io::Result<Pid> {
    let Some(cgroup) = cgroup else { return krun_sys::fork_to(work) };
    let made = File::open(cgroup).and_then(|file| krun_sys::fork_into(file.as_fd(), &mut work));
    made.or_else(|error| {
        tracing::debug!("{}: nobody is born there: {error}", cgroup.display());
        krun_sys::fork_to(|| {
            // As with runc it is no fault if there is no way into a cgroup without limits.
            _ = memberships::enter(cgroup);
            work();
        })
    })
}

/// The container's process has the pipe, too, until it executes: what is read is one message, not all
/// until the end.
fn read_message(reader: OwnedFd) -> io::Result<String> {
    let mut buffer = [0; 4096];
    let length = File::from(reader).read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
