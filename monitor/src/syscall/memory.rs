//! Memory calls: arguments to types, for [`crate::memory`].

use std::os::fd::BorrowedFd;

use monitor_sys::{
    Errno,
    abi::{Forwardable, number},
    descriptors, forward,
    guest_memory::{GUEST_END, PAGE},
    locking::When,
};
use rustix::fs::fstatfs;

use super::{Answer, Args, Reply, low_word, process_control::TASK_SIZE};
use crate::{
    memory::{
        Protection,
        change::{Place, Request},
        whole_pages,
    },
    thread::Thread,
};

const MAP_SHARED_VALIDATE_MASK: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_32BIT: u64 = 0x40;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_HUGE_SHIFT: u32 = 26;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// The flags that say where, which the memory module decides about.
const PLACING: u64 = MAP_FIXED | MAP_32BIT | MAP_FIXED_NOREPLACE;

/// The type of hugetlbfs in statfs(2).
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

/// In the last page of its memory a guest has nothing.
const LAST_PAGE: u64 = GUEST_END - PAGE;

const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;
const MREMAP_DONTUNMAP: u64 = 4;

const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;

const SHM_RDONLY: u64 = 0o10_000;
const SHM_RND: u64 = 0o20_000;
const SHM_EXEC: u64 = 0o100_000;

pub(super) fn mmap(thread: &mut Thread, args: Args) -> Answer {
    let [address, len, protection, flags, descriptor, offset] = args;
    if flags & MAP_SHARED_VALIDATE_MASK == 0 || !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let place = match flags {
        flags if flags & MAP_FIXED_NOREPLACE != 0 => Place::FixedFree(address),
        flags if flags & MAP_FIXED != 0 => Place::Fixed(address),
        flags if flags & MAP_32BIT != 0 => Place::Low(address),
        _ => Place::Hint(address),
    };
    let file = if flags & MAP_ANONYMOUS == 0 { Some(borrow(thread, descriptor)?) } else { None };
    let is_odd = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 && !address.is_multiple_of(PAGE);
    if file.is_some() && (len == 0 || is_odd) {
        // Linux looks at the descriptor first.
        forward::check_open(descriptor)?;
    }
    let alignment = file.map_or_else(|| alignment(flags), alignment_of);
    let request = Request {
        place,
        // Of huge pages too, Linux maps whole ones.
        len: len.checked_next_multiple_of(alignment).ok_or(Errno::ENOMEM)?,
        protection: Protection(protection),
        flags: flags & !PLACING,
        file,
        offset,
        alignment,
    };
    thread.process.memory.map(&request).map(Reply::Value)
}

/// Pages of hugetlb are aligned to their size: 2 MiB unless the flags say more.
fn alignment(flags: u64) -> u64 {
    let size = low_word(flags >> MAP_HUGE_SHIFT) & 63;
    match flags & MAP_HUGETLB {
        0 => PAGE,
        _ if size == 0 => 2 << 20,
        _ => 1_u64.checked_shl(size).unwrap_or(PAGE),
    }
}

/// The size of the pages that a file is mapped in.
fn alignment_of(file: BorrowedFd<'_>) -> u64 {
    match fstatfs(file) {
        Ok(status) if status.f_type == HUGETLBFS_MAGIC => {
            u64::try_from(status.f_bsize).unwrap_or(PAGE)
        }
        _ => PAGE,
    }
}

/// The guest's descriptor, for the length of one call.
fn borrow(thread: &Thread, descriptor: u64) -> Result<BorrowedFd<'_>, Errno> {
    forward::check_descriptor(descriptor)?;
    descriptors::borrow(thread.process.memory.guest_memory(), low_word(descriptor).cast_signed())
}

pub(super) fn munmap(thread: &mut Thread, args: Args) -> Answer {
    thread.process.memory.unmap(args[0], args[1]).map(|()| Reply::Value(0))
}

pub(super) fn mprotect(thread: &mut Thread, args: Args) -> Answer {
    thread.process.memory.protect(args[0], args[1], args[2]).map(|()| Reply::Value(0))
}

/// Without protection keys, the only key is none.
pub(super) fn pkey_mprotect(thread: &mut Thread, args: Args) -> Answer {
    if low_word(args[3]) != u32::MAX {
        return Err(Errno::EINVAL);
    }
    mprotect(thread, args)
}

