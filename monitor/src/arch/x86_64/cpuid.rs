//! What the guest's `cpuid` says, where it must differ from what the host can.

/// The extended states the guest gets: x87, SSE, AVX and AVX-512. Not AMX, whose
/// state has a dynamic size, nor protection keys, which the tables do not use.
pub const XCR0_MASK: u64 = 0xe7;

/// The leaf of the extended states.
pub const EXTENDED_STATE_LEAF: u32 = 0xd;

/// The states to switch on, given the low word of leaf 0xd.
pub fn xcr0(supported: u32) -> u64 {
    u64::from(supported) & XCR0_MASK
}
