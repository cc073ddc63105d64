//! When it pays to have somebody look for posted calls.
//!
//! Looking costs a CPU. So the helper is woken by a burst of calls only, and not where exits are cheap, which
//! a process's first exits tell; what it does is weighed against what it costs, and it is left alone for a while where it does not pay.

use std::time::{Duration, Instant};

/// So many calls in [`BURST`] are a burst.
const CALLS: usize = 4;
/// The longest time they may take.
const BURST: Duration = Duration::from_micros(400);
/// An exit that costs less is not worth a CPU that looks for calls: a posted one takes 1.7 µs of two.
pub(super) const CHEAP: Duration = Duration::from_micros(4);
/// How long the helper is left alone after it did not pay: doubled each time.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(1);
/// A wake that served fewer calls did not pay.
const BARREN: u64 = 4;
/// Until a process's helper has looked for so long the process counts as starting: it makes its calls in bursts, and whether one
/// pays is known only behind it. A wake in vain has no pause behind it then.
const START: Duration = Duration::from_millis(20);
/// But no longer than until it has looked for so much more time than it has spared.
const DEBT: Duration = Duration::from_millis(3);
/// One that served more shows that the times have changed.
const FRUITFUL: u64 = 50;

/// Who looks for nothing but calls, and is kept from its processor for so long, takes the time of others: that of its
/// own program where a quota of processor time is used up, or that of who else wants the processor.
pub(super) const KEPT: Duration = Duration::from_millis(2);
/// Once says little, since anything may interrupt it. Twice within so long is what a quota does, or other work.
const TOGETHER: Duration = Duration::from_secs(1);
/// For so long after that each wake has to spare more time than it takes.
const SCARCE: Duration = Duration::from_secs(10);
/// With a smaller quota a program and its helper cannot both run all the time.
const PROCESSORS: f64 = 2.0;
/// The processor time of a call that is made by the helper, on both sides.
const HELPED: Duration = Duration::from_micros(4);

/// When a thread's last calls left that could have been posted.
#[derive(Debug, Default)]
pub(super) struct Recent {
    times: [Option<Instant>; CALLS],
    next: usize,
}

impl Recent {
    /// Notes one more. Says whether they are a burst.
    pub(super) fn is_busy(&mut self) -> bool {
        self.note(Instant::now())
    }

    fn note(&mut self, now: Instant) -> bool {
        let first = self.times[self.next].replace(now);
        self.next = (self.next + 1) % CALLS;
        first.is_some_and(|first| now.duration_since(first) <= BURST)
    }
}

/// What the helper's work has been worth.
#[derive(Debug, Default)]
pub(super) struct Worth {
    /// Calls made since it was woken.
    served: u64,
    /// Calls that were not taken up in time since then.
    late: u64,
    /// How long it looked for them.
    looked: Duration,
    /// How much longer it has looked than what it has spared.
    debt: Duration,
    /// How long it has looked at all.
    total: Duration,
    is_used: bool,
    pause: Duration,
    until: Option<Instant>,
    /// When it was kept from its processor last.
    kept: Option<Instant>,
    /// Until when processor time is scarce.
    scarce: Option<Instant>,
    /// The processors that a quota leaves the process, if there is one.
    pub(super) quota: Option<f64>,
    pub(super) counts: Counts,
}

/// What is told of it at the process's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// How often it was woken.
    pub(super) wakes: u64,
    /// How often of these in vain.
    pub(super) barren: u64,
    /// Calls that were not taken up in time.
    pub(super) late: u64,
    /// How often it was kept from its processor.
    pub(super) kept: u64,
}

impl Worth {
    /// Whether to wake it, given what an exit costs. What it did since the last time is known now.
    pub(super) fn pays(&mut self, now: Instant, exit: Duration) -> bool {
        if self.is_paused(now) {
            return false;
        }
        self.until = None;
        self.settle(exit);
        if std::mem::replace(&mut self.is_used, true) && self.was_barren(now, exit) {
            self.counts.barren += 1;
            if !self.is_starting() || self.is_scarce(now) {
                self.leave_alone(now);
                self.is_used = false;
                return false;
            }
        }
        if self.served > FRUITFUL || self.spared(exit) > self.looked {
            self.pause = Duration::ZERO;
        }
        self.served = 0;
        self.late = 0;
        self.looked = Duration::ZERO;
        self.counts.wakes += 1;
        true
    }

