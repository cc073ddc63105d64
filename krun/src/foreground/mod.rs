//! `krun run` in the foreground: stand between the caller and the program until its end.
//!
//! Signals are passed on, the terminal is passed through, orphans are reaped, and the
//! program's end becomes krun's. All signals have been held back since before the program
//! was made, so none can be missed between two looks.

mod console;
mod relay;

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

pub(crate) use self::console::ConsoleSocket;
use self::relay::{Relay, Woken};
use crate::container::process::ProcessName;
use crate::signals::SignalNumber;

/// What a shell adds to the number of a signal that ended a program.
const SIGNALED: i32 = 128;

/// Waits for the program's end and gives its exit code.
pub(crate) fn attend(process: ProcessName, master: Option<OwnedFd>) -> io::Result<u8> {
    let signals =
        SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut relay = Relay::new(master)?;
    loop {
        if let Some(code) = reap(process.pid)? {
            relay.finish();
            return Ok(code);
        }
        if relay.wait(&signals)? == Woken::BySignal {
            while let Some(information) = signals.read_signal()? {
                react(&mut relay, process, information.ssi_signo);
            }
        }
    }
}

fn react(relay: &mut Relay, process: ProcessName, number: u32) {
    let Some(signal) = i32::try_from(number).ok().and_then(SignalNumber::from_number) else {
        return;
    };
    match Signal::try_from(signal.get()) {
        // The look for ended children comes next anyway.
        Ok(Signal::SIGCHLD | Signal::SIGPIPE | Signal::SIGURG) => {}
        Ok(Signal::SIGWINCH) if relay.has_terminal() => relay.resize(),
        // It may have ended meanwhile, which the next look shows.
        _ => drop(process.signal(signal)),
    }
}

/// Takes leave of all children that have ended; gives the exit code if `init` is among them.
fn reap(init: i32) -> io::Result<Option<u8>> {
    loop {
        let status = waitpid(None, Some(WaitPidFlag::WNOHANG))?;
        if status == WaitStatus::StillAlive {
            return Ok(None);
        }
        if status.pid() == Some(Pid::from_raw(init)) {
            return Ok(code_of(status));
        }
    }
}

/// The exit code a shell would give for `status`, if it is a program's end.
fn code_of(status: WaitStatus) -> Option<u8> {
    if let WaitStatus::Signaled(_, signal, _) = status {
        return Some(exit_code(SIGNALED + SignalNumber::from(signal).get()));
    }
    let WaitStatus::Exited(_, code) = status else { return None };
    Some(exit_code(code))
}

fn exit_code(code: i32) -> u8 {
    // An exit status has eight bits.
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}
