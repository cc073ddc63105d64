//! Which pages the program has, by the kernel's word.
//!
//! `mincore(2)` counts pages that were only read, too, which are all the one page of zeros and take no memory.
//! `move_pages(2)` tells them apart, and needs no file that another thread could find open.

use monitor_sys::guest_memory::{GuestMemory, GuestSpan, PAGE};

/// Whether at least `eighths` of the pages in `span` are there and more than zeros. Where the kernel cannot tell,
/// none is.
pub(super) fn is_filled(memory: &GuestMemory, span: GuestSpan, eighths: u64) -> bool {
    memory.held_pages(span).is_ok_and(|pages| pages * PAGE >= span.len() / 8 * eighths)
}

/// Whether the last page of `span` is there and more than zeros.
pub(super) fn is_end_held(memory: &GuestMemory, span: GuestSpan) -> bool {
    let last = span.end().checked_sub(PAGE).and_then(|last| GuestSpan::new(last, PAGE));
    last.is_some_and(|last| is_filled(memory, last, 8))
}
