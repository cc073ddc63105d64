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

    /// The actions of a new program that starts with these signals ignored, a bit for each, the first one's the lowest.
    #[must_use]
    pub fn ignoring(mask: u64) -> Self {
        let action = |at: usize| if mask >> at & 1 == 0 { DEFAULT } else { IGNORE };
        Self(Mutex::new(std::array::from_fn(|at| Action {
            handler: action(at),
            ..Action::default()
        })))
    }

    /// The signals that are ignored, likewise.
    pub fn ignored(&self) -> u64 {
        let all = (0..).zip(self.all());
        all.filter(|(_, action)| action.handler == IGNORE).fold(0, |bits, (at, _)| bits | 1 << at)
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

    /// What is to be done about all signals, the first one's at 0.
    pub fn all(&self) -> [Action; 64] {
        *self.lock()
    }

    /// Notes another default action for a signal, if it has a default one: for the host nothing changes.
    pub fn note_default(&self, signal: u32, action: Action) {
        let Ok(at) = index(signal) else { return };
        let mut actions = self.lock();
        if [actions[at].handler, action.handler] == [DEFAULT; 2] {
            actions[at] = action;
        }
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
        let mut actions = self.lock();
        install(signal, action)?;
        Ok(std::mem::replace(&mut actions[at], action))
    }

    /// Takes the action for a delivery: with `SA_RESETHAND` its handler becomes the default, and the rest stays.
    pub fn take_for_delivery(&self, signal: u32) -> Result<Action, Errno> {
        let action = self.get(signal)?;
        if action.has_handler() && action.flags & SA_RESETHAND != 0 {
            self.set(signal, Action { handler: DEFAULT, ..action })?;
        }
        Ok(action)
    }

    /// Makes every handler a default action; what is ignored stays ignored.
    pub fn clear_handlers(&self) {
        for signal in 1..=SIGNAL_MAX {
            if self.get(signal).is_ok_and(|action| action.has_handler()) {
                // A signal that has a handler can be set.
                _ = self.set(signal, Action::default());
            }
        }
    }

    /// Puts the host's disposition of `signal` back to what the guest wants, where
    /// the monitor's own C library has changed it.
    pub fn put_back(&self, signal: u32) -> Result<(), Errno> {
        let actions = self.lock();
        install(signal, actions[index(signal)?])
    }

    fn lock(&self) -> MutexGuard<'_, [Action; 64]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the host process do about a signal what the guest wants.
fn install(signal: u32, action: Action) -> Result<(), Errno> {
    let disposition = match action.handler {
        DEFAULT => Disposition::Default,
        IGNORE => Disposition::Ignore,
        _ => Disposition::Catch,
    };
    signals::set_disposition(signal, disposition, action.flags)
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

    use super::{Action, Actions, DEFAULT, IGNORE, SA_RESETHAND};

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
    fn without_handlers_what_is_ignored_stays_so() {
        let actions = Actions::inherited().unwrap();
        let ignored = Action { handler: IGNORE, ..Action::default() };
        actions.set(USR1, caught(0)).unwrap();
        actions.set(USR1 + 2, ignored).unwrap();

        actions.clear_handlers();

        assert_eq!(actions.get(USR1), Ok(Action::default()));
        assert_eq!(actions.get(USR1 + 2), Ok(ignored));
    }

    #[test]
    fn what_is_ignored_can_be_told_and_taken_over() {
        let actions = Actions::ignoring(1 << 63 | 1 << 9);

        assert_eq!(actions.ignored(), 1 << 63 | 1 << 9);
        assert_eq!(actions.get(USR1).unwrap().handler, IGNORE);
        assert_eq!(actions.get(USR1 + 1).unwrap().handler, DEFAULT);
    }

    #[test]
    fn a_handler_for_one_use_is_gone_after_it() {
        let actions = Actions::inherited().unwrap();
        actions.set(USR1, caught(SA_RESETHAND)).unwrap();

        assert!(actions.take_for_delivery(USR1).unwrap().has_handler());
        assert_eq!(actions.get(USR1), Ok(Action { handler: DEFAULT, ..caught(SA_RESETHAND) }));
    }

    #[test]
    fn one_default_action_can_replace_another_and_nothing_else() {
        let actions = Actions::inherited().unwrap();
        let other = Action { flags: 1, restorer: 2, mask: 3, ..Action::default() };

        actions.note_default(USR1, other);
        actions.note_default(USR1, caught(0));
        actions.set(USR1 + 2, caught(0)).unwrap();
        actions.note_default(USR1 + 2, other);
        actions.note_default(65, other);

        assert_eq!(actions.get(USR1), Ok(other));
        assert_eq!(actions.all()[11], caught(0));
    }
}
