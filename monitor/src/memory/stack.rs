//! Mappings that grow downwards: `MAP_GROWSDOWN`, and the first thread's stack.
//!
//! Linux grows both when they are touched. Calls that the host makes for the guest
//! touch guest memory too, and nobody asks us then: so the stack is mapped as far as
//! its limit lets it grow, and room is kept for a limit that is raised later. Other
//! mappings grow to what a call's arguments point at before it is made.

use std::sync::atomic::Ordering;

use monitor_sys::{
    Errno,
    guest_memory::{GuestSpan, PAGE},
};
use rustix::process::{Resource, getrlimit};

use super::{
    AddressSpace, Protection, State,
    change::Request,
    map::{GUARD_GAP, Kind, Mapped},
    whole_pages,
};
use crate::layout::{self, GIB};

/// `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE`.
const ANONYMOUS: u64 = 0x4022;

/// The longest stack, in bytes; on Linux one without limit ends at other mappings.
pub const LONGEST: u64 = GIB;

impl AddressSpace {
    /// Maps the first thread's stack. Nothing is put where it could grow to, as long as there is room
    /// elsewhere. Returns where it begins.
    pub fn map_stack(&self, request: &Request<'_>) -> Result<u64, Errno> {
        let start = self.map_as(Kind::Stack, request)?;
        self.state().ceiling = (start + request.len).saturating_sub(LONGEST + GUARD_GAP);
        Ok(start)
    }

    /// Maps the stack as far down as a limit of `len` bytes lets it grow, or as far as
    /// there is room.
    pub fn extend_stack(&self, len: u64) {
        let mut state = self.state();
        let Some(stack) = state.map.all().find(|mapped| mapped.kind == Kind::Stack) else {
            return;
        };
        let floor = state.map.below(stack.span.start() - 1).map_or(0, |below| below.span.end());
        let wish = stack.span.end().saturating_sub(whole_pages(len).unwrap_or(LONGEST));
        let start = wish.max(stack.span.end() - LONGEST).max(floor + GUARD_GAP);
        // Where there is no room it stays as it is.
        _ = self.lengthen(&mut state, &stack, start);
    }

    /// Whether something may grow down, but for the first thread's stack.
    pub fn has_growing(&self) -> bool {
        self.has_growing.load(Ordering::Relaxed)
    }

    /// Lets what grows down to `address` grow, as when the kernel touches it.
    pub fn reach(&self, address: u64) {
        if self.has_growing() {
            _ = self.protection_or_growth(&mut self.state(), address);
        }
    }

    /// What may be done at `address`, once what grows down to it has grown.
    pub(super) fn protection_or_growth(
        &self,
        state: &mut State,
        address: u64,
    ) -> Option<Protection> {
        if let Some(protection) = state.map.protection_at(address) {
            return Some(protection);
        }
        let above = state.map.above(address).filter(|above| above.kind == Kind::GrowsDown)?;
        let start = address / PAGE * PAGE;
        let limit = getrlimit(Resource::Stack).current.unwrap_or(u64::MAX);
        if above.span.end() - start > limit || !state.is_apart_from_below(start) {
            return None;
        }
        let more = above.span.start() - start;
        state.admit(more, 0, above.kind, above.protection).ok()?;
        self.lengthen(state, &above, start)?;
        Some(above.protection)
    }

    /// Maps what lies between `start` and a mapping that grows down to it.
    fn lengthen(&self, state: &mut State, mapping: &Mapped, start: u64) -> Option<()> {
        let len = mapping.span.start().checked_sub(start).filter(|&len| len != 0)?;
        let span = GuestSpan::new(start, len).filter(|&span| layout::in_window(span))?;
        let Mapped { protection, kind, .. } = *mapping;
        self.memory.map(span, protection.0, ANONYMOUS, None, 0).ok()?;
        let whole = GuestSpan::new(start, mapping.span.end() - start)?;
        let at_its_start = mapping.span.start();
        let is_inherited = state.not_inherited.mapped_at(at_its_start).is_none();
        let is_fit = state.unfit.mapped_at(at_its_start).is_none();
        // What was advised about the rest stays.
        state.forget(span);
        state.map.insert(whole, protection, kind);
        if !is_inherited {
            state.not_inherited.insert(span, Protection::default(), kind);
        }
        if !is_fit {
            state.unfit.insert(span, Protection::default(), kind);
        }
        self.show(span, protection).ok()
    }
}

impl State {
    /// Whether Linux's gap lies between `start` and what is mapped below it and can
    /// be reached.
    fn is_apart_from_below(&self, start: u64) -> bool {
        let Some(below) = self.map.below(start) else { return true };
        below.kind == Kind::GrowsDown
            || !below.protection.reads()
            || start - below.span.end() >= GUARD_GAP
    }
}
