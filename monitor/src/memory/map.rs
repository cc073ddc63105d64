//! Which ranges of guest memory are mapped, and with what protection.
//!
//! The host knows the same and more, but can only be asked by reading
//! `/proc/self/maps`. This is what decides where a mapping goes and whether a
//! fault is the program's.

use std::collections::BTreeMap;
use std::ops::Range;

use monitor_sys::guest_memory::{GuestSpan, PAGE};

use super::Protection;

/// What kind of mapping a range is, as far as limits and growth go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A private mapping: data, where it may be written.
    Private,
    /// The same without a file.
    Anonymous,
    /// The same, which `brk(2)` has made.
    Heap,
    /// A mapping that others may have in common.
    Shared,
    /// `MAP_GROWSDOWN`: an access below it makes it longer.
    GrowsDown,
    /// The first thread's stack, which is mapped as far as it may grow.
    Stack,
}

/// What is mapped somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// From end to end.
    pub span: GuestSpan,
    /// What may be done there.
    pub protection: Protection,
    /// What it is.
    pub kind: Kind,
}

/// Linux keeps so much free below what grows downwards, in bytes.
pub const GUARD_GAP: u64 = 256 * PAGE;

/// A mapped range, found by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    end: u64,
    protection: Protection,
    kind: Kind,
}

impl Area {
    /// Where what is free below it ends.
    fn guarded_start(self, start: u64) -> u64 {
        if self.kind == Kind::GrowsDown { start.saturating_sub(GUARD_GAP) } else { start }
    }
}

/// The mapped ranges. They never overlap.
#[derive(Clone, Debug, Default)]
pub struct Map {
    areas: BTreeMap<u64, Area>,
    packed: Run,
}

/// Areas without a gap between them, none of which grows down: who looks for a gap need not look at each.
#[derive(Clone, Debug, Default)]
struct Run {
    span: Range<u64>,
    areas: usize,
}

impl Map {
    /// Notes a mapping; what was there is replaced.
    pub fn insert(&mut self, span: GuestSpan, protection: Protection, kind: Kind) {
        if span.is_empty() {
            return;
        }
        self.remove(span);
        self.areas.insert(span.start(), Area { end: span.end(), protection, kind });
    }

    /// Forgets what is mapped in `span`.
    pub fn remove(&mut self, span: GuestSpan) {
        self.split_at(span.start());
        self.split_at(span.end());
        let inside: Vec<u64> =
            self.areas.range(span.start()..span.end()).map(|(&at, _)| at).collect();
        for start in inside {
            self.areas.remove(&start);
        }
        if span.start() < self.packed.span.end && span.end() > self.packed.span.start {
            self.packed = Run::default();
        }
    }

    /// Changes the protection of what is mapped in `span`, up to the first hole,
    /// as `mprotect(2)` does. Says whether there was none.
    pub fn protect(&mut self, span: GuestSpan, protection: Protection) -> bool {
        let covered = self.covered_until(span);
        let Some(covered) = GuestSpan::new(span.start(), covered - span.start()) else {
            return false;
        };
        self.split_at(covered.start());
        self.split_at(covered.end());
        for (_, area) in self.areas.range_mut(covered.start()..covered.end()) {
            area.protection = protection;
        }
        covered == span
    }

    /// What may be done at `address`, or `None` if nothing is mapped there.
    pub fn protection_at(&self, address: u64) -> Option<Protection> {
        self.mapped_at(address).map(|mapped| mapped.protection)
    }

    /// The mapping at `address`.
    pub fn mapped_at(&self, address: u64) -> Option<Mapped> {
        self.below(address).filter(|mapped| address < mapped.span.end())
    }

    /// The mapping that begins at or below `address`, nearest to it.
    pub fn below(&self, address: u64) -> Option<Mapped> {
        self.areas.range(..=address).next_back().and_then(mapped)
    }

    /// The first mapping that begins above `address`.
    pub fn above(&self, address: u64) -> Option<Mapped> {
        self.areas.range(address.checked_add(1)?..).next().and_then(mapped)
    }

