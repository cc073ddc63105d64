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
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::container::memberships;

/// As much as a pipe holds, in bytes: what a child says in one write is there at once.
const LONGEST: usize = 64 << 10;

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
    let told = read_message(reader, child);
    waitpid(child, None)?;
    told
}

/// A child in the cgroup, if Linux puts one there.
fn fork(cgroup: Option<&Path>, mut work: impl FnMut()) -> io::Result<Pid> {
    let Some(cgroup) = cgroup else { return krun_sys::fork_to(work) };
    let mut to_the_end = || {
        work();
        0
    };
    let made =
        File::open(cgroup).and_then(|file| krun_sys::fork_into(file.as_fd(), &mut to_the_end));
    made.or_else(|error| {
        tracing::debug!("{}: nobody is born there: {error}", cgroup.display());
        krun_sys::fork_to(|| {
            // As with runc it is no fault if there is no way into a cgroup without limits.
            _ = memberships::enter(cgroup);
            to_the_end();
        })
    })
}

/// What the child says, or nothing if it ends before that: the container's process has the pipe, too, until it
/// executes, so its end is not the child's. And what is read is one message, not all until the end.
fn read_message(reader: OwnedFd, child: Pid) -> io::Result<String> {
    let number = rustix::process::Pid::from_raw(child.as_raw()).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    let mut both = [&reader, &process].map(|one| PollFd::new(one, PollFlags::IN));
    while matches!(poll(&mut both, None), Err(Errno::INTR)) {}
    // It may have said something and ended.
    let has_message = poll(&mut both[..1], Some(&Timespec::default()))? == 1;
    let mut buffer = vec![0; LONGEST];
    let length = if has_message { File::from(reader).read(&mut buffer)? } else { 0 };
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};
    use nix::unistd::Pid;

    use super::run;

    #[test]
    fn what_the_child_says_arrives() {
        let fault = "f".repeat(9000);

        assert_eq!(run(None, || Ok(7)), Ok(7));
        assert_eq!(run(None, || Err(fault.clone())), Err(fault));
    }

    #[test]
    fn a_child_that_dies_is_told_though_another_has_its_pipe() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut ends = Some((reader, writer));
        let told = run(None, || {
            // It has all descriptors of the one that dies, until the test is over.
            let waits = krun_sys::fork_to(|| {
                let Some((reader, writer)) = ends.take() else { return };
                drop(writer);
                _ = nix::unistd::read(&reader, &mut [0]);
            });
            drop(ends.take());
            waits.map_err(|error| error.to_string())?;
            raise(Signal::SIGKILL).map_err(|errno| errno.to_string())?;
            Ok(Pid::this().as_raw())
        });

        assert_eq!(told, Err("the process that makes another died".to_owned()));
        drop(ends);
    }
}