    /// Counts what it has taken and spared since the last wake.
    fn settle(&mut self, exit: Duration) {
        self.total += self.looked;
        self.debt = (self.debt + self.looked).saturating_sub(self.spared(exit));
    }

    /// Whether more is expected of it than it has shown.
    pub(super) fn is_starting(&self) -> bool {
        self.debt <= DEBT && self.total <= START
    }

    /// Whether it is left alone.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn was_barren(&self, now: Instant, exit: Duration) -> bool {
        self.served < BARREN || self.is_scarce(now) && self.spared(exit) < self.looked
    }

    /// The processor time that the calls would have taken more without it.
    fn spared(&self, exit: Duration) -> Duration {
        let calls = u32::try_from(self.served).unwrap_or(u32::MAX);
        exit.saturating_sub(HELPED).saturating_mul(calls)
    }

    /// It looked for so long, and made so many calls.
    pub(super) fn looked(&mut self, time: Duration, calls: u64) {
        self.looked += time;
        self.served += calls;
    }

    /// It was kept from its processor.
    pub(super) fn was_kept(&mut self, now: Instant) {
        self.counts.kept += 1;
        let last = self.kept.replace(now);
        if last.is_some_and(|last| now.duration_since(last) <= TOGETHER) {
            self.scarce = Some(now + SCARCE);
        }
    }

    /// Whether its program, or another one, had better use of the time it took.
    pub(super) fn is_scarce(&self, now: Instant) -> bool {
        self.quota.is_some_and(|processors| processors < PROCESSORS)
            || self.scarce.is_some_and(|until| now < until)
    }

    /// A call was not taken up in time, which costs as much as two exits. Says whether to stop.
    pub(super) fn was_late(&mut self, now: Instant) -> bool {
        self.late += 1;
        self.counts.late += 1;
        let stops = self.late >= 4 && self.served < self.late * 4;
        if stops {
            self.leave_alone(now);
            self.late = 0;
        }
        stops
    }

    /// It could not be started: there are too many processes, or there is no processor for it.
    pub(super) fn is_impossible(&mut self, now: Instant) {
        self.is_used = false;
        self.until = Some(now + LONGEST);
    }

    fn leave_alone(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
        self.until = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Recent, Worth};

    const EXIT: Duration = Duration::from_micros(24);

    fn burst(gap: Duration) -> bool {
        let (mut recent, start) = (Recent::default(), Instant::now());
        (0..5).map(|call| recent.note(start + gap * call)).last().unwrap()
    }

    #[test]
    fn only_calls_that_follow_each_other_are_a_burst() {
        assert!(burst(Duration::from_micros(30)));
        assert!(!burst(Duration::from_micros(500)), "too slow");
        assert!(burst(Duration::from_micros(1)));
    }

    /// One of a process that has started long ago.
    fn settled() -> Worth {
        Worth { total: super::START * 2, ..Worth::default() }
    }

    #[test]
    fn what_has_looked_little_is_woken_again_at_once() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        for _ in 0..15 {
            assert!(worth.pays(now, EXIT), "3 ms in vain are allowed");
            worth.looked(Duration::from_micros(200), 0);
        }
        assert!(worth.pays(now, EXIT) && worth.is_starting());
        worth.looked(Duration::from_micros(200), 0);
        assert!(!worth.pays(now, EXIT) && !worth.is_starting(), "and no more");
    }

    #[test]
    fn calls_that_were_made_pay_what_was_looked_in_vain() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        for _ in 0..5 {
            assert!(worth.pays(now, EXIT) && worth.is_starting());
            worth.looked(Duration::from_millis(4), 200);
        }
        assert!(worth.pays(now, EXIT) && worth.is_starting(), "as much was spared");
        worth.looked(Duration::from_micros(1), 200);
        assert!(worth.pays(now, EXIT) && !worth.is_starting(), "it has started");
    }

    #[test]
    fn what_does_not_pay_is_tried_less_and_less_often() {
        let (mut worth, start) = (settled(), Instant::now());
        assert!(worth.pays(start, EXIT));
        assert!(!worth.pays(start, EXIT), "it served nobody");
        assert!(worth.pays(start + Duration::from_millis(2), EXIT));
        let second = start + Duration::from_millis(3);
        assert!(!worth.pays(second, EXIT));
        assert!(!worth.pays(second + Duration::from_micros(1500), EXIT), "twice as long");

        assert!(worth.pays(second + Duration::from_millis(3), EXIT));
        worth.looked(Duration::ZERO, 1000);
        assert!(worth.pays(second + Duration::from_millis(4), EXIT), "now it did");
    }

    #[test]
    fn a_wake_that_spared_more_than_it_took_ends_a_long_pause() {
        let (mut worth, mut now) = (settled(), Instant::now());
        let later = Duration::from_secs(2);
        assert!(worth.pays(now, EXIT));
        for _ in 0..5 {
            assert!(!worth.pays(now, EXIT), "in vain");
            now += later;
            assert!(worth.pays(now, EXIT));
        }
        worth.looked(Duration::from_micros(150), 10);
        assert!(worth.pays(now, EXIT), "200 µs were spared");
        assert!(!worth.pays(now, EXIT), "in vain");
        assert!(worth.pays(now + Duration::from_millis(2), EXIT), "the pause is a short one");
    }

    #[test]
    fn what_cannot_be_started_is_not_tried_at_once_again() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        assert!(worth.pays(now, EXIT));
        worth.is_impossible(now);
        assert!(!worth.pays(now + Duration::from_millis(900), EXIT));
        assert!(worth.pays(now + Duration::from_millis(1100), EXIT));
    }

    #[test]
    fn calls_that_are_late_stop_it_unless_most_are_not() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        worth.pays(now, EXIT);
        assert!(!worth.was_late(now) && !worth.was_late(now) && !worth.was_late(now));
        assert!(worth.was_late(now));

        let mut worth = Worth::default();
        worth.pays(now, EXIT);
        worth.looked(Duration::ZERO, 100);
        assert!((0..20).all(|_| !worth.was_late(now)));
    }

    #[test]
    fn where_time_is_scarce_a_wake_has_to_spare_more_than_it_takes() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        let wake = |worth: &mut Worth, at: Instant| {
            let pays = worth.pays(at, EXIT);
            worth.looked(Duration::from_micros(200), 9);
            pays
        };
        assert!(wake(&mut worth, now) && wake(&mut worth, now), "9 calls are enough");

        worth.was_kept(now);
        worth.was_kept(now);
        assert!(!wake(&mut worth, now), "180 µs were spared in 200");
        assert!(wake(&mut worth, now + Duration::from_millis(2)));
        worth.looked(Duration::ZERO, 2);
        assert!(wake(&mut worth, now + Duration::from_millis(3)), "220 µs were");
        assert!(wake(&mut worth, now + Duration::from_secs(11)), "times have changed");
        worth.quota = Some(0.5);
        assert!(!wake(&mut worth, now + Duration::from_secs(12)), "it is known to be");
    }

    #[test]
    fn time_is_scarce_if_it_was_kept_twice_in_a_row() {
        let (mut worth, now) = (Worth::default(), Instant::now());
        worth.was_kept(now);
        assert!(!worth.is_scarce(now), "an interruption");
        let later = now + Duration::from_millis(1100);
        worth.was_kept(later);
        assert!(!worth.is_scarce(later), "another one");
        worth.was_kept(later + Duration::from_millis(100));
        assert!(worth.is_scarce(later + Duration::from_secs(10)));
        assert!(!worth.is_scarce(later + Duration::from_secs(11)));
    }
}
