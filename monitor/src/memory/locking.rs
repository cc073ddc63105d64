//! `mlockall(2)` and `mseal(2)`: what the program says of its memory as a whole,
//! or for good. Only the guest's own memory is locked, never the monitor's.

use monitor_sys::{
    Errno,
    guest_memory::{GuestSpan, PAGE},
    locking::{self, When},
};

use super::{AddressSpace, State, whole_pages};

/// `MAP_LOCKED`.
const LOCKED: u64 = 0x2000;

/// Whether a mapping was made by `mmap(2)` with [`Promises::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flags {
    /// It was.
    Applied,
    /// It was attached, which takes no such flags.
    None,
}

/// What `mlockall(2)` and `mseal(2)` have said.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    /// How new mappings are locked, if they are.
    future: Option<When>,
    /// Whether all was ever locked: that a page is there does not say then that it was used.
    has_locked: bool,
    /// What is sealed: a seal is never broken.
    sealed: Vec<GuestSpan>,
}

impl Promises {
    /// The same for a forked child: it inherits no locks, but the seals.
    pub(super) fn inherited(&self) -> Self {
        Self { future: None, ..self.clone() }
    }

    /// Whether all of the memory was ever locked.
    pub(super) fn has_locked(&self) -> bool {
        self.has_locked
    }

    /// The flags of `mmap(2)` that lock a new mapping.
    pub(super) fn flags(&self) -> u64 {
        if self.future == Some(When::Now) { LOCKED } else { 0 }
    }

    /// Where the first seal in `span` begins.
    pub(super) fn first_seal(&self, span: GuestSpan) -> Option<u64> {
        let touching = self
            .sealed
            .iter()
            .filter(|seal| seal.start() < span.end() && seal.end() > span.start());
        touching.map(|seal| seal.start().max(span.start())).min()
    }

    /// `EPERM` if anything in `span` is sealed.
    pub(super) fn check_unsealed(&self, span: GuestSpan) -> Result<(), Errno> {
        if self.first_seal(span).is_some() { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn seal(&mut self, span: GuestSpan) {
        let known = |seal: &GuestSpan| seal.start() <= span.start() && span.end() <= seal.end();
        if !self.sealed.iter().any(known) {
            self.sealed.push(span);
        }
    }
}

impl AddressSpace {
    /// Locks a new mapping as `mlockall(2)` said, unless its flags have. What must
    /// not be locked is unmapped again: `EAGAIN`.
    pub(super) fn lock_new(
        &self,
        state: &mut State,
        span: GuestSpan,
        made_by: Flags,
    ) -> Result<(), Errno> {
        let when = match (state.promises.future, made_by) {
            (None, _) | (Some(When::Now), Flags::Applied) => return Ok(()),
            (Some(when), _) => when,
        };
        if self.memory.lock(span, when).is_ok() {
            return Ok(());
        }
        state.sure(self.memory.unmap(span))?;
        state.forget(span);
        Err(Errno::EAGAIN)
    }

    /// `mlockall(2)`: locks what is mapped, and what will be, or neither.
    pub fn lock_all(&self, current: Option<When>, future: Option<When>) -> Result<(), Errno> {
        let mut state = self.state();
        let total = state.map.all().map(|mapped| mapped.span.len()).sum();
        if !locking::may_lock_all_of(total)? && current.is_some() {
            return Err(Errno::ENOMEM);
        }
        state.promises.future = future;
        if let Some(when) = current {
            state.promises.has_locked = true;
            // As on Linux, what cannot be brought in is locked all the same.
            each_span(&state, |span| _ = self.memory.lock(span, when));
        }
        Ok(())
    }

    /// `munlockall(2)`.
    pub fn unlock_all(&self) {
        let mut state = self.state();
        state.promises.future = None;
        each_span(&state, |span| _ = self.memory.unlock(span));
    }

    /// `mseal(2)`.
    pub fn seal(&self, start: u64, len: u64) -> Result<(), Errno> {
        let len = whole_pages(len).filter(|_| start.is_multiple_of(PAGE)).ok_or(Errno::EINVAL)?;
        start.checked_add(len).ok_or(Errno::EINVAL)?;
        if len == 0 {
            return Ok(());
        }
        let span = GuestSpan::new(start, len).ok_or(Errno::ENOMEM)?;
        let mut state = self.state();
        self.memory.seal(span)?;
        state.promises.seal(span);
        Ok(())
    }
}

fn each_span(state: &State, act: impl Fn(GuestSpan)) {
    state.map.all().for_each(|mapped| act(mapped.span));
}

#[cfg(test)]
mod tests {
    use monitor_sys::{Errno, guest_memory::GuestSpan, locking::When};

    use super::{LOCKED, Promises};

    fn span(start: u64, len: u64) -> GuestSpan {
        GuestSpan::new(start, len).unwrap()
    }

    #[test]
    fn the_first_seal_in_a_span_is_found() {
        let mut promises = Promises::default();
        promises.seal(span(0x30_0000, 0x3000));
        promises.seal(span(0x20_0000, 0x1000));
        promises.seal(span(0x30_1000, 0x1000));

        assert_eq!(promises.sealed.len(), 2, "the last was sealed already");
        assert_eq!(promises.first_seal(span(0x10_0000, 0x40_0000)), Some(0x20_0000));
        assert_eq!(promises.first_seal(span(0x30_2000, 0x5000)), Some(0x30_2000));
        assert_eq!(promises.check_unsealed(span(0x20_1000, 0xff000)), Ok(()));
        assert_eq!(promises.check_unsealed(span(0x20_1000, 0xff001)), Err(Errno::EPERM));
    }

    #[test]
    fn a_child_inherits_seals_but_no_locks() {
        let mut promises = Promises { future: Some(When::Now), ..Promises::default() };
        promises.seal(span(0x20_0000, 0x1000));
        assert_eq!(promises.flags(), LOCKED);

        let child = promises.inherited();

        assert_eq!(child.flags(), 0);
        assert_eq!(child.first_seal(span(0x20_0000, 1)), Some(0x20_0000));
    }
}
