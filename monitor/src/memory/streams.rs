//! Huge pages for large mappings that are written in order.
//!
//! A page's first touch costs the guest several times what it costs natively: its own fault, the host's,
//! and the shadow of its tables. With a huge page that is paid once for 512 of them. But a program that
//! asked for no huge pages must not be charged for 2 MiB where it touches a page of them. So the guest's
//! first touch of a *watched* region of 2 MiB is a page fault, and then:
//!
//! ```text
//!        most of it is written    watched, touched
//!   ┌─────────────────────────┬──────────┬─────────────────────┬─────────┬─────────
//!   │ region before           │ step regions get huge pages    │ region  │ watched
//!   └─────────────────────────┴────────────────────────────────┴─────────┴─────────
//! ```
//!
//! * If the touch is a write near its beginning, and three quarters of the region before have been written,
//!   this and up to 15 more regions are advised to be huge, twice as many each time. The region behind
//!   them keeps small pages, so that the next look finds what the program does, and the one after it is
//!   watched.
//! * Otherwise a region further on is watched, twice as far each time, and six times at most.
//!
//! Linux decides as always: where its setting is `never`, or the program has switched huge pages off for
//! the process, the advice does nothing; where the program says `MADV_NOHUGEPAGE` or maps a stack
//! (`MAP_STACK`) or without reserve (`MAP_NORESERVE`), none is given, and none once it has said on which
//! nodes pages belong.

use std::collections::{BTreeMap, BTreeSet};

use monitor_sys::guest_memory::GuestSpan;

use super::{
    AddressSpace, Protection, State,
    advice::{HUGE_PAGE, NO_HUGE_PAGE},
    map::{Kind, Mapped},
    presence::is_filled,
};
use crate::arch::x86_64::{exceptions::Access, paging::LARGE_PAGE};

/// A huge page, in bytes.
pub(super) const REGION: u64 = LARGE_PAGE;

/// So far into a region is near its beginning: threads that fill a heap together do not come in order.
const NEAR: u64 = 256 << 10;

/// The regions that are advised at once.
const STEP_MAX: u64 = 16;

/// The eighths of a region that make it as good as full.
const FILLED: u64 = 6;

/// How often a touch may be no reason.
const MISSES_MAX: u32 = 6;

/// Linux's setting, the chosen word of it in brackets.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The mappings that may turn out to be written in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    /// By the region that is watched. Up to where they end, no two overlap.
    ahead: BTreeMap<u64, Stream>,
    /// What the machine was told to watch, and may still.
    watched: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stream {
    /// Where the mapping ends.
    end: u64,
    /// How many regions get huge pages next.
    step: u64,
    /// How often a touch was no reason for them.
    misses: u32,
}

/// What follows from a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    /// What gets huge pages.
    huge: Option<GuestSpan>,
    /// The region to watch.
    watch: Option<u64>,
}

impl Streams {
    /// Takes a new mapping, and says which region to watch.
    fn begin(&mut self, span: GuestSpan) -> Option<u64> {
        self.forget(span);
        let region = span.start().checked_next_multiple_of(REGION)? + REGION;
        self.add(region, Stream { end: span.end(), step: 1, misses: 0 })
    }

    /// Ends what lies in `span`, and lets what reaches into it end there.
    pub(super) fn forget(&mut self, span: GuestSpan) {
        if let Some((_, below)) = self.ahead.range_mut(..span.start()).next_back() {
            below.end = below.end.min(span.start());
        }
        // And what would reach into it: advice begins a region before the one that is watched.
        let inside = self.ahead.range(span.start()..span.end() + REGION);
        for at in inside.map(|(&at, _)| at).collect::<Vec<_>>() {
            self.ahead.remove(&at);
        }
    }

    fn add(&mut self, region: u64, stream: Stream) -> Option<u64> {
        let fits = region.checked_add(REGION).is_some_and(|end| end <= stream.end);
        fits.then(|| {
            self.ahead.insert(region, stream);
            region
        })
    }

