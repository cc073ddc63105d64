//! `mmap`, `munmap`, `mprotect`, `mremap` and System V segments.
//!
//! These functions take types; that system calls exist is known further up.

use std::{os::fd::BorrowedFd, sync::atomic::Ordering};

use monitor_sys::{
    Errno,
    guest_memory::{GUEST_END, GUEST_START, GuestSpan, PAGE, segment_len},
};

use super::{
    AddressSpace, Protection, State,
    habits::POPULATE,
    locking::Flags,
    map::{Kind, Mapped},
    streams::REGION,
    whole_pages,
};
use crate::{
    layout::{self, LOW_END},
    platform::PlatformError,
};

/// Mappings of this size and more are aligned to it, so that the host can use
/// huge pages: first touch is three times faster with them.
const HUGE: u64 = REGION;

/// The end of a program's addresses on Linux, far above the guest's.
const PROGRAM_END: u64 = (1 << 47) - PAGE;

/// As much of a mapping is made reachable at once; the rest when it is touched.
const EAGER: u64 = 64 << 20;
/// Of a stack so much is made reachable, in bytes.
const STACKS_END: u64 = 256 << 10;

/// Where a mapping shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere, preferably here.
    Hint(u64),
    /// Anywhere in the first 2 GiB (`MAP_32BIT`), preferably here.
    Low(u64),
    /// Exactly here, replacing what is there.
    Fixed(u64),
    /// Exactly here, if nothing is there.
    FixedFree(u64),
}

/// What to map.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where.
    pub place: Place,
    /// How many bytes.
    pub len: u64,
    /// What may be done with them.
    pub protection: Protection,
    /// The flags of `mmap(2)` but for those that say where.
    pub flags: u64,
    /// The file, or `None` for anonymous memory.
    pub file: Option<BorrowedFd<'a>>,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What the address shall be a multiple of.
    pub alignment: u64,
}

impl AddressSpace {
    /// `mmap(2)`. Returns the address.
    pub fn map(&self, request: &Request<'_>) -> Result<u64, Errno> {
        self.map_as(kind(request), request)
    }

    /// Maps what will be a `kind` of mapping.
    pub(super) fn map_as(&self, kind: Kind, request: &Request<'_>) -> Result<u64, Errno> {
        let len = whole_pages(request.len).filter(|&len| len != 0).ok_or(match request.len {
            0 => Errno::EINVAL,
            _ => Errno::ENOMEM,
        })?;
        let mut state = self.state();
        let (span, no_replace) = place(&mut state, request, len)?;
        if no_replace == 0 {
            state.promises.check_unsealed(span)?;
        }
        state.admit(len, state.len_within(span), kind, request.protection)?;
        self.forbid_executing(&state, span, request.protection)?;
        // The host would let it grow behind our back.
        let grows = if kind == Kind::GrowsDown { GROWS_DOWN } else { 0 };
        self.has_growing.fetch_or(grows != 0, Ordering::Relaxed);
        let flags = request.flags & !grows | no_replace | state.promises.flags();
        let is_apt = flags & (STACK | NO_RESERVE | PRESENT) == 0;
        let is_open = is_apt && matches!(request.place, Place::Hint(_));
        let expected = is_open && state.expect_use(&self.memory, len, kind, request.protection);
        let bring = if expected && len < REGION { POPULATE } else { 0 };
        let mapped = self.memory.map(
            span,
            Protection::on_host(request.protection.0),
            flags | bring,
            request.file,
            request.offset,
        );
        if let Err(errno) = mapped {
            self.forget_if_replaced(&mut state, span, request.place);
            return Err(errno);
        }
        state.note(span, request.protection, kind);
        self.lock_new(&mut state, span, Flags::Applied)?;
        self.show(likely_used(kind, span, request.protection), request.protection)?;
        if flags & (STACK | NO_RESERVE) != 0 {
            state.unfit.insert(span, Protection::default(), kind);
        }
        if is_open {
            self.settle(&mut state, span, expected);
        } else if is_apt {
            self.follow(&mut state, span);
        }
        Ok(span.start())
    }

