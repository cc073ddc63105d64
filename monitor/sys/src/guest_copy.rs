//! Copies between the monitor and guest memory.
//!
//! The guest may unmap, protect or change a page while it is copied, so the
//! kernel copies (`process_vm_writev(2)` on ourselves, which reads what it is
//! given as any call does): it checks every page and answers `EFAULT` where a plain access would end the monitor. What was copied
//! once is the monitor's own and can be checked in peace.

use std::{arch::asm, cell::Cell};

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    guest_memory::{GUEST_END, PAGE},
    host_call::{self, to_u64},
    process,
};

/// The longest string [`read_string`] returns, in bytes: `PATH_MAX` and, for a
/// single argument of `execve(2)`, `MAX_ARG_STRLEN` stay below it.
const LONGEST_STRING: usize = 128 * 1024;

/// `UIO_MAXIOV`: the most elements a vector may have.
const VECTOR_MAX: usize = 1024;

/// So much of a string is copied at first: few paths are longer.
const FIRST_PIECE: usize = 256;

thread_local! {
    /// The number of a thread that has said it.
    static OWN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Has the calling thread's number remembered: for one whose storage no other process ever uses, as that of a guest's
/// thread is used by a child that borrows its parent's memory.
pub fn remember_thread() {
    OWN.set(Some(process::thread_id()));
}

#[repr(C)]
struct IoVec {
    base: u64,
    len: u64,
}

/// Copies guest memory from `address` into all of `into`.
pub fn read_bytes(address: u64, into: &mut [u8]) -> Result<(), Errno> {
    let wanted = to_u64(into.len());
    let copied = transfer(Way::Out, into.as_mut_ptr(), address, wanted)?;
    if copied == wanted { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies as much as is readable from `address`, at most `into.len()` bytes.
pub(crate) fn read_some(address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let wanted = to_u64(into.len());
    let copied = transfer(Way::Out, into.as_mut_ptr(), address, wanted)?;
    Ok(usize::try_from(copied).expect("no more than the buffer's length"))
}

/// Copies all of `bytes` to guest memory at `address`.
pub fn write_bytes(address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let wanted = to_u64(bytes.len());
    let from = bytes.as_ptr().cast_mut();
    let copied = transfer(Way::In, from, address, wanted)?;
    if copied == wanted { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads a value of a C structure's type.
pub fn read<T: FromBytes + IntoBytes>(address: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read_bytes(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a value of a C structure's type.
pub fn write<T: IntoBytes + Immutable>(address: u64, value: &T) -> Result<(), Errno> {
    write_bytes(address, value.as_bytes())
}

/// Reads `count` values that lie behind one another.
pub fn read_array<T: FromBytes + IntoBytes + Clone>(
    address: u64,
    count: usize,
) -> Result<Vec<T>, Errno> {
    let mut values = vec![T::new_zeroed(); count];
    read_bytes(address, values.as_mut_slice().as_mut_bytes())?;
    Ok(values)
}

/// Reads a string up to its NUL, which is left out.
///
/// `ENAMETOOLONG` if there is no NUL among the first `limit` bytes (or 128 KiB).
pub fn read_string(address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
    Window::default().read_up_to_nul(address, limit, FIRST_PIECE)
}

/// The piece of guest memory that was copied last, for what lies close together: a program's strings and the
/// vectors that name them.
#[derive(Debug, Default)]
pub struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Reads a string as [`read_string`] does.
    pub fn read_string(&mut self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        self.read_up_to_nul(address, limit, usize::MAX)
    }

    /// Reads a word as [`read`] does.
    pub fn read_word(&mut self, address: u64) -> Result<u64, Errno> {
        let mut word = [0; 8];
        let mut done = 0;
        while done < word.len() {
            let piece = self.at(address.wrapping_add(to_u64(done)), usize::MAX)?;
            let len = piece.len().min(word.len() - done);
            word[done..done + len].copy_from_slice(&piece[..len]);
            done += len;
        }
        Ok(u64::from_le_bytes(word))
    }

    fn read_up_to_nul(
        &mut self,
        address: u64,
        limit: usize,
        first: usize,
    ) -> Result<Vec<u8>, Errno> {
        let limit = limit.min(LONGEST_STRING);
        let mut string = Vec::new();
        while string.len() < limit {
            let most = if string.is_empty() { first } else { usize::MAX };
            let piece = self.at(address.wrapping_add(to_u64(string.len())), most)?;
            let piece = &piece[..piece.len().min(limit - string.len())];
            if let Some(end) = piece.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&piece[..end]);
                return Ok(string);
            }
            string.extend_from_slice(piece);
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// What is known from `address` on, at least a byte: copies as far as to its page's end, `most` bytes at most.
    fn at(&mut self, address: u64, most: usize) -> Result<&[u8], Errno> {
        let known = address.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = known.filter(|&at| at < self.bytes.len()) {
            return Ok(&self.bytes[at..]);
        }
        let to_page_end = usize::try_from(PAGE - address % PAGE).expect("at most a page");
        (self.start, self.bytes) = (address, vec![0; to_page_end.min(most)]);
        let copied = read_some(address, &mut self.bytes);
        self.bytes.truncate(copied.unwrap_or(0));
        copied?;
        if self.bytes.is_empty() { Err(Errno::EFAULT) } else { Ok(&self.bytes) }
    }
}

/// Reads a string as [`read_string`] does, without asking the kernel: from memory of which the caller knows that
/// `len` bytes can be read, and that they can until this returns. `None` if no NUL is among them.
///
/// The monitor ends by a signal where that is not so.
pub fn read_certain_string(address: u64, len: u64) -> Option<Vec<u8>> {
    // A cache line each: what lies behind the string may be another CPU's to write.
    const PIECE: u64 = 64;
    let end = address.checked_add(len).filter(|&end| end <= GUEST_END)?;
    let (mut string, mut at) = (Vec::new(), address);
    while at < end {
        let next = (at / PIECE + 1) * PIECE;
        let mut bytes = [0_u8; 64];
        let piece = &mut bytes[..usize::try_from(next.min(end) - at).expect("at most a line")];
        copy_certain(at, piece);
        if let Some(nul) = piece.iter().position(|&byte| byte == 0) {
            string.extend_from_slice(&piece[..nul]);
            return Some(string);
        }
        string.extend_from_slice(piece);
        at = next;
    }
    None
}

/// Reads as [`read_bytes`] does, without asking the kernel: from memory of which the caller knows that it can be
/// read, and that it can until this returns.
///
/// The monitor ends by a signal where that is not so.
pub fn read_certain_bytes(address: u64, into: &mut [u8]) -> Result<(), Errno> {
    check(address, to_u64(into.len()))?;
    copy_certain(address, into);
    Ok(())
}

/// Copies guest memory that can be read.
fn copy_certain(address: u64, into: &mut [u8]) {
    // SAFETY: the destination is a slice of ours. The source lies below the end of guest memory, where nothing of
    // Rust's is, and is read by an instruction, whatever the guest writes meanwhile; if it cannot be read, the
    // process ends.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") into.len() => _,
            inout("rsi") address => _,
            inout("rdi") into.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Writes each value so many bytes behind the one before, and nothing in between.
pub fn write_apart(address: u64, distance: u64, values: &[u16]) -> Result<(), Errno> {
    let all = distance.checked_mul(to_u64(values.len())).ok_or(Errno::EFAULT)?;
    check(address, all)?;
    let mut bases = (0..).map(|at| address + at * distance);
    for values in values.chunks(VECTOR_MAX) {
        let bases = bases.by_ref().take(values.len());
        let places: Vec<_> = bases.map(|base| IoVec { base, len: 2 }).collect();
        let from = IoVec { base: to_u64(values.as_ptr().addr()), len: to_u64(values.len()) * 2 };
        // SAFETY: the kernel reads the slice, and writes guest memory, which holds nothing of Rust's; both vectors
        // live until the call returns.
        let copied = unsafe { copy(Way::In, &places, &from) }?;
        if copied != from.len {
            return Err(Errno::EFAULT);
        }
    }
    Ok(())
}

/// The same without asking the kernel, to memory of which the caller knows that it can be written, and that it can
/// until this returns.
///
/// The monitor ends by a signal where that is not so.
pub fn write_apart_certainly(
    address: u64,
    distance: u64,
    values: impl ExactSizeIterator<Item = u16>,
) -> Result<(), Errno> {
    let all = distance.checked_mul(to_u64(values.len())).ok_or(Errno::EFAULT)?;
    check(address, all)?;
    for (at, value) in (0..).map(|at| address + at * distance).zip(values) {
        // SAFETY: the place lies below the end of guest memory, where nothing of Rust's is; if it cannot be written,
        // the process ends.
        unsafe {
            asm!(
                "mov word ptr [{at}], {value:x}",
                at = in(reg) at,
                value = in(reg) value,
                options(nostack, preserves_flags),
            );
        }
    }
    Ok(())
}

/// `EFAULT` for bytes that are not all the guest's.
fn check(address: u64, len: u64) -> Result<(), Errno> {
    if address >= GUEST_END || len > GUEST_END - address { Err(Errno::EFAULT) } else { Ok(()) }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// From guest memory to the monitor's.
    Out,
    /// From the monitor's memory to the guest's.
    In,
}

/// One copy by the kernel; the number of bytes that were copied.
///
/// The caller's slice is borrowed for the call's length, mutably where the
/// kernel writes it.
fn transfer(way: Way, ours: *mut u8, guests: u64, len: u64) -> Result<u64, Errno> {
    check(guests, len)?;
    if len == 0 {
        return Ok(0);
    }
    let ours = IoVec { base: to_u64(ours.addr()), len };
    let guests = IoVec { base: guests, len };
    // SAFETY: one vector names the caller's slice, with its length, which outlives
    // the call; the other one names guest memory, which holds nothing of Rust's.
    // Both vectors live on this stack until the call returns.
    unsafe { copy(way, std::slice::from_ref(&guests), &ours) }
}

/// Has the kernel copy between guest memory and memory of the monitor's.
///
/// The guest's is the one that the kernel sees as the caller's own: it is read and
/// written as by every call of a program's, by the processor's rules. Memory that
/// may only be written can be read so, where asking for another process's memory
/// would be `EFAULT`.
///
/// # Safety
///
/// `guests` must name guest memory, and `ours` memory that can be read, or written
/// if the way is out, until this returns.
unsafe fn copy(way: Way, guests: &[IoVec], ours: &IoVec) -> Result<u64, Errno> {
    let call = match way {
        Way::Out => libc::SYS_process_vm_writev,
        Way::In => libc::SYS_process_vm_readv,
    };
    // Not the process's number: the kernel finds no memory by it once the first
    // thread has ended and others run on.
    let own = u64::from(OWN.get().unwrap_or_else(process::thread_id));
    let (local, count) = (to_u64(guests.as_ptr().addr()), to_u64(guests.len()));
    let remote = to_u64((&raw const *ours).addr());
    // SAFETY: the caller's obligation.
    unsafe { host_call::raw(call, [own, local, count, remote, 1, 0]) }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{Window, read, read_bytes, read_certain_string, read_string, write};
    use crate::guest_memory::{GUEST_END, GuestMemory, GuestSpan, PAGE};

    fn two_pages(at: u64) -> (GuestMemory, GuestSpan) {
        let memory = GuestMemory::claim().unwrap();
        let span = GuestSpan::new(at, 2 * PAGE).unwrap();
        memory.map(span, 3, 0x22, None, 0).unwrap();
        (memory, span)
    }

    #[test]
    fn a_value_survives_guest_memory() {
        let (_memory, span) = two_pages(0x10_0000);

        write(span.start() + 5, &0x1234_5678_u32).unwrap();

        assert_eq!(read::<u32>(span.start() + 5), Ok(0x1234_5678));
    }

    #[test]
    fn memory_that_is_not_mapped_is_efault_and_not_the_end() {
        let (memory, span) = two_pages(0x20_0000);
        memory.unmap(GuestSpan::new(span.start() + PAGE, PAGE).unwrap()).unwrap();

        let result = read::<u64>(span.start() + PAGE - 4);

        assert_eq!(result, Err(Errno::EFAULT));
    }

    #[test]
    fn the_monitors_memory_cannot_be_named() {
        let secret = [7_u8; 16];
        let address = crate::host_call::to_u64(secret.as_ptr().addr());

        let mut copy = [0; 16];

        assert_eq!(read_bytes(address, &mut copy), Err(Errno::EFAULT));
        assert_eq!(read_bytes(GUEST_END - 8, &mut copy), Err(Errno::EFAULT));
        assert_eq!(copy, [0; 16]);
    }

    #[test]
    fn a_string_may_end_with_the_last_mapped_byte() {
        let (memory, span) = two_pages(0x30_0000);
        memory.unmap(GuestSpan::new(span.start() + PAGE, PAGE).unwrap()).unwrap();
        write(span.start() + PAGE - 3, b"ab\0").unwrap();

        assert_eq!(read_string(span.start() + PAGE - 3, 4096), Ok(b"ab".to_vec()));
    }

    #[test]
    fn what_lies_across_pages_is_read_as_one() {
        let (_memory, span) = two_pages(0x60_0000);
        let middle = span.start() + PAGE;
        write(middle - 3, &0x1122_3344_5566_7788_u64).unwrap();
        super::write_bytes(middle - 9, b"a long\0").unwrap();
        let mut window = Window::default();

        assert_eq!(window.read_string(middle - 9, 4096), Ok(b"a long".to_vec()));
        assert_eq!(window.read_string(middle - 7, 4096), Ok(b"long".to_vec()));
        assert_eq!(window.read_string(middle - 7, 4), Err(Errno::ENAMETOOLONG));
        assert_eq!(window.read_word(middle - 2), Ok(0x11_2233_4455_6677));
    }

    #[test]
    fn a_word_that_is_half_there_faults() {
        let (memory, span) = two_pages(0x70_0000);
        memory.unmap(GuestSpan::new(span.start() + PAGE, PAGE).unwrap()).unwrap();
        let mut window = Window::default();

        assert_eq!(window.read_word(span.start() + PAGE - 8), Ok(0));
        assert_eq!(window.read_word(span.start() + PAGE - 4), Err(Errno::EFAULT));
        assert_eq!(window.read_word(span.start() + PAGE), Err(Errno::EFAULT));
        assert_eq!(window.read_word(u64::MAX), Err(Errno::EFAULT));
        assert_eq!(window.read_word(span.start()), Ok(0), "after a fault");
    }

    #[test]
    fn memory_that_is_certain_is_read_up_to_its_end_and_no_further() {
        let (memory, span) = two_pages(0x50_0000);
        memory.unmap(GuestSpan::new(span.start() + PAGE, PAGE).unwrap()).unwrap();
        let long = vec![b'x'; 200];
        let at = span.start() + PAGE - 201;
        super::write_bytes(at, &long).unwrap();

        assert_eq!(read_certain_string(at, 201), Some(long));
        assert_eq!(read_certain_string(at, 200), None, "the NUL is not among them");
        assert_eq!(read_certain_string(at + 200, 1), Some(Vec::new()));
        assert_eq!(read_certain_string(at, 0), None);
        assert_eq!(read_certain_string(GUEST_END - 1, 2), None);
        assert_eq!(read_certain_string(u64::MAX, 2), None);
    }

    #[test]
    fn a_string_without_end_is_too_long_or_faults() {
        let (memory, span) = two_pages(0x40_0000);
        for at in 0..2 * PAGE {
            write(span.start() + at, b"x").unwrap();
        }

        assert_eq!(read_string(span.start(), 4096), Err(Errno::ENAMETOOLONG));
        memory.unmap(GuestSpan::new(span.start() + PAGE, PAGE).unwrap()).unwrap();
        assert_eq!(read_string(span.start(), 8192), Err(Errno::EFAULT));
    }
}
