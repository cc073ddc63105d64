//! The parts of a CPU's extended state that only the module can read, kept for a handler's return.
//!
//! A signal's frame lies in guest memory, and the host's kernel loads the module's form as it is: a guest must never
//! write it. So the frame holds x87 and SSE, and a number by which the rest is found here. A program that makes up a
//! number gets another state of its own, or none.

use std::{collections::VecDeque, sync::Arc};

use crate::arch::x86_64::extended_state::{AREA_LEN, ExtendedState};

/// Where the number lies: behind the SSE registers, in bytes that no processor and no program looks at.
const PLACE: usize = 416;
/// Before the number.
const MARK: [u8; 8] = *b"km state";
/// So many are kept: handlers that interrupt handlers. The oldest goes first.
const AT_MOST: usize = 64;

/// The sealed states of one thread.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    kept: VecDeque<(u64, Arc<[u8; AREA_LEN]>)>,
    last: u64,
}

impl Sealed {
    /// Keeps `sealed`, and writes its number into the area of `state`.
    pub(super) fn keep(
        &mut self,
        state: &ExtendedState,
        sealed: &Arc<[u8; AREA_LEN]>,
    ) -> ExtendedState {
        self.last += 1;
        self.kept.push_back((self.last, Arc::clone(sealed)));
        if self.kept.len() > AT_MOST {
            self.kept.pop_front();
        }
        let mut area = Box::new(*state.area());
        area[PLACE..PLACE + 8].copy_from_slice(&MARK);
        area[PLACE + 8..PLACE + 16].copy_from_slice(&self.last.to_le_bytes());
        ExtendedState::from_area(area).with_sealed(Arc::clone(sealed))
    }

    /// What belongs to a state: what it has brought along, or what was kept under its number.
    pub(super) fn find(&self, state: &ExtendedState) -> Option<Arc<[u8; AREA_LEN]>> {
        if let Some(sealed) = state.sealed() {
            return Some(Arc::clone(sealed));
        }
        let area = state.area();
        let number = &area[PLACE + 8..PLACE + 16];
        let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
        let is_marked = area[PLACE..PLACE + 8] == MARK;
        let mut kept = self.kept.iter().filter(|_| is_marked);
        kept.find(|(known, _)| *known == number).map(|(_, sealed)| Arc::clone(sealed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{AT_MOST, Sealed};
    use crate::arch::x86_64::extended_state::ExtendedState;

    /// What is left of a state that was written to guest memory and read back.
    fn through_guest(state: &ExtendedState) -> ExtendedState {
        ExtendedState::from_guest(&state.area()[..576], 3).unwrap()
    }

    #[test]
    fn a_state_is_found_by_what_its_frame_holds() {
        let mut sealed = Sealed::default();
        let states = [1, 2].map(|byte| Arc::new([byte; 4096]));
        let frames = states.each_ref().map(|state| sealed.keep(&ExtendedState::initial(), state));

        for (frame, state) in frames.iter().zip(states) {
            assert_eq!(sealed.find(&through_guest(frame)), Some(state));
        }
        assert_eq!(sealed.find(&ExtendedState::initial()), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut sealed = Sealed::default();
        let state = Arc::new([7; 4096]);
        let first = sealed.keep(&ExtendedState::initial(), &state);
        for _ in 0..AT_MOST {
            sealed.keep(&ExtendedState::initial(), &state);
        }

        assert_eq!(sealed.find(&through_guest(&first)), None);
        assert_eq!(sealed.kept.len(), AT_MOST);
    }
}
