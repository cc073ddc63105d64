//! The platform on `/dev/kkm`, Kontain's kernel module.
//!
//! The guest has no page tables of its own. It runs at level 3 on the monitor's mappings below 512 GiB, so what it may
//! read, write and execute is what the monitor's `mmap` and `mprotect` have said; nothing is to be shown to it. The
//! kernel stays mapped above it: this is the weaker boundary.

mod fault;
mod legacy;
mod machine;
mod sealed;
mod vcpu;

pub use machine::KkmMachine;
