//! Signals: their names on the command line, and holding them back.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The largest signal number of Linux.
const LARGEST: i32 = 64;

/// The first real-time signal; the C library keeps 32 and 33 for itself.
const FIRST_REAL_TIME: i32 = 34;

/// A signal by number; 0 is the one that is not sent, but only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalNumber(i32);

/// A word that is no signal. runc's text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?}")]
pub(crate) struct UnknownSignal(String);

impl SignalNumber {
    /// Tries whether a signal could be sent.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(0);
    /// `SIGKILL`.
    pub(crate) const KILL: Self = Self(9);

    /// A number, or a name with or without `SIG`, in any case.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(offset) = name.strip_prefix("RTMIN+") {
            let offset = offset.parse::<i32>().ok().filter(|&offset| offset >= 0);
            let number = offset.map(|offset| FIRST_REAL_TIME.saturating_add(offset));
            return number.and_then(Self::from_number).ok_or_else(unknown);
        }
        let named = format!("SIG{name}").parse::<Signal>().map_err(|_| unknown())?;
        Ok(Self::from(named))
    }

    /// The signal with this number, if there is one.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        (0..=LARGEST).contains(&number).then_some(Self(number))
    }

    pub(crate) fn get(self) -> i32 {
        self.0
    }
}

impl From<Signal> for SignalNumber {
    fn from(signal: Signal) -> Self {
        Self(signal_number(signal))
    }
}

#[expect(clippy::as_conversions, reason = "nix has no other way from its enumeration to a number")]
fn signal_number(signal: Signal) -> i32 {
    signal as i32
}

/// The signals of this process, held back from now on.
///
/// A command that was ended in the middle of its work would leave things behind. The
/// program in the container lets them through again before anything else.
#[derive(Debug)]
pub(crate) struct HeldSignals {
    descriptor: SignalFd,
}

impl HeldSignals {
    /// Holds all signals back that can be.
    pub(crate) fn hold() -> nix::Result<Self> {
        SigSet::all().thread_block()?;
        let mut ending = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
            ending.add(signal);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { descriptor: SignalFd::with_flags(&ending, flags)? })
    }

    /// The signal that asked this command to end, if one came.
    pub(crate) fn asked_to_end(&self) -> Option<Signal> {
        let information = self.descriptor.read_signal().ok().flatten()?;
        i32::try_from(information.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::SignalNumber;

    #[test]
    fn a_signal_is_a_number_or_a_name_in_any_spelling() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Hup", 1),
            ("0", 0),
            ("64", 64),
            ("RTMIN+1", 35),
            ("SIGRTMIN+0", 34),
        ] {
            assert_eq!(SignalNumber::parse(text).map(SignalNumber::get), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_by_name() {
        for text in ["", "SIG", "NOSUCH", "65", "-1", "9x", "RTMIN+31", "RTMIN+99999999999"] {
            let error = SignalNumber::parse(text).unwrap_err();

            assert_eq!(error.to_string(), format!("unknown signal {text:?}"));
        }
    }
}