    /// `munmap(2)`, which may also name what no guest can have mapped.
    pub fn unmap(&self, start: u64, len: u64) -> Result<(), Errno> {
        let Some(span) = guest_part(start, len)? else {
            return Ok(());
        };
        let mut state = self.state();
        state.promises.check_unsealed(span)?;
        self.forbid_executing(&state, span, Protection::default())?;
        state.learn(&self.memory, span);
        state.sure(self.memory.unmap(span))?;
        state.forget(span);
        Ok(())
    }

    /// `mprotect(2)`. `bits` are passed on, so that the host refuses what it
    /// does not know.
    pub fn protect(&self, start: u64, len: u64, bits: u64) -> Result<(), Errno> {
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = whole_pages(len).and_then(|len| start.checked_add(len)).ok_or(Errno::ENOMEM)?;
        if start < GUEST_END && end > GUEST_END {
            // Linux changes what is mapped before it finds something that is not.
            self.protect(start, GUEST_END - start, bits)?;
            return Err(Errno::ENOMEM);
        }
        let whole = page_span(start, len).ok_or(Errno::ENOMEM)?;
        let mut state = self.state();
        // Linux goes on up to the first seal.
        let end = state.promises.first_seal(whole);
        let span = end.and_then(|end| GuestSpan::new(start, end - start)).unwrap_or(whole);
        let sealed = if span == whole { Ok(()) } else { Err(Errno::EPERM) };
        if span.is_empty() {
            return sealed;
        }
        let protection = Protection(bits & 7);
        state.admit_data(span, protection)?;
        self.forbid_executing(&state, span, protection)?;
        let result = state.sure(self.memory.protect(span, Protection::on_host(bits)));
        if matches!(result, Ok(()) | Err(Errno::ENOMEM)) {
            state.map.protect(span, protection);
        }
        result?;
        self.show(span, protection)?;
        self.follow(&mut state, span);
        sealed
    }

    /// `mremap(2)`; `to` is where to go if `MREMAP_FIXED` says so.
    pub fn remap(
        &self,
        start: u64,
        old_len: u64,
        new_len: u64,
        may_move: bool,
        to: Option<u64>,
        keep: u64,
    ) -> Result<u64, Errno> {
        let from = page_span(start, old_len).ok_or(Errno::EFAULT)?;
        let new_len = whole_pages(new_len).filter(|len| (1..=PROGRAM_END).contains(len));
        let new_len = new_len.ok_or(Errno::EINVAL)?;
        let mut state = self.state();
        let Mapped { span, protection, kind } = state.map.mapped_at(start).ok_or(Errno::EFAULT)?;
        let is_one = from.end() <= span.end();
        let parts = state.map.within(from).collect::<Vec<_>>();
        let more = if keep == 0 { new_len.saturating_sub(from.len()) } else { new_len };
        if more != 0 {
            state.admit(more, 0, kind, protection)?;
        }
        let target = match to {
            // So low only who may read and write all memory puts something.
            Some(to) if to < GUEST_START => return Err(Errno::EPERM),
            Some(to) => page_span(to, new_len).ok_or(Errno::EINVAL)?,
            None => match remap_target(&mut state, from, new_len, may_move, keep != 0) {
                Err(errno) => return Err(self.why_not_longer(&mut state, from, new_len, errno)),
                found => found?,
            },
        };
        if !layout::in_window(target) {
            return Err(Errno::ENOMEM);
        }
        state.promises.check_unsealed(from)?;
        state.promises.check_unsealed(target)?;
        self.forbid_executing(&state, target, protection)?;
        let is_fit = state.unfit.is_free(from);
        let carried = state.carried(from);
        let advised = self.make_one_mapping(&mut state, from);
        state.is_in_doubt |= !is_one;
        if let Err(errno) = state.sure(self.memory.remap(from, target, keep)) {
            self.forget_if_no_room(&mut state, from, target, to);
            return Err(errno);
        }
        if keep == 0 {
            state.forget(from);
        } else {
            state.guards.remove(from);
        }
        state.note(target, protection, kind);
        self.show(target, protection)?;
        if !is_one {
            self.note_parts(&mut state, &parts, target)?;
        }
        state.put_carried(&carried, target);
        if advised {
            state.advised.insert(target, Protection::default(), kind);
        }
        if is_fit {
            self.follow_on(&mut state, target, from.len());
        } else {
            state.unfit.insert(target, Protection::default(), kind);
        }
        Ok(target.start())
    }

