//! The gate a created container waits at: a named pipe, `exec.fifo`.
//!
//! The program-to-be holds the pipe open, close-on-exec, from before `create` returns until
//! it becomes the program. So the pipe says two things nobody else can:
//!
//! * what went wrong in there, in words, although libcontainer passes on no causes;
//! * when the program has really been started: whoever reads comes to the end of the pipe.
//!
//! The file itself marks a container that has not been started; `start` removes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::pipe::PIPE_BUF;

/// A line with a text that was made for the user.
const FAULT: char = 'F';
/// A line of libcontainer's, of which the first is nearest to the cause.
const CAUSE: char = 'C';

/// The pipe's path in a container's directory.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("exec.fifo")
}

/// Makes the pipe and opens it for both directions, so that nobody ever blocks on it.
pub(crate) fn create(directory: &Path) -> io::Result<OwnedFd> {
    let path = path(directory);
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
    open_both_ways(&path)
}

/// Opens the pipe of a container whose program-to-be is alive.
pub(crate) fn open_both_ways(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map(OwnedFd::from)
}

/// Says, in words made for the user, what went wrong.
pub(crate) fn report_fault(gate: &OwnedFd, text: &str) {
    write_line(gate, FAULT, text);
}

/// Passes on what libcontainer said went wrong.
pub(crate) fn report_cause(gate: &OwnedFd, text: &str) {
    write_line(gate, CAUSE, text);
}

fn write_line(gate: &OwnedFd, kind: char, text: &str) {
    let mut line = format!("{kind}{}", text.replace('\n', " "));
    // A write of at most PIPE_BUF bytes is not mixed with others.
    line.truncate(line.floor_char_boundary(PIPE_BUF - 1));
    line.push('\n');
    // The pipe is the way to report trouble; trouble with the pipe cannot be reported.
    let _ = gate.try_clone().map(|gate| File::from(gate).write_all(line.as_bytes()));
}

/// What has been reported until now: the fault, or else the first cause.
pub(crate) fn drain(gate: &OwnedFd) -> Reports {
    let mut bytes = Vec::new();
    if let Ok(gate) = gate.try_clone() {
        // Ends with EAGAIN, as the gate is open for writing too.
        let _ = File::from(gate).read_to_end(&mut bytes);
    }
    Reports::parse(&bytes)
}

/// Waits until the program-to-be has become the program, or has ended.
///
/// The reader must be there before the container is told to go on: whatever is in the pipe
/// is lost when the last one who holds it goes.
pub(crate) fn wait_for_exec(reader: File) -> io::Result<Reports> {
    let mut reader = reader;
    let flags = rustix::fs::fcntl_getfl(&reader)?;
    rustix::fs::fcntl_setfl(reader.as_fd(), flags - OFlags::NONBLOCK)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(Reports::parse(&bytes))
}

/// Opens the pipe for [`wait_for_exec`].
pub(crate) fn reader(directory: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path(directory))
}

/// Marks the container as started.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    fs::remove_file(path(directory))
}

/// What came through a gate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    /// A text made for the user.
    pub(crate) fault: Option<String>,
    /// The first thing libcontainer complained about.
    pub(crate) cause: Option<String>,
}

impl Reports {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let first = |kind| text.lines().find_map(|line| line.strip_prefix(kind)).map(str::to_owned);
        Self { fault: first(FAULT), cause: first(CAUSE) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reports, create, drain, reader, report_cause, report_fault, wait_for_exec};

    #[test]
    fn the_first_of_each_kind_of_report_comes_out() {
        let directory = tempfile::tempdir().unwrap();
        let gate = create(directory.path()).unwrap();

        report_cause(&gate, "mount failed");
        report_cause(&gate, "rootfs failed");
        report_fault(&gate, "exec: \"x\": two\nlines");

        let expected = Reports {
            fault: Some("exec: \"x\": two lines".into()),
            cause: Some("mount failed".into()),
        };
        assert_eq!(drain(&gate), expected);
        assert_eq!(drain(&gate), Reports::default());
    }

    #[test]
    fn waiting_ends_when_the_last_holder_lets_go() {
        let directory = tempfile::tempdir().unwrap();
        let gate = create(directory.path()).unwrap();
        let reader = reader(directory.path()).unwrap();

        report_fault(&gate, "too late");
        drop(gate);

        assert_eq!(wait_for_exec(reader).unwrap().fault.as_deref(), Some("too late"));
    }

    #[test]
    fn an_endless_report_is_cut_and_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let gate = create(directory.path()).unwrap();

        report_fault(&gate, &"ä".repeat(100_000));

        assert!(drain(&gate).fault.unwrap().chars().all(|c| c == 'ä'));
    }
}
