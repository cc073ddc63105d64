//! What kinds of files descriptors are, which decides how the helper writes to them.
//!
//! A descriptor is another file only after it was closed. Whoever is about to close one, and whoever has, says so
//! ([`Kinds::forget`]): what was found in between is not noted, and what was known before is not used. A program that
//! closes a descriptor in the moment in which it writes to it may find the write made as to the file before.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many descriptors are known, the first ones.
const DESCRIPTORS: u64 = 20;
/// Above their bits is a number that is another one after each change.
const CHANGES: u32 = 40;

/// What a descriptor is to one who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A plain file on a file system that keeps nobody waiting but for a disk.
    OnDisk,
    /// Anything else.
    Other,
}

/// What is known: two bits for each descriptor.
#[derive(Debug, Default)]
pub struct Kinds(AtomicU64);

/// What was known at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known(u64);

impl Known {
    /// What a descriptor is, if that was known.
    pub(super) fn of(self, descriptor: u64) -> Option<Kind> {
        [Kind::OnDisk, Kind::Other]
            .into_iter()
            .find(|&kind| bit(descriptor, kind).is_some_and(|bit| self.0 & bit != 0))
    }
}

impl Kinds {
    pub(super) fn known(&self) -> Known {
        Known(self.0.load(Ordering::SeqCst))
    }

    /// Notes what a descriptor is, if none was closed since this was known.
    pub(super) fn note(&self, since: Known, descriptor: u64, kind: Kind) {
        let Some(bit) = bit(descriptor, kind) else { return };
        let noted = since.0 | bit;
        _ = self.0.compare_exchange(since.0, noted, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// A descriptor may become another file, or has become one.
    pub fn forget(&self) {
        let next = |word: u64| Some((word >> CHANGES).wrapping_add(1) << CHANGES);
        _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    }
}

/// The kernel looks at the lower half of a descriptor.
fn bit(descriptor: u64, kind: Kind) -> Option<u64> {
    let descriptor = descriptor & 0xffff_ffff;
    let shift = 2 * descriptor + u64::from(kind == Kind::Other);
    (descriptor < DESCRIPTORS).then(|| 1 << shift)
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTORS, Kind, Kinds};

    #[test]
    fn what_is_noted_is_known_until_one_is_closed() {
        let kinds = Kinds::default();
        kinds.note(kinds.known(), 3, Kind::Other);
        kinds.note(kinds.known(), DESCRIPTORS - 1, Kind::OnDisk);
        let known = kinds.known();
        assert_eq!(known.of(3), Some(Kind::Other));
        assert_eq!(known.of(0xff_0000_0003), Some(Kind::Other));
        assert_eq!(known.of(DESCRIPTORS - 1), Some(Kind::OnDisk));
        assert_eq!(known.of(4), None);

        kinds.forget();
        assert_eq!(kinds.known().of(3), None);
    }

    #[test]
    fn what_was_found_before_one_is_closed_is_not_noted() {
        let kinds = Kinds::default();
        let before = kinds.known();
        kinds.forget();
        kinds.note(before, 3, Kind::OnDisk);
        assert_eq!(kinds.known().of(3), None);
    }

    #[test]
    fn high_descriptors_are_not_kept() {
        let kinds = Kinds::default();
        for descriptor in [DESCRIPTORS, 64, 1 << 20, 0xffff_ffff] {
            kinds.note(kinds.known(), descriptor, Kind::OnDisk);
            assert_eq!(kinds.known().of(descriptor), None);
            assert_eq!(kinds.known().of(0), None);
        }
    }
}