    /// Whether `span` is free, and keeps away from what grows down to it.
    pub fn is_free_and_apart(&self, span: GuestSpan) -> bool {
        let next = self.areas.range(span.start()..).next();
        self.is_free(span) && next.is_none_or(|(&at, area)| area.guarded_start(at) >= span.end())
    }

    /// Whether nothing is mapped in `span`.
    pub fn is_free(&self, span: GuestSpan) -> bool {
        self.areas.range(..span.end()).next_back().is_none_or(|(_, area)| area.end <= span.start())
    }

    /// Whether `span` is mapped from end to end.
    pub fn is_covered(&self, span: GuestSpan) -> bool {
        self.covered_until(span) == span.end()
    }

    /// Whether anything mapped in `span` may be executed.
    pub fn has_executable(&self, span: GuestSpan) -> bool {
        let before = self.areas.range(..span.start()).next_back();
        let before = before.filter(|(_, area)| area.end > span.start());
        let inside = self.areas.range(span.start()..span.end());
        before.into_iter().chain(inside).any(|(_, area)| area.protection.executes())
    }

    /// The highest address in `floor..ceiling` from which `len` bytes are free,
    /// a multiple of `alignment`.
    pub fn highest_gap(
        &mut self,
        floor: u64,
        ceiling: u64,
        len: u64,
        alignment: u64,
    ) -> Option<u64> {
        let mut end = ceiling;
        let mut below = ceiling;
        let mut run = Run::default();
        while let Some((&start, &area)) = self.areas.range(..below).next_back() {
            if let Some(found) = fit(area.end.max(floor), end, len, alignment) {
                return Some(found);
            }
            let is_known = area.end == self.packed.span.end;
            let (from, areas) =
                if is_known { (self.packed.span.start, self.packed.areas) } else { (start, 1) };
            if area.end != run.span.start {
                run = Run { span: area.end..area.end, areas: 0 };
            }
            run = Run { span: from..run.span.end, areas: run.areas + areas };
            if area.kind == Kind::GrowsDown {
                run = Run::default();
            } else if run.areas > self.packed.areas {
                self.packed = run.clone();
            }
            below = from;
            end = end.min(if is_known { from } else { area.guarded_start(start) });
            if below <= floor {
                return None;
            }
        }
        fit(floor, end, len, alignment)
    }

    /// What is mapped, in order.
    pub fn all(&self) -> impl Iterator<Item = Mapped> {
        self.areas.iter().filter_map(mapped)
    }

    /// What of `span` is mapped, cut to it, in order.
    pub fn within(&self, span: GuestSpan) -> impl Iterator<Item = Mapped> {
        let first = self.below(span.start()).map_or(span.start(), |first| first.span.start());
        let areas = self.areas.range(first..span.end().max(first)).filter_map(mapped);
        areas.filter_map(move |mapped| {
            let start = mapped.span.start().max(span.start());
            let len = mapped.span.end().min(span.end()).checked_sub(start)?;
            let cut = GuestSpan::new(start, len).filter(|cut| !cut.is_empty())?;
            Some(Mapped { span: cut, ..mapped })
        })
    }

    /// How far `span` is mapped without a hole.
    fn covered_until(&self, span: GuestSpan) -> u64 {
        let mut at = span.start();
        let before = self.areas.range(..=at).next_back();
        if let Some((_, area)) = before.filter(|(_, area)| area.end > at) {
            at = area.end;
        }
        for (&start, area) in self.areas.range(span.start() + 1..span.end().max(span.start() + 1)) {
            if start > at {
                break;
            }
            at = area.end;
        }
        at.min(span.end())
    }

    /// Makes sure that no area reaches across `address`.
    fn split_at(&mut self, address: u64) {
        let Some((_, area)) = self.areas.range_mut(..address).next_back() else {
            return;
        };
        if area.end > address {
            let upper = *area;
            area.end = address;
            self.areas.insert(address, upper);
        }
    }
}

fn mapped((&start, area): (&u64, &Area)) -> Option<Mapped> {
    let span = GuestSpan::new(start, area.end - start)?;
    Some(Mapped { span, protection: area.protection, kind: area.kind })
}

