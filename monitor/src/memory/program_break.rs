//! `brk(2)`: the heap that grows behind the program.

use monitor_sys::guest_memory::{GuestSpan, PAGE};

use crate::layout;

use super::{
    AddressSpace, Protection, State, habits::POPULATE, limits, locking::Flags, map::Kind,
    whole_pages,
};

/// `MAP_PRIVATE | MAP_ANONYMOUS`.
const ANONYMOUS: u64 = 0x22;

/// Where the heap begins, and where it ends for now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProgramBreak {
    start: u64,
    current: u64,
}

impl AddressSpace {
    /// Puts the beginning of the heap behind the program.
    pub fn start_heap(&self, at: u64) {
        let at = whole_pages(at).unwrap_or(at);
        self.state().program_break = ProgramBreak { start: at, current: at };
        // Nearly every program has one. Where it cannot be shown now, it is asked for when it is touched.
        if let Some(first) = GuestSpan::new(at, PAGE) {
            _ = self.machine.cover(first);
        }
    }

    /// Has a program and the first page of its heap shown in one piece, if they lie near each other: a slot for each
    /// takes longer than one for both and what is between them.
    pub fn show_at_once(&self, [program, heap]: [u64; 2]) {
        let heap_end = heap.saturating_add(2 * PAGE);
        let span = GuestSpan::new(program, heap_end.saturating_sub(program));
        let chunk = layout::chunk_of(program);
        if let (Some(span), Some(chunk)) = (span, chunk)
            && span.end() <= chunk.end()
        {
            // What is not shown now is when it is asked for.
            _ = self.machine.cover(span);
        }
    }

    /// Where the heap begins and ends.
    pub fn heap(&self) -> [u64; 2] {
        let ProgramBreak { start, current } = self.state().program_break;
        [start, current]
    }

    /// Moves the heap's end to `wish` if that can be done, and returns where it
    /// is: `brk(2)` has no errors.
    pub fn set_break(&self, wish: u64) -> u64 {
        let mut state = self.state();
        let ProgramBreak { start, current } = state.program_break;
        let pages = |end: u64| whole_pages(end).unwrap_or(u64::MAX);
        let done = wish >= start
            && match (pages(current), pages(wish)) {
                (old, new) if new > old => self.grow(&mut state, old, new),
                (old, new) if new < old => self.shrink(&mut state, new, old),
                _ => true,
            };
        if done {
            state.program_break.current = wish;
        }
        state.program_break.current
    }

    fn grow(&self, state: &mut State, old: u64, new: u64) -> bool {
        let Some(span) = GuestSpan::new(old, new - old) else {
            return false;
        };
        // Linux keeps a page between the heap and what follows.
        let guarded = GuestSpan::new(old, new - old + PAGE);
        if !guarded.is_some_and(|span| layout::in_window(span) && state.map.is_free(span)) {
            return false;
        }
        let protection = Protection::READ_WRITE;
        let heap = new - state.program_break.start;
        if heap > limits::data() || state.admit(new - old, 0, Kind::Heap, protection).is_err() {
            return false;
        }
        let expected = state.expect_use_of_heap(&self.memory, span);
        let bring = if expected { POPULATE } else { 0 };
        let flags = ANONYMOUS | state.promises.flags() | bring;
        if self.memory.map(span, protection.0, flags, None, 0).is_err() {
            return false;
        }
        state.note(span, protection, Kind::Heap);
        self.lock_new(state, span, Flags::Applied).is_ok()
    }

    fn shrink(&self, state: &mut State, new: u64, old: u64) -> bool {
        let Some(span) = GuestSpan::new(new, old - new) else {
            return false;
        };
        let unsealed = state.promises.check_unsealed(span).is_ok();
        let unmapped = unsealed && state.sure(self.memory.unmap(span)).is_ok();
        if unmapped {
            state.forget(span);
        }
        unmapped
    }
}
