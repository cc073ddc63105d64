//! Guest memory: the part of the address space that belongs to the guest, and
//! the host calls that change what is mapped there.
//!
//! # Invariant
//!
//! While a [`GuestMemory`] exists, no object of the monitor's own lies below
//! [`GUEST_END`]: not its code, heap, stacks or mappings. Linux places a
//! static-PIE program and its `mmap` area far above, and every function here
//! that maps memory names a fixed place below. So whatever happens to guest
//! memory, Rust cannot notice.
//!
//! Guest memory is never a `&[u8]`: the guest changes it under us.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::errno::Errno;

use crate::host_call;

/// The first address a guest may use; what lies below stays a hole, so that a
/// null pointer faults.
pub const GUEST_START: u64 = 0x1_0000;

/// The first address that is not the guest's. 39 bits: client CPUs have no more
/// physical address bits, and guest addresses are guest-physical addresses.
pub const GUEST_END: u64 = 1 << 39;

/// The page size of x86-64, in bytes.
pub const PAGE: u64 = 4096;

/// So many pages are asked about at once.
const ASKED_AT_ONCE: u64 = 512;

/// The same as [`PAGE`].
const PAGE_LEN: usize = 4096;

/// Proof that [`GUEST_START`]`..`[`GUEST_END`] is the guest's alone.
#[derive(Debug)]
pub struct GuestMemory(());

/// The monitor's own memory reaches into the guest's.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} of the monitor lies at {address:#x}, inside guest memory: is this a static-PIE build?"
)]
pub struct NotOurs {
    what: &'static str,
    address: u64,
}

/// A range inside guest memory, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestSpan {
    start: u64,
    len: u64,
}

impl GuestSpan {
    /// The `len` bytes from `start`, if all of them lie in guest memory.
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        if start < GUEST_START || start > GUEST_END || len > GUEST_END - start {
            return None;
        }
        Some(Self { start, len })
    }

    /// The first address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The number of bytes.
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The first address behind the span.
    pub const fn end(self) -> u64 {
        self.start + self.len
    }
}

impl GuestMemory {
    /// Takes possession of guest memory, having looked where the monitor lies.
    ///
    /// Linux puts a program's memory in four places: its image, its heap, its
    /// stack and its `mmap` area. One address of each is compared.
    pub fn claim() -> Result<Self, NotOurs> {
        static IMAGE: u8 = 0;
        let stack = 0_u8;
        let heap = Box::new(0_u8);
        let mapping = host_call::anonymous_page().map_or(0, |page| page);
        let places = [
            ("the image", (&raw const IMAGE).addr()),
            ("the stack", (&raw const stack).addr()),
            ("the heap", (&raw const *heap).addr()),
            ("a mapping", mapping),
        ];
        for (what, address) in places {
            let address = host_call::to_u64(address);
            if address < GUEST_END {
                return Err(NotOurs { what, address });
            }
        }
        Ok(Self(()))
    }

