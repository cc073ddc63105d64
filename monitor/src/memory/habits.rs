//! Mappings of one length, and the heap's steps: what a program has done with the last tells what it will do with
//! the next.
//!
//! Where one that was left alone is found written nearly as a whole when it is unmapped, or when the next
//! comes, those that follow are brought in as they are made: with huge pages if they are long enough, else page by
//! page, which is half as dear as the guest's own touch of each. In between, and ever more rarely, one is left
//! alone again, as what was brought in tells nothing. So a program that changes its mind pays with a few
//! mappings' worth of memory, for as long as they are mapped.

use std::collections::BTreeMap;

use monitor_sys::guest_memory::{GuestMemory, GuestSpan};

use super::{
    AddressSpace, Protection, State,
    advice::HUGE_PAGE,
    map::{Kind, Map, Mapped},
    presence::{is_end_held, is_filled},
    streams::REGION,
};

/// Shorter ones are touched as quickly as brought in.
const SHORTEST: u64 = 64 << 10;
/// In longer ones, writes in order are noticed (see [`super::streams`]).
const LONGEST: u64 = 64 << 20;

/// So long are those at most that are looked at while they are mapped.
const STAYING_LONGEST: u64 = REGION;

/// The eighths of a mapping that make it as good as full.
const FILLED: u64 = 7;

/// So many lengths are kept in mind.
const LENGTHS: usize = 16;

/// So many are brought in, at most, before one is left alone.
const TRUST_MAX: u32 = 32;

/// The same of those that stay, whose memory the program has for longer.
const STAYING_TRUST_MAX: u32 = 8;

/// `MAP_POPULATE`.
pub(super) const POPULATE: u64 = 0x8000;

/// What became of mappings, by their length.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits(BTreeMap<u64, Habit>);

/// What became of mappings of one length, or of the heap's steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habit {
    /// The one that was left alone.
    left_alone: Option<GuestSpan>,
    /// How many are brought in before the next is left alone; 0 until one was used.
    trust: u32,
    /// How many of them are still to come.
    to_come: u32,
}

impl Habit {
    /// Whether to bring in the next, now that it comes. `is_used` tells whether the last that was left alone, and is
    /// mapped yet, is as good as full; if it is not, it may become so.
    fn expect_use(&mut self, is_used: impl FnOnce(GuestSpan) -> bool) -> bool {
        if self.to_come == 0 {
            let Some(_) = self.left_alone.filter(|&span| is_used(span)) else { return false };
            self.trust_more(STAYING_TRUST_MAX);
        }
        self.to_come -= 1;
        true
    }

    /// One that was left alone was used.
    fn trust_more(&mut self, most: u32) {
        self.left_alone = None;
        self.trust = (self.trust * 2).clamp(1, most.max(self.trust));
        self.to_come = self.trust;
    }
}

impl Habits {
    /// Whether to bring in a mapping of `len` bytes (see [`Habit::expect_use`]).
    fn expect_use(&mut self, len: u64, is_used: impl FnOnce(GuestSpan) -> bool) -> bool {
        self.0.get_mut(&len).is_some_and(|habit| habit.expect_use(is_used))
    }

    /// Keeps in mind that this one was left alone.
    fn leave_alone(&mut self, span: GuestSpan) {
        if self.0.len() >= LENGTHS && !self.0.contains_key(&span.len()) {
            self.0.clear();
        }
        self.0.entry(span.len()).or_default().left_alone = Some(span);
    }

    /// Learns from one that is unmapped.
    fn learn(&mut self, span: GuestSpan, is_used: impl FnOnce() -> bool) {
        let habit = self.0.get_mut(&span.len());
        let Some(habit) = habit.filter(|habit| habit.left_alone == Some(span)) else {
            return;
        };
        if is_used() {
            habit.trust_more(TRUST_MAX);
        } else {
            *habit = Habit::default();
        }
    }
}

impl State {
    /// Whether a new mapping is to be brought in as it is made.
    pub(super) fn expect_use(
        &mut self,
        memory: &GuestMemory,
        len: u64,
        kind: Kind,
        protection: Protection,
    ) -> bool {
        if self.has_own_ways() || !is_eligible(len, kind, protection) {
            return false;
        }
        let Self { map, habits, .. } = self;
        habits.expect_use(len, |last| is_used_yet(memory, map, last, Kind::Anonymous))
    }

    /// Whether the heap's next step, of `len` bytes, is to be brought in as it is made.
    pub(super) fn expect_use_of_heap(&mut self, memory: &GuestMemory, step: GuestSpan) -> bool {
        if self.has_own_ways() || !(SHORTEST..=STAYING_LONGEST).contains(&step.len()) {
            return false;
        }
        let Self { map, heap_habit, .. } = self;
        let expected = heap_habit.expect_use(|last| is_used_yet(memory, map, last, Kind::Heap));
        if !expected {
            heap_habit.left_alone = Some(step);
        }
        expected
    }

