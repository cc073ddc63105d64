//! The code of the gate: what the guest's CPU executes behind `syscall` once calls need not leave the guest.
//!
//! It is copied into a page of the guest's, one copy for each CPU, and never runs in the monitor. A copy
//! finds what belongs to it relative to itself: the words it only reads behind its code in the same page,
//! those it writes in the next one. So it needs no register that a program could have changed.
//!
//! # A call's way
//!
//! By its number's class a call *leaves* (as every call did before), is *answered* with a word that was left
//! for it, or is *posted*: its number and arguments are written down, and a thread of the monitor's that
//! looks for them makes the call while the CPU waits. What is not taken up in time is taken back.
//! `rt_sigaction(2)` can be of a class of its own: what changes nothing outside of the program is answered from a
//! *table* behind the posted call, an action for each signal, and so can be `rt_sigprocmask(2)`; and there are classes
//! for the first calls of a program, which mostly tell the monitor what it need not know before the CPU leaves for
//! something else. If the program's memory faults meanwhile ([`copy`]) the call leaves after all ([`by_class`]).
//!
//! From [`tail`] on all is done again from memory if the CPU is interrupted there: nothing is lost when the
//! monitor puts it back to the tail's start.

mod code;

pub use code::{by_class, code, copy, out, tail};

/// What a call's class says: it leaves the guest.
pub const CLASS_LEAVES: u8 = 0;
/// It is posted.
pub const CLASS_POSTED: u8 = 1;
/// It is `rt_sigaction(2)`, and answered from the table of actions where that can be. Only where the gate's code
/// runs at the program's level: it follows the program's pointers.
pub const CLASS_ACTION: u8 = 2;
/// It is `rt_sigprocmask(2)`: what asks and sets nothing is answered with a word that was left for it, while there is
/// one. Only where the gate's code runs at the program's level.
pub const CLASS_MASK: u8 = 3;
/// It is `arch_prctl(2)`: the thread pointer is set. This and the next ones are for a program's first calls, and only
/// where the gate's code runs at the program's level.
pub const CLASS_THREAD_POINTER: u8 = 4;
/// It is `set_tid_address(2)`: the address is noted, and answered with the first of the answers.
pub const CLASS_CLEAR_AT_EXIT: u8 = 5;
/// It is `set_robust_list(2)`: the list is noted.
pub const CLASS_ROBUST_LIST: u8 = 6;
/// It is `brk(2)`: what moves the heap's end within its last page is noted, what asks is answered.
pub const CLASS_BREAK: u8 = 7;
/// It is `getrandom(2)`: eight bytes that were left for it are given once.
pub const CLASS_RANDOM: u8 = 8;
/// It is `prlimit64(2)`: what asks for the limit of the stack is answered, if the answer is new enough.
pub const CLASS_STACK_LIMIT: u8 = 9;
/// It is `rt_sigprocmask(2)`: it is answered where the host need not know of it yet, see [`fixed::MASK`].
/// Only where the gate's code runs at the program's level.
pub const CLASS_BLOCK: u8 = 10;
/// With the index of an answer in the lower bits: it is answered with that.
pub const CLASS_ANSWERED: u8 = 0x80;

/// The numbers below this have a class; others leave.
pub const CLASSES: usize = 512;
/// The signals that can be set, by their number modulo 64: all but `SIGKILL` and `SIGSTOP`. The gate sets them from
/// one default action to another: mostly nothing but the table knows the difference.
pub const SETTABLE: u64 = !(1 << 9 | 1 << 19);
/// Those for which the host has to do it, too, before anything else: `SIGCHLD`, `SIGCONT`, `SIGURG` and `SIGWINCH`,
/// which are forgotten if they wait and are set so, and those that can be [`IGNORED`]. See [`posted::FORGOTTEN`].
pub const FORGETFUL: u64 = 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28 | IGNORED;
/// Those that the gate sets to be ignored, too: the two that glibc keeps for itself, and ignores before it executes a
/// program. They are forgotten if they wait.
pub const IGNORED: u64 = 1 << 32 | 1 << 33;

/// All signals that can be blocked, a bit for each, the first one's the lowest: not `SIGKILL` and `SIGSTOP`.
pub const BLOCKABLE: u64 = !(1 << 8 | 1 << 18);
/// Signal 33, by which glibc has all threads change their user. It leaves that one unblocked when a thread ends.
pub const SET_USER: u64 = 1 << 32;

/// Whether the gate goes over to this mask from that of the host.
pub const fn can_be_put_off(mask: u64, host: u64) -> bool {
    mask != host && host & !mask == 0 && mask | SET_USER == BLOCKABLE
}

/// How many answers there is room for.
pub const ANSWERS: usize = 32;