    /// A failed `MREMAP_FIXED` may have made room, and taken off the end, before Linux found a reason to refuse.
    fn forget_if_no_room(
        &self,
        state: &mut State,
        from: GuestSpan,
        target: GuestSpan,
        to: Option<u64>,
    ) {
        let Some(to) = to else { return };
        self.forget_if_replaced(state, target, Place::Fixed(to));
        let less = from.len().checked_sub(target.len());
        let end = less.and_then(|less| GuestSpan::new(from.start() + target.len(), less));
        if let Some(end) = end.filter(|end| !end.is_empty()) {
            self.forget_if_replaced(state, end, Place::Fixed(end.start()));
        }
    }

    /// The error of a mapping that cannot become longer where it is: the host has no room there either, and says
    /// whether that is what counts.
    fn why_not_longer(
        &self,
        state: &mut State,
        from: GuestSpan,
        new_len: u64,
        errno: Errno,
    ) -> Errno {
        let grown = GuestSpan::new(from.start(), new_len).filter(|&span| layout::in_window(span));
        match grown.map(|grown| self.memory.remap(from, grown, 0)) {
            Some(Err(hosts)) => hosts,
            Some(Ok(())) => {
                state.is_in_doubt = true;
                errno
            }
            None if state.map.is_covered(from) => errno,
            None => Errno::EFAULT,
        }
    }

    /// Notes several mappings that were moved together, as Linux does from 6.17 on, with what is between them.
    fn note_parts(
        &self,
        state: &mut State,
        parts: &[Mapped],
        target: GuestSpan,
    ) -> Result<(), Errno> {
        let Some(from) = parts.first().map(|first| first.span.start()) else { return Ok(()) };
        self.forbid_executing(state, target, Protection::default())?;
        state.forget(target);
        for &Mapped { span, protection, kind } in parts {
            let moved = GuestSpan::new(target.start() + (span.start() - from), span.len());
            if let Some(moved) = moved.filter(|moved| moved.end() <= target.end()) {
                state.note(moved, protection, kind);
                self.show(moved, protection)?;
            }
        }
        Ok(())
    }

    /// `shmat(2)` of a System V segment. Returns the address.
    pub fn attach(
        &self,
        segment: u64,
        wish: u64,
        protection: Protection,
        flags: u64,
    ) -> Result<u64, Errno> {
        let len = whole_pages(segment_len(segment)?).ok_or(Errno::ENOMEM)?;
        let mut state = self.state();
        let span = match wish {
            0 => state.find_room(0, len, PAGE, false)?,
            wish => page_span(wish, len).ok_or(Errno::EINVAL)?,
        };
        let replaces = flags & SHM_REMAP != 0;
        let refused = if replaces { wish == 0 } else { !state.map.is_free(span) };
        if refused || !layout::in_window(span) {
            return Err(Errno::EINVAL);
        }
        state.promises.check_unsealed(span)?;
        state.admit(len, state.len_within(span), Kind::Shared, protection)?;
        self.forbid_executing(&state, span, protection)?;
        state.sure(self.memory.attach(segment, span, flags))?;
        state.note(span, protection, Kind::Shared);
        self.lock_new(&mut state, span, Flags::None)?;
        self.show(span, protection)?;
        Ok(span.start())
    }

