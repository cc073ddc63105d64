//! The guest's address map: one picture for addresses in the guest, guest-physical
//! addresses and addresses in the monitor, since all three are the same.
//!
//! ```text
//! 512 GiB  ┌───────────────────────────────┐ GUEST_END: the guest can name nothing above
//!          │ (hole)                        │
//! 449 GiB  │ vDSO, guest-physical only     │ VDSO_PHYSICAL
//! 448 GiB  │ page tables, physical only    │ TABLES_PHYSICAL
//! 440 GiB  │ vDSO, where the guest sees it │ VDSO
//!          ├───────────────────────────────┤ HIGH_END
//!          │ stack, mmap (downwards)       │
//!          │ position-independent programs │
//! 256 GiB  ├───────────────────────────────┤ HIGH_START
//!          │ (hole)                        │
//!   4 GiB  ├───────────────────────────────┤ LOW_END
//!          │ programs at fixed addresses,  │
//!          │ brk, MAP_32BIT                │
//!  64 KiB  ├───────────────────────────────┤ LOW_START
//!          │ (hole: null pointers fault)   │
//!       0  └───────────────────────────────┘
//! ```
//!
//! The monitor itself lies far above 512 GiB. The upper half of the guest's
//! virtual addresses holds the gate and the tables the CPU needs; see
//! [`crate::arch::x86_64`].

use monitor_sys::guest_memory::{GUEST_END, GUEST_START, GuestSpan};

/// One GiB, in bytes.
pub const GIB: u64 = 1 << 30;

/// Where the low window begins.
pub const LOW_START: u64 = GUEST_START;
/// Where the low window ends.
pub const LOW_END: u64 = 4 * GIB;
/// Where the high window begins.
pub const HIGH_START: u64 = 256 * GIB;
/// Where the high window ends.
pub const HIGH_END: u64 = 440 * GIB;
/// Where the guest sees the vDSO's variables and image.
pub const VDSO: u64 = HIGH_END;
/// Guest-physical: the monitor's page tables.
pub const TABLES_PHYSICAL: u64 = 448 * GIB;
/// What a platform without page tables of its own has mapped instead: in guest memory, but in neither window.
pub const PLATFORM_ROOM: u64 = TABLES_PHYSICAL;
/// Guest-physical: the host's vDSO.
pub const VDSO_PHYSICAL: u64 = 449 * GIB;

/// Guest memory is shown to the CPU in pieces of this many bytes, when first
/// needed. A slot costs 30 µs to make; one of 512 GiB costs seconds.
pub const CHUNK: u64 = 64 << 20;

const _: () = {
    assert!(LOW_START < LOW_END && LOW_END <= HIGH_START && HIGH_START < HIGH_END);
    assert!(HIGH_END <= TABLES_PHYSICAL && VDSO_PHYSICAL + GIB <= GUEST_END);
    assert!(VDSO + GIB <= TABLES_PHYSICAL && TABLES_PHYSICAL + GIB <= VDSO_PHYSICAL);
    assert!(HIGH_START.is_multiple_of(CHUNK) && LOW_END.is_multiple_of(CHUNK));
};

/// Whether all of `span` lies in one of the two windows.
pub fn in_window(span: GuestSpan) -> bool {
    let inside = |start, end| span.start() >= start && span.end() <= end;
    inside(LOW_START, LOW_END) || inside(HIGH_START, HIGH_END)
}

/// The chunk an address lies in, cut to its window.
pub fn chunk_of(address: u64) -> Option<GuestSpan> {
    let start = (address / CHUNK * CHUNK).max(LOW_START);
    let end = address / CHUNK * CHUNK + CHUNK;
    GuestSpan::new(start, end - start).filter(|&chunk| address >= start && in_window(chunk))
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, HIGH_END, HIGH_START, LOW_END, LOW_START, chunk_of};

    #[test]
    fn the_first_chunk_leaves_out_the_null_page() {
        assert_eq!(chunk_of(0), None);
        assert_eq!(chunk_of(LOW_START).unwrap().start(), LOW_START);
        assert_eq!(chunk_of(LOW_START).unwrap().end(), CHUNK);
    }

    #[test]
    fn addresses_between_the_windows_have_no_chunk() {
        for address in [LOW_END, HIGH_START - 1, HIGH_END, u64::MAX / CHUNK * CHUNK - 1] {
            assert_eq!(chunk_of(address), None, "{address:#x}");
        }
    }
}
