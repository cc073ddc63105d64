//! Which pages hold something of the program's own, by the kernel's word.
//!
//! `mincore(2)` counts pages that were only read, too, which are all the one page of zeros and take no
//! memory; `/proc/self/pagemap` does not (Documentation/admin-guide/mm/pagemap.rst of Linux's sources).

use std::os::unix::fs::FileExt as _;

use monitor_sys::{
    guest_memory::{GuestSpan, PAGE},
    host_call::to_u64,
    proc_files,
};

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
/// A page of a file, or shared; for some kernels the page of zeros, too.
const OF_FILE: u64 = 1 << 61;
/// Mapped here and nowhere else, which the page of zeros never is.
const EXCLUSIVE: u64 = 1 << 56;

/// So many pages are asked about at once.
const AT_ONCE: usize = 512;
/// The bytes of a page's entry.
const ENTRY: usize = 8;

/// Whether at least `eighths` of the pages in `span` are this process's own. Where there is no procfs to tell,
/// none is.
pub(super) fn is_filled(span: GuestSpan, eighths: u64) -> bool {
    own_pages(span).is_some_and(|pages| pages * PAGE >= span.len() / 8 * eighths)
}

fn own_pages(span: GuestSpan) -> Option<u64> {
    let entries = proc_files::open("self/pagemap").ok()?;
    let mut left = usize::try_from(span.len().div_ceil(PAGE)).ok()?;
    let mut at = span.start() / PAGE * to_u64(ENTRY);
    let mut chunk = [[0; ENTRY]; AT_ONCE];
    let mut found = 0;
    while left != 0 {
        let words = &mut chunk[..left.min(AT_ONCE)];
        entries.read_exact_at(words.as_flattened_mut(), at).ok()?;
        found += words.iter().filter(|word| is_own(u64::from_le_bytes(**word))).count();
        at += to_u64(words.as_flattened().len());
        left -= words.len();
    }
    Some(to_u64(found))
}

fn is_own(entry: u64) -> bool {
    let is_exclusive = entry & (PRESENT | EXCLUSIVE | OF_FILE) == PRESENT | EXCLUSIVE;
    is_exclusive || entry & SWAPPED != 0
}