    /// `shmdt(2)`: what is left of the segment's mapping goes, in however many parts.
    pub fn detach(&self, start: u64) -> Result<(), Errno> {
        let mut state = self.state();
        let attached = state.map.mapped_at(start).filter(|mapped| mapped.span.start() == start);
        attached.map_or(Ok(()), |mapped| state.promises.check_unsealed(mapped.span))?;
        self.memory.detach(start)?;
        let parts = state.map.all().filter(|mapped| mapped.kind == Kind::Shared);
        let parts = parts.map(|mapped| mapped.span).filter(|span| span.start() >= start);
        let gone = |span: &GuestSpan| self.memory.advise(*span, ADVICE_NONE).is_err();
        for span in parts.filter(gone).collect::<Vec<_>>() {
            state.forget(span);
        }
        Ok(())
    }

    /// Before a mapping becomes stricter, the guest's tables must (see `paging`).
    fn forbid_executing(
        &self,
        state: &State,
        span: GuestSpan,
        protection: Protection,
    ) -> Result<(), Errno> {
        if protection.executes() || !state.map.has_executable(span) {
            return Ok(());
        }
        self.machine.set_executable(span, false).map_err(|error| no_memory(&error))
    }

    /// Makes a new mapping reachable, so that its first touch need not ask.
    pub(super) fn show(&self, span: GuestSpan, protection: Protection) -> Result<(), Errno> {
        let result = if protection.executes() {
            self.machine.set_executable(span, true)
        } else if protection.reads() {
            let head = GuestSpan::new(span.start(), span.len().min(EAGER)).unwrap_or(span);
            self.machine.cover(head)
        } else {
            Ok(())
        };
        result.map_err(|error| no_memory(&error))
    }

    /// A failed `MAP_FIXED` may have unmapped what was there. Asking costs
    /// nothing: where a page is gone, the next fault finds it unmapped.
    fn forget_if_replaced(&self, state: &mut State, span: GuestSpan, place: Place) {
        if !matches!(place, Place::Fixed(_)) {
            return;
        }
        state.is_in_doubt = true;
        // There may have been nothing between the mappings before.
        let parts = state.map.within(span).map(|mapped| mapped.span).collect::<Vec<_>>();
        for part in parts.into_iter().filter(|&part| self.memory.advise(part, ADVICE_NONE).is_err())
        {
            state.forget(part);
        }
    }
}

/// `SHM_REMAP`: a segment may replace what is there.
const SHM_REMAP: u64 = 0o40_000;

/// `MAP_GROWSDOWN`.
const GROWS_DOWN: u64 = 0x100;
/// `MAP_HUGETLB`.
const HUGE_TLB: u64 = 0x4_0000;
/// `MAP_STACK`.
const STACK: u64 = 0x2_0000;
/// `MAP_NORESERVE`: more than the program means to use.
const NO_RESERVE: u64 = 0x4000;
/// `MAP_LOCKED` and `MAP_POPULATE`: nothing of the mapping is left for a first touch.
const PRESENT: u64 = 0x2000 | POPULATE;
/// `MAP_TYPE`, of which `MAP_PRIVATE` is 2.
const TYPE: u64 = 0xf;
const PRIVATE: u64 = 2;

/// What the mapping will be.
fn kind(request: &Request<'_>) -> Kind {
    match request.flags & TYPE {
        PRIVATE if request.flags & GROWS_DOWN != 0 && request.file.is_none() => Kind::GrowsDown,
        PRIVATE if request.file.is_none() && request.flags & HUGE_TLB == 0 => Kind::Anonymous,
        PRIVATE => Kind::Private,
        _ => Kind::Shared,
    }
}

/// `MADV_NORMAL`: does nothing, but answers `ENOMEM` where something is unmapped.
const ADVICE_NONE: u32 = 0;

/// `MAP_FIXED_NOREPLACE`.
const NO_REPLACE: u64 = 0x10_0000;

