//! What fuzz targets share: guest memory with known bytes in it, and what may be said to the host about it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;

use libfuzzer_sys::arbitrary::{self, Unstructured};
use monitor_sys::descriptors;
use monitor_sys::guest_copy;
use monitor_sys::guest_memory::{GUEST_END, GUEST_START, GuestMemory, GuestSpan, PAGE};

/// Where the guest has something: two pages, behind which nothing is mapped.
pub const DATA: u64 = 0x10_0000;

/// How much that is, in bytes.
pub const DATA_LEN: u64 = 2 * PAGE;

/// The guest's last two pages, which say the same.
pub const LAST: u64 = GUEST_END - 3 * PAGE;

/// An address that no program can have.
const NOWHERE: u64 = 1 << 63;

/// `PROT_READ | PROT_WRITE`.
const READ_WRITE: u64 = 3;

/// `MAP_PRIVATE | MAP_ANONYMOUS`.
const PRIVATE: u64 = 0x22;

/// This process's guest memory, as mapped once.
pub fn memory() -> &'static GuestMemory {
    static MEMORY: OnceLock<GuestMemory> = OnceLock::new();
    MEMORY.get_or_init(|| {
        let memory = GuestMemory::claim().expect("a fuzz target lies outside of guest memory");
        for start in [DATA, LAST] {
            let span = GuestSpan::new(start, DATA_LEN).expect("it is a guest's");
            memory.map(span, READ_WRITE, PRIVATE, None, 0).expect("there is memory");
        }
        memory
    })
}

/// Puts `bytes` at the beginning and at the end of the guest's memory. More than fit are left out.
pub fn fill(bytes: &[u8]) {
    memory();
    // Before anybody looks for it.
    hidden();
    let room = usize::try_from(DATA_LEN).expect("two pages");
    let mut page = vec![0; room];
    let len = bytes.len().min(room);
    page[..len].copy_from_slice(&bytes[..len]);
    for start in [DATA, LAST] {
        guest_copy::write_bytes(start, &page).expect("it is mapped");
    }
}

/// A descriptor that the guest must not have.
pub fn hidden() -> i32 {
    static HIDDEN: OnceLock<OwnedFd> = OnceLock::new();
    let hide =
        || descriptors::hide(File::open("/dev/null").expect("it is there")).expect("a number");
    HIDDEN.get_or_init(hide).as_raw_fd()
}

/// A number of the kinds that are wrong in interesting ways.
pub fn word(input: &mut Unstructured<'_>) -> arbitrary::Result<u64> {
    let near: u16 = input.arbitrary()?;
    let near = u64::from(near);
    Ok(match input.arbitrary::<u8>()? % 10 {
        0 => near,
        1 => DATA + near % (DATA_LEN + 64),
        2 => LAST + near % (DATA_LEN + 2 * PAGE),
        3 => GUEST_END.wrapping_add(near).wrapping_sub(0x8000),
        4 => GUEST_START.wrapping_add(near).wrapping_sub(0x8000),
        5 => u64::from(hidden().unsigned_abs()) | near << 32,
        6 => (1 << 47) - near,
        7 => u64::MAX - near,
        // The monitor's own.
        8 => std::ptr::from_ref(input).addr() as u64 ^ near,
        _ => input.arbitrary()?,
    })
}

/// Whether the host can do nothing wrong with so many bytes there: they are the guest's, with a page behind them that
/// nobody has, or nobody can have them.
pub fn is_harmless(address: u64, len: u64) -> bool {
    let end = address.checked_add(len);
    end.is_some_and(|end| end <= GUEST_END - PAGE) || address.wrapping_sub(NOWHERE) < PAGE
}