pub(super) fn mremap(thread: &mut Thread, args: Args) -> Answer {
    let [start, old_len, new_len, flags, to, _] = args;
    let fixed = flags & MREMAP_FIXED != 0;
    let moves = flags & MREMAP_MAYMOVE != 0;
    let keep = flags & MREMAP_DONTUNMAP;
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if flags & !known != 0 || (!moves && (fixed || keep != 0)) || !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let lens = [old_len, new_len].map(whole_pages);
    let [old, Some(new @ 1..=TASK_SIZE)] = lens else { return Err(Errno::EINVAL) };
    if keep != 0 && old != Some(new) {
        return Err(Errno::EINVAL);
    }
    let end = to.checked_add(new).filter(|&end| end <= TASK_SIZE);
    let overlaps = old.and_then(|old| start.checked_add(old)).is_none_or(|old_end| to < old_end)
        && end.is_some_and(|end| start < end);
    if (fixed || keep != 0) && (!to.is_multiple_of(PAGE) || end.is_none() || overlaps) {
        return Err(Errno::EINVAL);
    }
    let to = fixed.then_some(to);
    thread.process.memory.remap(start, old_len, new_len, moves, to, keep).map(Reply::Value)
}

/// Notes what a call that is forwarded does to memory: it says on which nodes pages belong, or gives advice of any
/// kind, of which nothing else is noted.
pub(super) fn note(thread: &Thread, number: u64) {
    match usize::try_from(number) {
        Ok(number::MBIND | number::SET_MEMPOLICY) => thread.process.memory.note_policy(),
        Ok(number::PROCESS_MADVISE) => thread.process.memory.doubt(),
        _ => {}
    }
}

/// Calls about a range that Linux goes through from its start, up to what is not mapped or beyond it.
macro_rules! about_range {
    ($($handler:ident $call:ident;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            about_range(thread, Forwardable::$call, args)
        })*
    };
}

about_range! {
    msync MSYNC;
    mlock MLOCK;
    mlock2 MLOCK2;
    munlock MUNLOCK;
}

/// Behind the guest's memory nothing is mapped: what lies before is done first.
fn about_range(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    let [start, len, ..] = args;
    let end = start.checked_add(len).filter(|&end| end <= TASK_SIZE);
    if start >= LAST_PAGE || end.is_none_or(|end| end <= LAST_PAGE) {
        return super::forward(thread, call, args);
    }
    let mut part = args;
    part[1] = LAST_PAGE - start;
    super::forward(thread, call, part)?;
    Err(Errno::ENOMEM)
}

pub(super) fn madvise(thread: &mut Thread, args: Args) -> Answer {
    let [start, len, advice, ..] = args;
    let end = whole_pages(len).and_then(|len| start.checked_add(len));
    if !start.is_multiple_of(PAGE) || end.is_none() {
        return Err(Errno::EINVAL);
    }
    let call = || about_range(thread, Forwardable::MADVISE, args);
    thread.process.memory.advise(start, len, low_word(advice), call)
}

#[expect(clippy::unnecessary_wraps, reason = "handlers share one type")]
pub(super) fn brk(thread: &mut Thread, args: Args) -> Answer {
    Ok(Reply::Value(thread.process.memory.set_break(args[0])))
}

pub(super) fn shmat(thread: &mut Thread, args: Args) -> Answer {
    let [segment, mut wish, flags, ..] = args;
    if flags & SHM_RND != 0 {
        wish = wish / PAGE * PAGE;
    }
    let writable = if flags & SHM_RDONLY == 0 { Protection::READ_WRITE } else { Protection::READ };
    let executable = if flags & SHM_EXEC == 0 { 0 } else { 4 };
    let protection = Protection(writable.0 | executable);
    thread.process.memory.attach(segment, wish, protection, flags & !SHM_RND).map(Reply::Value)
}

pub(super) fn shmdt(thread: &mut Thread, args: Args) -> Answer {
    thread.process.memory.detach(args[0]).map(|()| Reply::Value(0))
}

pub(super) fn mlockall(thread: &mut Thread, args: Args) -> Answer {
    let flags = low_word(args[0]);
    let known = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT;
    if flags & !known != 0 || flags & (MCL_CURRENT | MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL);
    }
    let when = if flags & MCL_ONFAULT == 0 { When::Now } else { When::OnFault };
    let wanted = |flag| (flags & flag != 0).then_some(when);
    thread.process.memory.lock_all(wanted(MCL_CURRENT), wanted(MCL_FUTURE))?;
    Ok(Reply::Value(0))
}

#[expect(clippy::unnecessary_wraps, reason = "handlers share one type")]
pub(super) fn munlockall(thread: &mut Thread, _args: Args) -> Answer {
    thread.process.memory.unlock_all();
    Ok(Reply::Value(0))
}

pub(super) fn mseal(thread: &mut Thread, args: Args) -> Answer {
    let [start, len, flags, ..] = args;
    monitor_sys::locking::can_seal()?;
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    thread.process.memory.seal(start, len).map(|()| Reply::Value(0))
}