    /// What follows from the first touch of a watched region. `is_filled` is asked about the one before.
    fn touch(
        &mut self,
        region: u64,
        in_order: bool,
        is_filled: impl FnOnce(u64) -> bool,
    ) -> Option<Next> {
        let stream = self.ahead.remove(&region)?;
        if !in_order || !is_filled(region - REGION) {
            let misses = stream.misses + 1;
            let later = region + (REGION << misses);
            let next = Stream { step: 1, misses, ..stream };
            let watch = if misses < MISSES_MAX { self.add(later, next) } else { None };
            return Some(Next { huge: None, watch });
        }
        let step = stream.step.min(stream.end.saturating_sub(region) / REGION);
        let huge_end = region + step * REGION;
        let next = Stream { step: (stream.step * 2).min(STEP_MAX), ..stream };
        let watch = self.add(huge_end + REGION, next);
        // With the region before, which is as good as full, it is one mapping for Linux.
        let huge = GuestSpan::new(region - REGION, huge_end + REGION - region);
        Some(Next { huge: huge.filter(|_| step != 0), watch })
    }
}

impl State {
    /// Whether all of `span` is data, and the program has not said what pages it wants there.
    fn may_be_huge(&self, span: GuestSpan) -> bool {
        let is_data = |mapped: Mapped| {
            mapped.kind == Kind::Anonymous && mapped.protection == Protection::READ_WRITE
        };
        !self.has_policy
            && self.map.is_covered(span)
            && self.map.within(span).all(is_data)
            && self.unfit.is_free(span)
    }
}

/// Whether Linux gives huge pages to all memory, asked for or not. Where that cannot be seen, it is not so.
pub(super) fn are_huge_pages_for_all() -> bool {
    std::fs::read_to_string(SETTING).is_ok_and(|setting| setting.contains("[always]"))
}

impl AddressSpace {
    /// Looks out for writes in order, where that is worth it.
    pub(super) fn follow(&self, state: &mut State, span: GuestSpan) {
        if span.len() < 2 * REGION || !state.may_be_huge(span) {
            return;
        }
        if let Some(region) = state.streams.begin(span) {
            self.watch(state, region);
        }
    }

    /// The guest touched `address`, as it is allowed to: what was watched is let through.
    pub(super) fn touched(&self, state: &mut State, address: u64, access: Access) {
        let region = address / REGION * REGION;
        if !state.streams.watched.remove(&region) {
            return;
        }
        if let Some(span) = GuestSpan::new(region, REGION) {
            self.machine.let_through(span);
        }
        let in_order = access == Access::Write && address - region < NEAR;
        let is_filled = |before| {
            GuestSpan::new(before, REGION).is_some_and(|span| is_filled(&self.memory, span, FILLED))
        };
        let Some(next) = state.streams.touch(region, in_order, is_filled) else { return };
        let is_taken =
            |huge| state.may_be_huge(huge) && self.memory.advise(huge, HUGE_PAGE).is_ok();
        if !next.huge.is_none_or(is_taken) {
            // Something else lies there, or the program has said what it wants.
            next.watch.and_then(|region| state.streams.ahead.remove(&region));
            return;
        }
        if let Some(huge) = next.huge {
            state.advised.insert(huge, Protection::default(), Kind::Anonymous);
        }
        if let Some(region) = next.watch {
            self.watch(state, region);
        }
    }

    /// Gives all of `span` the same advice where part of it has some, since `mremap(2)` takes only what is
    /// one mapping for Linux. Says whether it did.
    ///
    /// What the mapping grows by has that advice, too, and must come to what it would without any.
    pub(super) fn make_one_mapping(&self, state: &mut State, span: GuestSpan) -> bool {
        let advice = if state.huge_for_all { HUGE_PAGE } else { NO_HUGE_PAGE };
        let is_ours = state.advised.within(span).next().is_some() && state.unfit.is_free(span);
        let is_one = is_ours && self.memory.advise(span, advice).is_ok();
        if is_one {
            state.advised.insert(span, Protection::default(), Kind::Anonymous);
        }
        is_one
    }