    /// Whether the program has said itself which pages it wants, and where.
    fn has_own_ways(&self) -> bool {
        self.has_policy || self.promises.has_locked()
    }

    /// Learns from what is about to be unmapped.
    pub(super) fn learn(&mut self, memory: &GuestMemory, span: GuestSpan) {
        let is_whole = self.map.mapped_at(span.start()).is_some_and(|mapped| mapped.span == span);
        if !is_whole {
            return;
        }
        self.habits.learn(span, || is_filled(memory, span, FILLED));
    }
}

impl AddressSpace {
    /// Notes a new mapping whose place the program left open, and brings it in if it is `expected` to be used
    /// and the call itself has not.
    pub(super) fn settle(&self, state: &mut State, span: GuestSpan, expected: bool) {
        let Some(mapped) = state.map.mapped_at(span.start()) else { return };
        if !expected {
            if is_eligible(span.len(), mapped.kind, mapped.protection) {
                state.habits.leave_alone(span);
            }
            self.follow(state, span);
        } else if span.len() >= REGION && self.memory.advise(span, HUGE_PAGE).is_ok() {
            state.advised.insert(span, Protection::default(), Kind::Anonymous);
        }
    }
}

/// Whether `span` is mapped yet as it was, and as good as full. Of a mapping the end, by which most that is not full
/// is known, is looked at first: this is asked with each that comes. Of the heap, a rest may be left at the end.
fn is_used_yet(memory: &GuestMemory, map: &Map, span: GuestSpan, kind: Kind) -> bool {
    let is_same =
        |mapped: &Mapped| mapped.kind == kind && mapped.protection == Protection::READ_WRITE;
    let same = map.within(span).filter(is_same).map(|mapped| mapped.span.len()).sum::<u64>();
    span.len() <= STAYING_LONGEST
        && same == span.len()
        && (kind == Kind::Heap || is_end_held(memory, span))
        && is_filled(memory, span, FILLED)
}

fn is_eligible(len: u64, kind: Kind, protection: Protection) -> bool {
    let is_data = kind == Kind::Anonymous && protection == Protection::READ_WRITE;
    is_data && (SHORTEST..=LONGEST).contains(&len)
}

#[cfg(test)]
mod tests {
    use monitor_sys::guest_memory::GuestSpan;

    use super::{Habit, Habits, TRUST_MAX};
    use crate::layout::HIGH_START;

    fn span(len: u64) -> GuestSpan {
        GuestSpan::new(HIGH_START, len).unwrap()
    }

    /// A mapping comes and goes. Says whether it was brought in.
    fn pass(habits: &mut Habits, len: u64, is_used: bool) -> bool {
        let expected = habits.expect_use(len, |_| false);
        if !expected {
            habits.leave_alone(span(len));
        }
        habits.learn(span(len), || is_used);
        expected
    }

    #[test]
    fn trust_grows_and_is_tested_ever_more_rarely() {
        let mut habits = Habits::default();

        let alone: Vec<_> = (0..100).filter(|_| !pass(&mut habits, 1 << 20, true)).collect();

        assert_eq!(alone, [0, 2, 5, 10, 19, 36, 69]);
        assert_eq!(alone[6] - alone[5] - 1, i32::try_from(TRUST_MAX).unwrap());
    }

    #[test]
    fn what_is_not_used_is_not_brought_in_again() {
        let mut habits = Habits::default();
        (0..20).for_each(|_| _ = pass(&mut habits, 1 << 20, true));

        let brought: usize = (0..100).map(|_| usize::from(pass(&mut habits, 1 << 20, false))).sum();

        assert_eq!(brought, 16, "what was trusted before");
    }

    #[test]
    fn of_those_that_stay_one_of_nine_is_left_alone() {
        let mut habit = Habit::default();
        let mut alone = Vec::new();

        for number in 0..60 {
            if !habit.expect_use(|_| true) {
                habit.left_alone = Some(span(1 << 20));
                alone.push(number);
            }
        }

        assert_eq!(alone, [0, 2, 5, 10, 19, 28, 37, 46, 55]);
    }

    #[test]
    fn one_that_is_not_full_yet_tells_nothing() {
        let mut habit = Habit { left_alone: Some(span(1 << 20)), trust: 4, to_come: 0 };

        assert!(!habit.expect_use(|_| false));
        assert!(habit.expect_use(|_| true));
        assert_eq!(habit.to_come, 7);
    }

    #[test]
    fn lengths_are_told_apart_and_only_some_are_kept_in_mind() {
        let mut habits = Habits::default();
        pass(&mut habits, 1 << 20, true);

        assert!(!pass(&mut habits, 2 << 20, true));
        assert!(pass(&mut habits, 1 << 20, true));
        for len in (3..40).map(|len| len << 20) {
            pass(&mut habits, len, true);
        }

        assert!(habits.0.len() <= super::LENGTHS);
    }
}
