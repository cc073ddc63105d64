//! What the guest wants done about each signal: `rt_sigaction(2)`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_sys::{
    Errno,
    signals::{self, Disposition, SIGNAL_MAX},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;
/// `SA_NODEFER`: the signal is not blocked while its handler runs.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// `SA_RESETHAND`: the handler is used once.
pub const SA_RESETHAND: u64 = 0x8000_0000;
/// `SA_ONSTACK`: the handler runs on the alternate stack.
pub const SA_ONSTACK: u64 = 0x0800_0000;

/// `struct sigaction` of the system call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub struct Action {
    /// The handler's address, [`DEFAULT`] or [`IGNORE`].
    pub handler: u64,
    /// `sa_flags`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// What is blocked while it runs.
    pub mask: u64,
}

impl Action {
    /// Whether there is a handler to call.
    pub fn has_handler(&self) -> bool {
        self.handler > IGNORE
    }
}

/// The actions of a process, for signals 1 to 64.
#[derive(Debug)]
pub struct Actions(Mutex<[Action; 64]>);

impl Actions {
    /// The actions a new program has: default, or ignored where its parent
    /// ignored.
    pub fn inherited() -> Result<Self, Errno> {
        let mut actions = [Action::default(); 64];
        for signal in 1..=SIGNAL_MAX {
            if signals::is_ignored(signal)? {
                actions[index(signal)?].handler = IGNORE;
            }
        }
        Ok(Self(Mutex::new(actions)))
    }

    /// Keeps the actions from changing until the result is dropped, for a fork.
    pub fn freeze(&self) -> impl Drop + use<'_> {
        self.lock()
    }

    /// The actions of a child process.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self(Mutex::new(*self.lock()))
    }

    /// What is to be done about a signal. `EINVAL` if there is no such signal.
    pub fn get(&self, signal: u32) -> Result<Action, Errno> {
        Ok(self.lock()[index(signal)?])
    }

    /// Changes what is to be done, here and in the host process, and returns
    /// what was.
    pub fn set(&self, signal: u32, action: Action) -> Result<Action, Errno> {
        let at = index(signal)?;
        if [libc::SIGKILL, libc::SIGSTOP].map(i32::cast_unsigned).contains(&signal) {
            return Err(Errno::EINVAL);
        }
        let disposition = match action.handler {
            DEFAULT => Disposition::Default,
            IGNORE => Disposition::Ignore,
            _ => Disposition::Catch,
        };
        let mut actions = self.lock();
        signals::set_disposition(signal, disposition, action.flags)?;
        Ok(std::mem::replace(&mut actions[at], action))
    }

    /// Takes the action for a delivery: with `SA_RESETHAND` it becomes default.
    pub fn take_for_delivery(&self, signal: u32) -> Result<Action, Errno> {
        let action = self.get(signal)?;
        if action.has_handler() && action.flags & SA_RESETHAND != 0 {
            self.set(signal, Action::default())?;
        }
        Ok(action)
    }

    fn lock(&self) -> MutexGuard<'_, [Action; 64]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(signal: u32) -> Result<usize, Errno> {
    if !(1..=SIGNAL_MAX).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    usize::try_from(signal - 1).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use monitor_sys::Errno;

    use super::{Action, Actions, SA_RESETHAND};

    const USR1: u32 = 10;

    fn caught(flags: u64) -> Action {
        Action { handler: 0x40_0000, flags, restorer: 0, mask: 0 }
    }

    #[test]
    fn kill_and_stop_cannot_be_handled() {
        let actions = Actions::inherited().unwrap();

        for signal in [9, 19] {
            assert_eq!(actions.set(signal, caught(0)), Err(Errno::EINVAL));
            assert!(actions.get(signal).is_ok());
        }
    }

    #[test]
    fn numbers_that_are_no_signals_are_einval() {
        let actions = Actions::inherited().unwrap();

        for signal in [0, 65, u32::MAX] {
            assert_eq!(actions.get(signal), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_handler_for_one_use_is_gone_after_it() {
        let actions = Actions::inherited().unwrap();
        actions.set(USR1, caught(SA_RESETHAND)).unwrap();

        assert!(actions.take_for_delivery(USR1).unwrap().has_handler());
        assert_eq!(actions.get(USR1), Ok(Action::default()));
    }
}