    /// Looks out for writes in order behind what was in a mapping before it grew or moved.
    pub(super) fn follow_on(&self, state: &mut State, span: GuestSpan, old_len: u64) {
        let old_end = span.start() + old_len.min(span.len());
        let last = old_end.next_multiple_of(REGION).saturating_sub(REGION).max(span.start());
        if let Some(rest) = GuestSpan::new(last, span.end() - last) {
            self.follow(state, rest);
        }
    }

    fn watch(&self, state: &mut State, region: u64) {
        let watched = GuestSpan::new(region, REGION).map(|span| self.machine.watch(span));
        if watched.is_some_and(|result| result.is_ok()) {
            state.streams.watched.insert(region);
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_sys::guest_memory::GuestSpan;

    use super::{MISSES_MAX, REGION, Streams};
    use crate::layout::HIGH_START;

    /// The regions from `first` on.
    fn regions(first: u64, count: u64) -> GuestSpan {
        GuestSpan::new(HIGH_START + first * REGION, count * REGION).unwrap()
    }

    fn number(at: u64) -> u64 {
        (at - HIGH_START) / REGION
    }

    #[test]
    fn a_mapping_written_in_order_gets_ever_more_huge_pages_and_keeps_one_region_of_small_ones_between()
     {
        let mut streams = Streams::default();
        let mut watch = streams.begin(regions(0, 64));
        let mut huge = Vec::new();

        while let Some(at) = watch {
            let next = streams.touch(at, true, |before| before == at - REGION).unwrap();
            huge.extend(next.huge.map(|span| (number(span.start()), number(span.end()))));
            watch = next.watch;
        }

        assert_eq!(huge, [(0, 2), (2, 5), (5, 10), (10, 19), (19, 36), (36, 53), (53, 64)]);
    }

    #[test]
    fn what_is_not_written_in_order_is_looked_at_ever_more_rarely() {
        let touches: [(bool, bool); 2] = [(false, true), (true, false)];
        for (in_order, is_filled) in touches {
            let mut streams = Streams::default();
            let mut watch = streams.begin(regions(0, 1000));
            let mut watched = Vec::new();

            while let Some(at) = watch {
                watched.push(number(at));
                let next = streams.touch(at, in_order, |_| is_filled).unwrap();
                assert_eq!(next.huge, None);
                watch = next.watch;
            }

            assert_eq!(watched, [1, 3, 7, 15, 31, 63]);
            assert_eq!(u32::try_from(watched.len()), Ok(MISSES_MAX));
        }
    }

    #[test]
    fn huge_pages_end_with_the_mapping() {
        let mut streams = Streams::default();
        let watch = streams.begin(regions(0, 16)).unwrap();
        streams.forget(GuestSpan::new(HIGH_START + 2 * REGION - 4096, 14 * REGION).unwrap());

        let touched = streams.touch(watch, true, |_| true);

        assert_eq!(touched.map(|next| (next.huge, next.watch)), Some((None, None)));
    }

    #[test]
    fn what_changes_below_the_watched_region_gets_no_advice_with_it() {
        for (changed, ends) in [(9, false), (10, true), (11, true), (12, false)] {
            let mut streams = Streams::default();
            let watch = streams.begin(regions(10, 16)).unwrap();
            assert_eq!(number(watch), 11);
            streams.forget(regions(changed, 1));

            let touched = streams.touch(watch, true, |_| true);

            assert_eq!(touched.is_none(), ends, "{changed}");
        }
    }

    #[test]
    fn a_mapping_that_is_gone_or_too_small_is_not_watched() {
        let mut streams = Streams::default();
        let watch = streams.begin(regions(0, 16)).unwrap();
        streams.forget(regions(0, 16));

        assert_eq!(streams.touch(watch, true, |_| true), None);
        assert_eq!(streams.begin(regions(0, 1)), None);
        let crooked = GuestSpan::new(HIGH_START + 4096, 2 * REGION + REGION / 2).unwrap();
        assert_eq!(streams.begin(crooked), None);
    }
}