/// Words of the code's page, by their number.
pub mod fixed {
    /// The first of the classes' bytes.
    pub const CLASSES: usize = 256;
    /// The first of the answers.
    pub const ANSWERS: usize = 320;
    /// Not 0 if calls need not leave.
    pub const ENABLED: usize = 352;
    /// Not 0 if `syscall` leads to level 0.
    pub const KERNEL: usize = 353;
    /// How often a posted call is looked at before it is taken back.
    pub const PATIENCE: usize = 354;
    /// Not 0 if the CPU shall leave before it goes on with the program.
    pub const LEAVE: usize = 355;
    /// Not 0 if the next word is the thread's mask.
    pub const MASK_IS_KNOWN: usize = 356;
    /// The signals that the thread has blocked, as far as the host knows. By [`super::CLASS_BLOCK`] the program
    /// can block all others, too, see [`super::can_be_put_off`], and go back to these.
    pub const MASK: usize = 357;
    /// Where the heap begins.
    pub const HEAP: usize = 358;
    /// Where the heap's last page ends.
    pub const HEAP_END: usize = 359;
    /// Up to which count of the time stamp counter the next two words hold.
    pub const FRESH_UNTIL: usize = 360;
    /// The stack's limits, the soft and the hard one.
    pub const STACK_LIMITS: usize = 361;
    /// The only list that is noted by [`super::CLASS_ROBUST_LIST`], or 0 for any.
    pub const EXPECTED_LIST: usize = 363;
}

/// Words of the page behind it, by their number. The guest can write them all where the code runs at its level.
pub mod posted {
    /// What has become of the posted call; see the numbers of [`super::state`].
    pub const STATE: usize = 0;
    /// Its number, later its result.
    pub const NUMBER: usize = 1;
    /// The first of its six arguments.
    pub const ARGUMENTS: usize = 2;
    /// Why the CPU has left; see the numbers of [`super::reason`].
    pub const REASON: usize = 20;
    /// The first of the actions, each of which has four words: `struct sigaction` of the system call.
    pub const ACTIONS: usize = 256;
    /// How many calls were answered.
    pub const ANSWERED: usize = 22;
    /// Which of the [`super::FORGETFUL`] signals were set, by their number.
    pub const FORGOTTEN: usize = 26;
    /// What `set_tid_address(2)` has set.
    pub const CLEAR_AT_EXIT: usize = 27;
    /// What `set_robust_list(2)` has set.
    pub const ROBUST_LIST: usize = 28;
    /// The heap's end.
    pub const BREAK: usize = 29;
    /// Which of the three were set; see the bits of [`super::noted`].
    pub const NOTED: usize = 30;
    /// Eight random bytes, or 0.
    pub const RANDOM: usize = 31;
    /// The signals that the program has blocked: those of [`super::fixed::MASK`], or all.
    pub const MASK: usize = 33;
}

/// What the gate has noted.
pub mod noted {
    /// [`super::posted::CLEAR_AT_EXIT`].
    pub const CLEAR_AT_EXIT: u64 = 1;
    /// [`super::posted::ROBUST_LIST`].
    pub const ROBUST_LIST: u64 = 2;
    /// [`super::posted::BREAK`].
    pub const BREAK: u64 = 4;
}

/// States of a posted call.
pub mod state {
    /// There is none.
    pub const IDLE: u64 = 0;
    /// It waits to be taken up.
    pub const POSTED: u64 = 1;
    /// It was taken up.
    pub const TAKEN: u64 = 2;
    /// Its result is there.
    pub const DONE: u64 = 3;
    /// The CPU has to leave with it. The word of the number says how much of it is done.
    pub const DECLINED: u64 = 4;
}

/// Why the CPU has left.
pub mod reason {
    /// The call's class said so.
    pub const CLASS: u64 = 0;
    /// Nobody looks for posted calls.
    pub const NOBODY: u64 = 1;
    /// It was not taken up in time, and is taken back.
    pub const LATE: u64 = 2;
    /// It was taken up, and is not done in time.
    pub const TAKEN: u64 = 3;
    /// It was declined.
    pub const DECLINED: u64 = 4;
    /// No call: the monitor wanted it. The result of the last one is in its register.
    pub const WANTED: u64 = 5;
}

/// Where all copies find the word that is 1 while somebody looks for posted calls.
pub const LOOKED_FOR: u64 = 0xffff_ffff_8000_4000;

/// The time stamp counter, which is the guest's too.
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the kernel lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::{BLOCKABLE, SET_USER, can_be_put_off};

    #[test]
    fn only_that_all_are_blocked_can_be_put_off() {
        let some = 1 << 3;
        assert!(can_be_put_off(BLOCKABLE, some) && can_be_put_off(BLOCKABLE & !SET_USER, 0));
        // Nothing more is blocked; something is unblocked; not all are blocked.
        assert!(!can_be_put_off(BLOCKABLE, BLOCKABLE));
        assert!(!can_be_put_off(BLOCKABLE & !SET_USER, BLOCKABLE));
        assert!(!can_be_put_off(BLOCKABLE & !some, 0) && !can_be_put_off(u64::MAX, 0));
    }
}
