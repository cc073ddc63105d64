//! The list of calls as a program.
//!
//! It is a search by number. Linux notes once, when the program is loaded, for each number whether its calls are
//! always allowed, and does not run the program for those: so few calls have their arguments looked at.

use std::ops::RangeInclusive;

use super::assemble::{self, Leaf, Word, look, switch};
use super::list::{Call, Rule};

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// `SECCOMP_RET_ALLOW`.
const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_KILL_PROCESS`.
const KILL: u32 = 0x8000_0000;
/// `SECCOMP_RET_ERRNO`, to which the error is added.
const FAIL: u32 = 0x0005_0000;
/// `ENOSYS`.
const ENOSYS: u32 = 38;
/// `ENOPROTOOPT`.
const ENOPROTOOPT: u32 = 92;

/// The program, as `seccomp(2)` takes it.
pub(crate) fn program(calls: &[Call]) -> Vec<u8> {
    let numbers = calls.iter().map(|call| (call.number..=call.number, leaf(&call.rule)));
    let native = look(Word::Number, switch(numbers, &Leaf::Return(FAIL | ENOSYS)));
    let of_native = [(ARCHITECTURE..=ARCHITECTURE, native)];
    let whole = look(Word::Architecture, switch(of_native, &Leaf::Return(KILL)));
    assemble::to_bytes(&whole)
}

fn leaf(rule: &Rule) -> Leaf {
    let allow = Leaf::Return(ALLOW);
    match rule {
        Rule::Allow => allow,
        Rule::Kill => Leaf::Return(KILL),
        Rule::Only { argument, errno, of } => {
            let cases = of.iter().map(|range| (range.clone(), allow.clone()));
            look(Word::Argument(*argument), switch(cases, &Leaf::Return(FAIL | errno)))
        }
        Rule::Options(levels) => {
            let refused = Leaf::Return(FAIL | ENOPROTOOPT);
            let option = |ranges: &[RangeInclusive<u32>]| {
                let cases = ranges.iter().map(|range| (range.clone(), refused.clone()));
                look(Word::Argument(2), switch(cases, &allow))
            };
            let cases = levels.iter().map(|(level, ranges)| (*level..=*level, option(ranges)));
            look(Word::Argument(1), switch(cases, &refused))
        }
    }
}