    /// The same proof again: what it says of a process stays true.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(())
    }

    /// `mmap(2)` at exactly `span`, replacing what is there.
    ///
    /// `flags` are the guest's; `MAP_FIXED` is added. `MAP_FIXED_NOREPLACE`
    /// works as on Linux.
    pub fn map(
        &self,
        span: GuestSpan,
        protection: u64,
        flags: u64,
        file: Option<BorrowedFd<'_>>,
        offset: u64,
    ) -> Result<(), Errno> {
        let fixed =
            if flags & bits(libc::MAP_FIXED_NOREPLACE) == 0 { bits(libc::MAP_FIXED) } else { 0 };
        let descriptor = file.map_or(-1, |file| file.as_raw_fd());
        let descriptor = i64::from(descriptor).cast_unsigned();
        let args = [span.start, span.len, protection, flags | fixed, descriptor, offset];
        // SAFETY: the mapping is made at a fixed place inside guest memory, where
        // by the type's invariant nothing of Rust's lies.
        unsafe { host_call::raw(libc::SYS_mmap, args) }.map(|_| ())
    }

    /// `munmap(2)`.
    pub fn unmap(&self, span: GuestSpan) -> Result<(), Errno> {
        // SAFETY: only guest memory is unmapped, which holds nothing of Rust's.
        unsafe { host_call::raw(libc::SYS_munmap, [span.start, span.len, 0, 0, 0, 0]) }.map(|_| ())
    }

    /// `mprotect(2)`.
    pub fn protect(&self, span: GuestSpan, protection: u64) -> Result<(), Errno> {
        let args = [span.start, span.len, protection, 0, 0, 0];
        // SAFETY: only guest memory changes its protection.
        unsafe { host_call::raw(libc::SYS_mprotect, args) }.map(|_| ())
    }

    /// `mremap(2)` from one place to another, both fixed; or, where `to` begins
    /// where `from` does, in place.
    ///
    /// `flags` may hold `MREMAP_DONTUNMAP`; `MREMAP_MAYMOVE` and `MREMAP_FIXED`
    /// are set as the places ask for.
    pub fn remap(&self, from: GuestSpan, to: GuestSpan, flags: u64) -> Result<(), Errno> {
        let moving = if from.start == to.start && flags & bits(libc::MREMAP_DONTUNMAP) == 0 {
            0
        } else {
            bits(libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED)
        };
        let args = [from.start, from.len, to.len, flags | moving, to.start, 0];
        // SAFETY: both places are in guest memory, and the new one is fixed.
        unsafe { host_call::raw(libc::SYS_mremap, args) }.map(|_| ())
    }

    /// `shmat(2)` at exactly `span`, which must be as long as the segment.
    pub fn attach(&self, segment: u64, span: GuestSpan, flags: u64) -> Result<(), Errno> {
        let flags = flags | bits(libc::SHM_REMAP);
        // SAFETY: the kernel maps the segment at `span.start`. A segment longer
        // than the span could only reach the gap behind guest memory, since
        // segments are far shorter than the gap.
        unsafe { host_call::raw(libc::SYS_shmat, [segment, span.start, flags, 0, 0, 0]) }
            .map(|_| ())
    }

    /// `shmdt(2)`.
    pub fn detach(&self, address: u64) -> Result<(), Errno> {
        let span = GuestSpan::new(address, 0).ok_or(Errno::EINVAL)?;
        // SAFETY: only a segment attached at a guest address is detached.
        unsafe { host_call::raw(libc::SYS_shmdt, [span.start, 0, 0, 0, 0, 0]) }.map(|_| ())
    }

    /// How many pages of `span` are there, but for the page of zeros: `move_pages(2)`, which moves none.
    pub fn held_pages(&self, span: GuestSpan) -> Result<u64, Errno> {
        let mut found = 0;
        let mut at = span.start;
        while at < span.end() {
            let end = span.end().min(at + ASKED_AT_ONCE * PAGE);
            let pages = (at..end).step_by(PAGE_LEN).collect::<Vec<_>>();
            let mut nodes = vec![0_i32; pages.len()];
            let list = host_call::to_u64(pages.as_ptr().expose_provenance());
            let answers = host_call::to_u64(nodes.as_mut_ptr().expose_provenance());
            let args = [0, host_call::to_u64(pages.len()), list, 0, answers, 0];
            // SAFETY: the kernel reads the list and writes as many answers, for which there is room.
            unsafe { host_call::raw(libc::SYS_move_pages, args) }?;
            found += host_call::to_u64(nodes.iter().filter(|&&node| node >= 0).count());
            at = end;
        }
        Ok(found)
    }

    /// `madvise(2)`, for advice the monitor gives on its own account.
    pub fn advise(&self, span: GuestSpan, advice: u32) -> Result<(), Errno> {
        // SAFETY: advice about guest memory can only change guest memory.
        unsafe {
            host_call::raw(libc::SYS_madvise, [span.start, span.len, u64::from(advice), 0, 0, 0])
        }
        .map(|_| ())
    }
}

/// The length of a System V shared memory segment, in bytes.
pub fn segment_len(segment: u64) -> Result<u64, Errno> {
    let id = i32::try_from(segment.cast_signed()).map_err(|_| Errno::EINVAL)?;
    let mut status = std::mem::MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: `status` is writable memory of the structure's size.
    let result = unsafe { libc::shmctl(id, libc::IPC_STAT, status.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::EINVAL, Errno::from_raw));
    }
    // SAFETY: the call succeeded, and all-zero bytes were a valid value before it.
    let status = unsafe { status.assume_init() };
    Ok(host_call::to_u64(status.shm_segsz))
}

/// The bits of a C flag.
fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::{GUEST_END, GUEST_START, GuestMemory, GuestSpan};

    #[test]
    fn a_span_that_leaves_guest_memory_is_refused() {
        let outside = [
            (0, 1),
            (GUEST_START - 1, 1),
            (GUEST_END, 1),
            (GUEST_END - 1, 2),
            (GUEST_START, u64::MAX),
            (u64::MAX, u64::MAX),
            (1 << 47, 0),
        ];
        for (start, len) in outside {
            assert_eq!(GuestSpan::new(start, len), None, "{start:#x} + {len:#x}");
        }
    }

    #[test]
    fn a_span_may_reach_both_ends() {
        assert!(GuestSpan::new(GUEST_START, GUEST_END - GUEST_START).is_some());
        assert!(GuestSpan::new(GUEST_END, 0).is_some());
    }

    #[test]
    fn this_build_lies_outside_guest_memory() {
        assert!(GuestMemory::claim().is_ok());
    }
}
