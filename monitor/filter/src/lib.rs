//! The seccomp filter on km itself: which calls its process may make on the host.
//!
//! km asks its own tables about each of the guest's calls. This filter has the host's kernel refuse
//! what those tables refuse, also if a guest has taken over its monitor. [`CALLS`] is written from
//! the tables by a test of km's, and reviewed when it changes; [`PROGRAM`] is its translation, made while this
//! is built. krun puts it on the process that becomes km, and km on itself where it is started by hand: children
//! and executed monitors have it from there.
#![forbid(unsafe_code)]

#[cfg(test)]
mod assemble;
mod list;
#[cfg(test)]
mod translate;

pub use list::{CALLS, Call, Level, Rule};

/// The filter, as `seccomp(2)` takes it.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/program"));

/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: the filter is no reason to slow the process down. The guest runs
/// with the processor's mitigations as the host has set them.
pub const FLAGS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::{CALLS, PROGRAM, translate};

    #[test]
    fn the_program_is_the_lists_translation() {
        assert_eq!(translate::program(CALLS), PROGRAM);
    }
}
