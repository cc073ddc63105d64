//! `exec` into a container with a user namespace.
//!
//! libcontainer joins all of a container's namespaces but this one, which has to be the first: the
//! rights over the others come with it. A process cannot leave it again. So a child of krun's goes
//! there and has libcontainer make the program's process beside it, as krun's child.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::pipe2;

use crate::container::memberships;
use crate::container::process::ProcessName;

/// Calls `build` in the user namespace of `init` and in these cgroups.
///
/// `build` gives a process that is a child of its caller's parent. The error is its own, or says what
/// else went wrong.
pub(super) fn build_inside(
    init: ProcessName,
    cgroups: &[PathBuf],
    build: impl FnOnce() -> Result<i32, String>,
) -> Result<i32, String> {
    let told = run_in_child(|| {
        join(init, cgroups).map_err(|error| format!("join the user namespace: {error}"))?;
        build()
    });
    let told = told.map_err(|error| format!("start a process for the user namespace: {error}"))?;
    match told.split_once(' ') {
        Some(("pid", number)) => number.parse().map_err(|_| told.clone()),
        Some(("fault", fault)) => Err(fault.to_owned()),
        _ => Err("the process in the user namespace died".to_owned()),
    }
}

/// What a child says of the result: one word for the kind, and the rest.
fn run_in_child(work: impl FnOnce() -> Result<i32, String>) -> io::Result<String> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let mut writer = Some(writer);
    let child = krun_sys::fork_to(|| {
        let text = match work() {
            Ok(pid) => format!("pid {pid}"),
            Err(fault) => format!("fault {fault}"),
        };
        // If nobody listens, the parent has gone.
        _ = writer.take().map(File::from).map(|mut pipe| pipe.write_all(text.as_bytes()));
    })?;
    drop(writer);
    let told = read_message(reader);
    waitpid(child, None)?;
    told
}

/// The program's process has the pipe, too, until it executes: what is read is one message, not all
/// until the end.
fn read_message(reader: OwnedFd) -> io::Result<String> {
    let mut buffer = [0; 4096];
    let length = File::from(reader).read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn join(init: ProcessName, cgroups: &[PathBuf]) -> io::Result<()> {
    // libcontainer takes whoever is in a user namespace for unprivileged, and forgives that it cannot
    // enter a cgroup.
    for directory in cgroups {
        memberships::enter(directory)?;
    }
    let namespace = File::open(format!("/proc/{}/ns/user", init.pid))?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWUSER)?)
}