/// Where the request goes, and the flag that keeps what is there.
fn place(state: &mut State, request: &Request<'_>, len: u64) -> Result<(GuestSpan, u64), Errno> {
    let alignment = request.alignment.max(if len >= HUGE { HUGE } else { PAGE });
    let fixed = |at: u64| {
        if !at.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        GuestSpan::new(at, len).filter(|&span| layout::in_window(span)).ok_or(Errno::ENOMEM)
    };
    match request.place {
        Place::Hint(hint) => {
            let wish = state.find_room(hint, len, request.alignment.max(PAGE), false);
            let found = wish.ok().filter(|span| hint != 0 && span.start() == hint / PAGE * PAGE);
            let found = found.or_else(|| state.find_room(0, len, alignment, false).ok());
            Ok((found.or(wish.ok()).ok_or(Errno::ENOMEM)?, 0))
        }
        Place::Low(hint) => {
            let hint = if hint < LOW_END { hint } else { 0 };
            Ok((state.find_room(hint, len, PAGE, true)?, 0))
        }
        Place::Fixed(at) => Ok((fixed(at)?, 0)),
        Place::FixedFree(at) => Ok((fixed(at)?, NO_REPLACE)),
    }
}

/// Where a mapping without a fixed target goes: where it is if it can, else away.
fn remap_target(
    state: &mut State,
    from: GuestSpan,
    new_len: u64,
    may_move: bool,
    keep: bool,
) -> Result<GuestSpan, Errno> {
    let grown = GuestSpan::new(from.start(), new_len).filter(|&span| layout::in_window(span));
    let more = new_len.checked_sub(from.len()).filter(|&more| more > 0);
    let room = more.and_then(|more| GuestSpan::new(from.end(), more));
    let in_place = more.is_none() || room.is_some_and(|room| state.map.is_free(room));
    match grown {
        Some(grown) if in_place && !keep => Ok(grown),
        _ if may_move => state.find_room(0, new_len, PAGE, false),
        _ => Err(Errno::ENOMEM),
    }
}

/// What of the addresses that `munmap(2)` names a guest can have mapped.
/// `EINVAL` if they are no pages, or none that Linux gives to programs.
fn guest_part(start: u64, len: u64) -> Result<Option<GuestSpan>, Errno> {
    let len = whole_pages(len).filter(|&len| len != 0).ok_or(Errno::EINVAL)?;
    let end = start.checked_add(len).filter(|&end| end <= PROGRAM_END).ok_or(Errno::EINVAL)?;
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let start = start.max(GUEST_START);
    let len = end.min(GUEST_END).checked_sub(start);
    Ok(len.and_then(|len| GuestSpan::new(start, len)).filter(|span| !span.is_empty()))
}

/// The pages from `start`, which must begin one.
fn page_span(start: u64, len: u64) -> Option<GuestSpan> {
    let len = whole_pages(len)?;
    GuestSpan::new(start, len).filter(|span| span.start().is_multiple_of(PAGE))
}

/// The host has no room for another slot or table.
fn no_memory(_error: &PlatformError) -> Errno {
    Errno::ENOMEM
}

/// What of a new mapping is soon used: of a stack its end.
fn likely_used(kind: Kind, span: GuestSpan, protection: Protection) -> GuestSpan {
    if kind != Kind::Stack || protection.executes() {
        return span;
    }
    let len = span.len().min(STACKS_END);
    GuestSpan::new(span.end() - len, len).unwrap_or(span)
}

#[cfg(test)]
mod tests {
    use monitor_sys::{
        Errno,
        guest_memory::{GUEST_END, GUEST_START, GuestSpan, PAGE},
    };

    use super::{PROGRAM_END, guest_part};

    #[test]
    fn what_a_guest_cannot_have_mapped_is_unmapped_already() {
        let whole = GuestSpan::new(GUEST_START, GUEST_END - GUEST_START);

        assert_eq!(guest_part(0, PROGRAM_END), Ok(whole));
        assert_eq!(guest_part(0, PAGE), Ok(None));
        assert_eq!(guest_part(GUEST_END, PAGE), Ok(None));
        assert_eq!(guest_part(GUEST_END - PAGE, 1), Ok(GuestSpan::new(GUEST_END - PAGE, PAGE)));
    }

    #[test]
    fn what_is_no_program_memory_on_linux_cannot_be_unmapped() {
        for (start, len) in [(0, PROGRAM_END + 1), (0, 0), (1, PAGE), (PAGE, u64::MAX - PAGE)] {
            assert_eq!(guest_part(start, len), Err(Errno::EINVAL), "{start:#x} + {len:#x}");
        }
    }
}
