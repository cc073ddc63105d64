//! The extended state (x87, SSE, AVX, AVX-512) in the standard format of `xsave`.

use std::{ops::Range, sync::Arc};

/// The bytes of the area the platforms exchange.
pub const AREA_LEN: usize = 4096;

/// Where the header with the set of states lies, in bytes.
const HEADER: usize = 512;
/// The header's last bytes, which are reserved; those before them must be zero.
const IGNORED: Range<usize> = HEADER + 24..HEADER + 64;
/// Where `MXCSR` lies, in bytes.
const MXCSR: usize = 24;
/// The bits of `MXCSR` that may be set.
const MXCSR_VALID: u32 = 0xffff;
/// `MXCSR` and the x87 control word at a program's start: all exceptions masked.
const MXCSR_START: u32 = 0x1f80;
const CONTROL_WORD_START: u16 = 0x37f;
/// The states x87 and SSE, which bring the two along.
const LEGACY_STATES: u8 = 3;

/// One thread's extended state.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtendedState {
    area: Box<[u8; AREA_LEN]>,
    /// The same in a form that only the platform's device knows, if it has one. No guest has ever seen it.
    sealed: Option<Arc<[u8; AREA_LEN]>>,
}

impl std::fmt::Debug for ExtendedState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ExtendedState").finish_non_exhaustive()
    }
}

impl ExtendedState {
    /// The state of bytes that a platform gave.
    pub fn from_area(area: Box<[u8; AREA_LEN]>) -> Self {
        Self { area, sealed: None }
    }

    /// The same state, with what the device has told of it in its own form.
    #[must_use]
    pub fn with_sealed(self, sealed: Arc<[u8; AREA_LEN]>) -> Self {
        Self { sealed: Some(sealed), ..self }
    }

    /// The state in the device's own form.
    pub fn sealed(&self) -> Option<&Arc<[u8; AREA_LEN]>> {
        self.sealed.as_ref()
    }

    /// The state a program starts with, and a signal handler.
    pub fn initial() -> Self {
        let mut area = Box::new([0; AREA_LEN]);
        area[..2].copy_from_slice(&CONTROL_WORD_START.to_le_bytes());
        area[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_START.to_le_bytes());
        area[HEADER] = LEGACY_STATES;
        Self::from_area(area)
    }

    /// The bytes.
    pub fn area(&self) -> &[u8; AREA_LEN] {
        &self.area
    }

    /// The state in bytes that a guest wrote, if a CPU with `xcr0` would load it.
    pub fn from_guest(bytes: &[u8], xcr0: u64) -> Option<Self> {
        let mut area = Box::new([0; AREA_LEN]);
        area.get_mut(..bytes.len())?.copy_from_slice(bytes);
        // A CPU does not look at these, but platforms refuse what is in them.
        area[IGNORED].fill(0);
        let state = Self::from_area(area);
        let reserved = state.word(HEADER + 8) | state.word(HEADER + 16);
        let mxcsr = u32::try_from(state.word(MXCSR) & 0xffff_ffff).expect("masked");
        let loadable = state.states() & !xcr0 == 0 && reserved == 0 && mxcsr & !MXCSR_VALID == 0;
        loadable.then_some(state)
    }

    /// Which states the area holds.
    pub fn states(&self) -> u64 {
        self.word(HEADER)
    }

    fn word(&self, at: usize) -> u64 {
        let bytes = self.area[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    }
}

/// The bytes that the states in `xcr0` take, from leaf 0xd of this CPU.
pub fn area_len(xcr0: u64) -> usize {
    let end_of = |state: u32| {
        let leaf = std::arch::x86_64::__cpuid_count(super::cpuid::EXTENDED_STATE_LEAF, state);
        leaf.eax + leaf.ebx
    };
    let extended = (2..8).filter(|state| xcr0 & (1 << state) != 0).map(end_of);
    let len = extended.max().unwrap_or(0).max(576);
    usize::try_from(len).expect("at most a few pages")
}

#[cfg(test)]
mod tests {
    use super::{AREA_LEN, ExtendedState, area_len};

    #[test]
    fn a_state_the_cpu_would_refuse_is_refused() {
        let mut bytes = vec![0; 1024];
        bytes[512] = 7;
        assert!(ExtendedState::from_guest(&bytes, 7).is_some());
        assert!(ExtendedState::from_guest(&bytes, 3).is_none(), "a state that is off");
        bytes[520] = 1;
        assert!(ExtendedState::from_guest(&bytes, 7).is_none(), "a compacted area");
        bytes[520] = 0;
        bytes[26] = 1;
        assert!(ExtendedState::from_guest(&bytes, 7).is_none(), "a bit MXCSR lacks");
        assert!(ExtendedState::from_guest(&vec![0; AREA_LEN + 1], 7).is_none(), "too long");
    }

    #[test]
    fn what_a_cpu_does_not_look_at_is_left_out() {
        let mut bytes = vec![0; 1024];
        bytes[512] = 7;
        let expected = ExtendedState::from_guest(&bytes, 7);
        bytes[536..576].fill(0xff);

        assert_eq!(ExtendedState::from_guest(&bytes, 7), expected);
    }

    #[test]
    fn a_cpu_without_extensions_loads_the_initial_state() {
        let initial = ExtendedState::initial();

        assert_eq!(ExtendedState::from_guest(initial.area(), 3), Some(initial));
    }

    #[test]
    fn every_area_holds_at_least_the_legacy_region_and_the_header() {
        assert_eq!(area_len(3), 576);
        assert!(area_len(0xe7) <= AREA_LEN);
    }
}
