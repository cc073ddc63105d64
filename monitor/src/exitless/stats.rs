//! What became of a process's calls, for `--stats`: counted while it runs, told once at its end.
//!
//! Nothing is counted unless it was asked for, but what the gate and the helper's own state count anyway.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use monitor_sys::{abi::CALLS, gate::CLASSES};

use super::Helper;
use crate::{arch::x86_64::gate::Posting, platform::Exit};

/// Why CPUs left the guest, in the order of [`Stats::exits`].
const REASONS: [&str; 9] = [
    "calls that always leave",
    "posted with nobody looking",
    "late",
    "taken for long",
    "declined",
    "page faults",
    "nothing behind a page",
    "exceptions",
    "interruptions",
];

/// What is counted.
#[derive(Debug)]
pub struct Stats {
    exits: [AtomicU64; REASONS.len()],
    /// By number; the last is for numbers that no call has.
    calls: Vec<OfCall>,
    /// Answered in gates, as far as these were asked.
    answered: AtomicU64,
}

#[derive(Debug, Default)]
struct OfCall {
    left: AtomicU64,
    helped: AtomicU64,
    declined: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        let calls = (0..=CLASSES).map(|_| OfCall::default()).collect();
        Self { exits: Default::default(), calls, answered: AtomicU64::new(0) }
    }
}

impl Stats {
    /// A CPU has left the guest, with this number in `rax`.
    pub fn left(&self, exit: &Exit, number: u64) {
        let reason = match exit {
            Exit::Syscall => 0,
            Exit::Posted(Posting::Unseen) => 1,
            Exit::Posted(Posting::Late) => 2,
            Exit::Posted(Posting::Taken) => 3,
            Exit::Posted(Posting::Declined) => 4,
            Exit::PageFault { .. } => 5,
            Exit::NothingBehind { .. } => 6,
            Exit::Exception { .. } => 7,
            Exit::Interrupted => 8,
        };
        add(&self.exits[reason]);
        // One that was taken is made by the helper yet, or declined.
        if matches!(exit, Exit::Syscall | Exit::Posted(_)) && *exit != Exit::Posted(Posting::Taken)
        {
            add(&self.of(number).left);
        }
    }

    /// A call that was taken, for long, has been declined.
    pub(super) fn declined_late(&self, number: u64) {
        add(&self.of(number).left);
    }

    /// The helper has made a call, or declined it.
    pub(super) fn taken(&self, number: u64, is_made: bool) {
        let call = self.of(number);
        add(if is_made { &call.helped } else { &call.declined });
    }

    /// A gate that is given up, or asked, has answered so many. That is the guest's word, who can write there.
    pub(super) fn answered(&self, calls: u64) {
        let more = |known: u64| Some(known.saturating_add(calls));
        _ = self.answered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn of(&self, number: u64) -> &OfCall {
        &self.calls[usize::try_from(number).map_or(CLASSES, |number| number.min(CLASSES))]
    }

    /// All of it, in lines that begin with the process's number. Whoever is asked again, because a program could not
    /// be executed, tells what came before too.
    pub fn lines(&self, maker: &Helper) -> String {
        let mut text = String::new();
        let start = format!("km: {}: ", std::process::id());
        let sum =
            |of: fn(&OfCall) -> &AtomicU64| self.calls.iter().map(|call| read(of(call))).sum();
        let (left, helped, declined): (u64, u64, u64) =
            (sum(|call| &call.left), sum(|call| &call.helped), sum(|call| &call.declined));
        self.answered(maker.answered());
        let answered = read(&self.answered);
        let mut line = |line: String| _ = writeln!(text, "{start}{line}");
        line(format!("calls: {left} left, {helped} helped, {answered} answered in the gate"));
        let exits = self.exits.iter().map(read).zip(REASONS).filter(|(count, _)| *count > 0);
        let exits = exits.map(|(count, reason)| format!("{count} {reason}")).collect::<Vec<_>>();
        line(format!("exits: {}", exits.join(", ")));
        line(format!("helper: {}, {declined} declined", maker.story()));
        let mut calls = (0_u64..).zip(&self.calls).collect::<Vec<_>>();
        calls.sort_by_key(|(_, call)| std::cmp::Reverse(read(&call.left) + read(&call.helped)));
        for (number, call) in calls {
            let [left, helped, declined] = [&call.left, &call.helped, &call.declined].map(read);
            if left + helped > 0 {
                let name = name(number);
                line(format!("{left:>9} left {helped:>9} helped {declined:>9} declined  {name}"));
            }
        }
        text
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn name(number: u64) -> &'static str {
    let call = CALLS.iter().find(|call| u64::try_from(call.number) == Ok(number));
    call.map_or("unknown", |call| call.name)
}

#[cfg(test)]
mod tests {
    use monitor_launch::Exitless;
    use monitor_sys::abi::number;

    use super::Stats;
    use crate::{arch::x86_64::gate::Posting, exitless::Helper, platform::Exit};

    fn number(call: usize) -> u64 {
        u64::try_from(call).unwrap()
    }

    #[test]
    fn what_was_counted_is_told_with_the_most_frequent_call_first() {
        let stats = Stats::default();
        stats.left(&Exit::Syscall, number(number::EXECVE));
        stats.left(&Exit::Posted(Posting::Unseen), number(number::READ));
        stats.left(&Exit::Interrupted, number(number::READ));
        stats.left(&Exit::Posted(Posting::Taken), number(number::READ));
        stats.left(&Exit::Syscall, u64::MAX);
        stats.taken(number(number::READ), true);
        stats.taken(number(number::READ), false);
        stats.answered(7);

        let lines = stats.lines(&Helper::new(Exitless::Off));

        let own = format!("km: {}: ", std::process::id());
        assert!(lines.lines().all(|line| line.starts_with(&own)), "{lines}");
        let lines = lines.lines().map(|line| &line[own.len()..]).collect::<Vec<_>>();
        assert_eq!(lines[0], "calls: 3 left, 1 helped, 7 answered in the gate");
        assert_eq!(
            lines[1],
            "exits: 2 calls that always leave, 1 posted with nobody looking, 1 taken for long, 1 interruptions"
        );
        assert!(lines[2].starts_with("helper: off: it was asked for"), "{}", lines[2]);
        assert!(lines[3].ends_with("1 left         1 helped         1 declined  read"));
        assert!(lines[5].ends_with("unknown"), "{lines:?}");

        stats.answered(u64::MAX);
        let again = stats.lines(&Helper::new(Exitless::Off));
        assert!(again.contains("3 left, 1 helped, 18446744073709551615 answered"), "{again}");
    }
}