/// The highest aligned start of `len` bytes in `start..end`.
fn fit(start: u64, end: u64, len: u64, alignment: u64) -> Option<u64> {
    let found = end.checked_sub(len)? / alignment * alignment;
    (found >= start).then_some(found)
}

#[cfg(test)]
mod tests {
    use monitor_sys::guest_memory::{GUEST_START, GuestSpan};
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};

    use super::{Kind, Map};
    use crate::memory::Protection;

    const CELLS: u64 = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64, u64),
        Remove(u64, u64),
        Protect(u64, u64, u64),
    }

    fn span(first: u64, count: u64) -> GuestSpan {
        let first = first % CELLS;
        GuestSpan::new(GUEST_START + first, count % (CELLS - first) + 1).unwrap()
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (any::<u64>(), any::<u64>(), 0..8_u64);
        let step = prop_oneof![
            step.clone().prop_map(|(at, len, bits)| Step::Insert(at, len, bits)),
            step.clone().prop_map(|(at, len, _)| Step::Remove(at, len)),
            step.prop_map(|(at, len, bits)| Step::Protect(at, len, bits)),
        ];
        proptest::collection::vec(step, 0..60)
    }

    /// The same in the simplest way: one cell for each byte.
    struct Model([Option<u64>; 40]);

    impl Default for Model {
        fn default() -> Self {
            Self([None; 40])
        }
    }

    impl Model {
        fn cells(&mut self, span: GuestSpan) -> &mut [Option<u64>] {
            let cell = |at: u64| usize::try_from(at - GUEST_START).unwrap();
            &mut self.0[cell(span.start())..cell(span.end())]
        }

        fn protect(&mut self, span: GuestSpan, bits: u64) -> bool {
            let cells = self.cells(span);
            let hole = cells.iter().position(Option::is_none);
            let end = hole.unwrap_or(cells.len());
            cells[..end].fill(Some(bits));
            hole.is_none()
        }
    }

    fn apply(step: &Step, map: &mut Map, model: &mut Model) {
        match *step {
            Step::Insert(at, len, bits) => {
                map.insert(span(at, len), Protection(bits), Kind::Private);
                model.cells(span(at, len)).fill(Some(bits));
            }
            Step::Remove(at, len) => {
                map.remove(span(at, len));
                model.cells(span(at, len)).fill(None);
            }
            Step::Protect(at, len, bits) => {
                let whole = map.protect(span(at, len), Protection(bits));
                assert_eq!(whole, model.protect(span(at, len), bits));
            }
        }
    }

    proptest! {
        #[test]
        fn the_map_agrees_with_a_cell_for_each_byte(steps in steps(), at: u64, len: u64) {
            let (mut map, mut model) = (Map::default(), Model::default());
            for step in &steps {
                apply(step, &mut map, &mut model);
            }

            for (cell, expected) in (GUEST_START..).zip(model.0) {
                assert_eq!(map.protection_at(cell), expected.map(Protection));
            }
            let asked = span(at, len);
            let cells = model.cells(asked);
            assert_eq!(map.is_free(asked), cells.iter().all(Option::is_none));
            assert_eq!(map.is_covered(asked), cells.iter().all(Option::is_some));
            let executable = cells.iter().flatten().any(|bits| bits & 4 != 0);
            assert_eq!(map.has_executable(asked), executable);
        }

        #[test]
        fn a_gap_that_is_found_is_free_and_the_highest(steps in steps(), len in 1..8_u64) {
            let (mut map, mut model) = (Map::default(), Model::default());
            for step in &steps {
                apply(step, &mut map, &mut model);
                // What is learnt by looking must stay true.
                map.highest_gap(GUEST_START, GUEST_START + CELLS, CELLS, 1);
            }

            let found = map.highest_gap(GUEST_START, GUEST_START + CELLS, len, 2);

            let free = |at: &u64| map.is_free(GuestSpan::new(*at, len).unwrap());
            let all = (GUEST_START..=GUEST_START + CELLS - len).filter(|at| at.is_multiple_of(2));
            assert_eq!(found, all.filter(free).max());
        }
    }
}
