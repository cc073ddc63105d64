//! `madvise(2)`, as far as it changes what a fault means or a child inherits.

use monitor_sys::{
    Errno,
    guest_memory::{GuestSpan, PAGE},
};

use super::{
    AddressSpace, Protection, State,
    map::{Kind, Map},
    whole_pages,
};

/// `MADV_HUGEPAGE`.
pub(super) const HUGE_PAGE: u32 = 14;
/// `MADV_NOHUGEPAGE`.
pub(super) const NO_HUGE_PAGE: u32 = 15;
const DONT_FORK: u32 = 10;
const DO_FORK: u32 = 11;
const GUARD_INSTALL: u32 = 102;
const GUARD_REMOVE: u32 = 103;
/// After these the map may not tell where memory is, here or in a child: pages that are guards or not inherited may
/// be moved, and `MADV_HWPOISON` and `MADV_SOFT_OFFLINE` take pages away.
const UNSURE: [u32; 4] = [DONT_FORK, GUARD_INSTALL, 100, 101];

impl AddressSpace {
    /// Notes advice that `call` gives to the host, if that takes it.
    pub fn advise<T>(
        &self,
        start: u64,
        len: u64,
        advice: u32,
        call: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let noted = matches!(
            advice,
            HUGE_PAGE | NO_HUGE_PAGE | DONT_FORK | DO_FORK | GUARD_INSTALL | GUARD_REMOVE
        );
        if UNSURE.contains(&advice) {
            self.doubt();
        }
        let span = whole_pages(len).and_then(|len| GuestSpan::new(start, len));
        let Some(span) = span.filter(|_| noted) else {
            return call();
        };
        let mut state = self.state();
        let answer = call();
        // With holes, what lies between them is advised all the same.
        if !matches!(answer, Ok(_) | Err(Errno::ENOMEM)) {
            return answer;
        }
        let nothing = Protection::default();
        match advice {
            // From now on Linux does what the program says.
            HUGE_PAGE | NO_HUGE_PAGE => {
                state.streams.forget(span);
                state.advised.remove(span);
                state.unfit.insert(span, nothing, Kind::Anonymous);
            }
            DONT_FORK => state.not_inherited.insert(span, nothing, Kind::Private),
            DO_FORK => state.not_inherited.remove(span),
            GUARD_INSTALL => state.guards.insert(span, nothing, Kind::Private),
            _ => state.guards.remove(span),
        }
        answer
    }

    /// The program says on which nodes pages belong, or will.
    pub fn note_policy(&self) {
        self.state().has_policy = true;
    }

    /// Whether a page is inaccessible by advice, whatever its protection says.
    pub fn is_guard(&self, address: u64) -> bool {
        self.state().guards.mapped_at(address).is_some()
    }
}

/// What was advised about memory that is moved or made longer, by its distance from where that begins.
#[derive(Debug)]
pub(super) struct Carried {
    /// Guards are pages.
    guards: Vec<[u64; 2]>,
    /// What is not inherited are mappings.
    not_inherited: Vec<[u64; 2]>,
    /// Whether that is what will be made longer, from this distance on.
    longer: Option<u64>,
}

impl State {
    /// What was advised about `from`. A mapping of which no length is moved is copied.
    pub(super) fn carried(&self, from: GuestSpan) -> Carried {
        let within = |map: &Map| {
            let parts = map.within(from).map(|part| part.span);
            parts.map(|part| [part.start() - from.start(), part.len()]).collect()
        };
        let last = if from.is_empty() { from.start() } else { from.end() - PAGE };
        let is_last = self.not_inherited.mapped_at(last).is_some();
        let (guards, not_inherited) = (within(&self.guards), within(&self.not_inherited));
        Carried { guards, not_inherited, longer: is_last.then_some(from.len()) }
    }

    /// Notes it where the memory is now.
    pub(super) fn put_carried(&mut self, carried: &Carried, target: GuestSpan) {
        let nothing = Protection::default();
        let place = |&[at, len]: &[u64; 2]| {
            let room = target.len().checked_sub(at)?;
            GuestSpan::new(target.start() + at, len.min(room))
        };
        for span in carried.guards.iter().filter_map(place) {
            self.guards.insert(span, nothing, Kind::Private);
        }
        let longer = carried.longer.map(|at| [at, target.len()]);
        for span in carried.not_inherited.iter().chain(&longer).filter_map(place) {
            self.not_inherited.insert(span, nothing, Kind::Private);
        }
    }
}
