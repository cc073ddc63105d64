//! `madvise(2)`, as far as it changes what a fault means or a child inherits.

use monitor_sys::{Errno, guest_memory::GuestSpan};

use super::{AddressSpace, Protection, map::Kind, whole_pages};

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
