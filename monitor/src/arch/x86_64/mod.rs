//! The x86-64 machine as the guest's CPU finds it: registers, segments, page
//! tables, exceptions.
//!
//! The upper half of the address space, out of the guest's reach but for the
//! gate:
//!
//! ```text
//! KERNEL_BASE + 0x00_0000   global descriptor table      supervisor
//!             + 0x00_1000   interrupt descriptor table   supervisor
//!             + 0x00_2000   the gate                     user, executable
//!             + 0x00_3000   exception stubs              supervisor, executable
//!             + 0x00_4000   what all gates read         user
//!             + 0x20_0000   one page a vCPU: task state, stack for exceptions
//!             + 0x1000_0000 two pages a vCPU: a gate of its own, and what that writes; user
//!                           where `syscall` does not change the level
//! ```

pub mod cpuid;
pub mod exceptions;
pub mod extended_state;
pub mod gate;
pub mod paging;
pub mod registers;
pub mod segments;

/// Where the monitor's tables begin, virtually.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// The global descriptor table.
pub const GDT: u64 = KERNEL_BASE;
/// The interrupt descriptor table.
pub const IDT: u64 = KERNEL_BASE + 0x1000;
/// The gate: where `syscall` goes.
pub const GATE: u64 = KERNEL_BASE + 0x2000;
/// The exceptions' stubs.
pub const STUBS: u64 = KERNEL_BASE + 0x3000;
/// The pages of the virtual CPUs.
pub const VCPU_PAGES: u64 = KERNEL_BASE + 0x20_0000;

/// The end of an address's page.
pub(crate) fn page_end(address: u64) -> u64 {
    address.next_multiple_of(4096)
}
