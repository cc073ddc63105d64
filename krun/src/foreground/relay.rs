//! Passing a terminal through: the caller's on one side, the container's on the other.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::stdio::stdin;
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// As much as a terminal passes on at once.
const CHUNK: usize = 4096;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    BySignal,
    ByTerminal,
}

/// The container's terminal, if it has one, and the caller's.
#[derive(Debug)]
pub(super) struct Relay {
    master: Option<File>,
    /// Whether the caller may still say something.
    reads_input: bool,
    _raw: Option<RawMode>,
}

impl Relay {
    /// Puts the caller's terminal into raw mode if there is one to pass through.
    pub(super) fn new(master: Option<OwnedFd>) -> io::Result<Self> {
        let is_terminal = master.is_some() && isatty(stdin());
        let raw = is_terminal.then(RawMode::enter).transpose()?;
        let reads_input = master.is_some();
        let relay = Self { master: master.map(File::from), reads_input, _raw: raw };
        relay.resize();
        Ok(relay)
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.master.is_some()
    }

    /// Gives the container's terminal the size of the caller's.
    pub(super) fn resize(&self) {
        if let (Some(master), Ok(size)) = (&self.master, tcgetwinsize(stdin())) {
            // A size is a courtesy; the program runs without.
            let _ = tcsetwinsize(master, size);
        }
    }

    /// Passes on what is there, or waits for something.
    pub(super) fn wait(&mut self, signals: &SignalFd) -> io::Result<Woken> {
        let (by_signal, by_input, by_master) = self.poll(signals)?;
        if by_input && !self.pass_input() {
            self.reads_input = false;
        }
        if by_master && !self.pass_output() {
            // The last one who had the terminal open has gone.
            self.master = None;
            self.reads_input = false;
        }
        Ok(if by_signal { Woken::BySignal } else { Woken::ByTerminal })
    }

    fn poll(&self, signals: &SignalFd) -> io::Result<(bool, bool, bool)> {
        let input = stdin();
        let mut polled = vec![PollFd::new(signals, PollFlags::IN)];
        polled.extend(self.master.as_ref().map(|master| PollFd::new(master, PollFlags::IN)));
        if self.reads_input {
            polled.push(PollFd::new(&input, PollFlags::IN));
        }
        poll(&mut polled, None)?;
        let is_ready =
            |place: usize| polled.get(place).is_some_and(|one| !one.revents().is_empty());
        let has_master = self.master.is_some();
        Ok((is_ready(0), self.reads_input && is_ready(2), has_master && is_ready(1)))
    }

    fn pass_input(&mut self) -> bool {
        let Some(master) = &mut self.master else { return false };
        let mut bytes = [0; CHUNK];
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(length) => master.write_all(&bytes[..length]).is_ok(),
        }
    }

    fn pass_output(&mut self) -> bool {
        let Some(master) = &mut self.master else { return false };
        let mut bytes = [0; CHUNK];
        match master.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(length) => io::stdout().write_all(&bytes[..length]).is_ok(),
        }
    }

    /// Passes on what the program said last.
    pub(super) fn finish(&mut self) {
        while let Some(master) = &self.master {
            let mut polled = [PollFd::new(master, PollFlags::IN)];
            let is_ready = poll(&mut polled, Some(&rustix::event::Timespec::default()));
            if !matches!(is_ready, Ok(1..)) || !self.pass_output() {
                break;
            }
        }
        let _ = io::stdout().flush();
    }
}

/// The caller's terminal passes every key on, until dropped.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone, and then its mode is too.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
