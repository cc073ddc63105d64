//! What a list of calls consists of, and the list.

mod calls;

use std::ops::RangeInclusive;

pub use calls::CALLS;

/// A call of Linux's, and what the kernel is to do about it. A number that is not in the list is a newer
/// kernel's: `ENOSYS`.
#[derive(Debug)]
pub struct Call {
    /// Its number on x86-64.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub rule: Rule,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Rule {
    /// It is made.
    Allow,
    /// km never makes it: who does has taken it over. The process ends.
    Kill,
    /// It is made if an argument, as a 32-bit number, is in one of the ranges.
    Only {
        /// The argument's index.
        argument: u32,
        /// The error of others, which is the gate's too.
        errno: u32,
        /// The ranges, in ascending order.
        of: &'static [RangeInclusive<u32>],
    },
    /// A socket option of these levels, but for some of their options; for others `ENOPROTOOPT`.
    Options(&'static [Level]),
}

/// A level of socket options, and the ranges of options that are refused.
pub type Level = (u32, &'static [RangeInclusive<u32>]);
