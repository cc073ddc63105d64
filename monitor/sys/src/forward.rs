//! The gate's last step: a guest's call is made on the host, with the guest's
//! own pointers, once each argument was checked against the call's row.
//!
//! Guest addresses are host addresses, so there is nothing to translate: a
//! pointer is good if all it names lies below the end of guest memory. Null and
//! unmapped addresses pass, and get the kernel's own `EFAULT`. In place of a
//! pointer that is not good the kernel is given one at which nobody has anything:
//! so it is the kernel that says which of a call's faults counts, as for every
//! program. Vectors of pointers are copied first, and the copy is checked and
//! passed on, since the guest could change the original in between.

use nix::errno::Errno;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

#[cfg(fuzzing)]
use crate::abi;
use crate::{
    abi::{Arg, Forwardable},
    descriptors, guest_copy,
    guest_memory::{GUEST_END, GUEST_START, GuestMemory, PAGE},
    host_call::{self, Outcome, to_u64},
};

/// The end of a program's addresses on Linux.
const TASK_SIZE: u64 = (1 << 47) - PAGE;

/// In the last page of its memory a guest has nothing.
const LAST_PAGE: u64 = GUEST_END - PAGE;

/// What the kernel reads or writes at once, at most: `INT_MAX`, or `MAX_RW_COUNT`, which is less.
const MOST: u64 = 0x7fff_ffff;

/// More elements than any call takes whose count is no `int`.
const ELEMENTS_MAX: u64 = 1 << 20;

/// Two pages from here on nobody can map: they lie below the guest's memory, and are not null.
const UNMAPPED: u64 = GUEST_START / 2;

/// An address that no program can have.
const NOWHERE: u64 = 1 << 63;

/// A descriptor that no process can have, as [`RLIMIT_NOFILE`](libc::RLIMIT_NOFILE) is less.
pub(crate) const NO_DESCRIPTOR: i32 = i32::MAX;

/// `UIO_MAXIOV`: the most elements a vector may have.
const VECTOR_MAX: u64 = 1024;

/// `struct iovec`, as the guest lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct IoVec {
    /// Where the bytes are.
    pub base: u64,
    /// How many there are.
    pub len: u64,
}

/// Makes `call` on the host for the guest.
///
/// The memory is a token: with it, nothing of ours lies below its end.
pub fn forward(_memory: &GuestMemory, call: Forwardable, args: [u64; 6]) -> Result<Outcome, Errno> {
    let row = call.call();
    let (host, vector) = for_host(row.args, args, None)?;
    // SAFETY: every pointer the call follows is declared in its row (that is what
    // `Forwardable` claims), and names guest memory now, where nothing of Rust's
    // lies, or nothing that is mapped, or is the checked copy of a vector, which
    // lives until this function returns. The row also claims that the kernel has
    // forgotten the pointers by then, and that no number disturbs the monitor.
    let outcome = unsafe { host_call::interruptible(row.number, &host) };
    drop(vector);
    Ok(outcome)
}

/// What the host would see of a call that is forwarded: its arguments, and the elements of its vector. For fuzz
/// targets.
#[cfg(fuzzing)]
pub fn as_made(call: &abi::Call, args: [u64; 6]) -> Result<([u64; 6], Vec<IoVec>), Errno> {
    for_host(call.args, args, None).map(|(host, vector)| (host, vector.elements))
}

/// The arguments that the host gets in place of a guest's, and the copy of a vector that one of
/// them may point to. The argument `ours`, if there is one, is the caller's affair.
///
/// `EFAULT` for a pointer that the row does not explain.
pub(crate) fn for_host(
    kinds: &[Arg],
    args: [u64; 6],
    ours: Option<usize>,
) -> Result<([u64; 6], OwnVector), Errno> {
    let mut host = args;
    let mut vector = OwnVector::default();
    for (at, kind) in kinds.iter().enumerate().filter(|&(at, _)| Some(at) != ours) {
        let count = |k: usize| match kinds.get(k) {
            Some(Arg::Word) => args[k] & 0xffff_ffff,
            Some(Arg::Most) => args[k].min(MOST),
            _ => args[k],
        };
        let length = match *kind {
            Arg::Int | Arg::Word | Arg::Most | Arg::Hex => continue,
            Arg::Fd => {
                host[at] = check_descriptor(args[at])
                    .map_or(u64::from(NO_DESCRIPTOR.unsigned_abs()), |()| args[at]);
                continue;
            }
            Arg::Span(k) => {
                [host[at], host[k]] = own_span(args[at], args[k]);
                continue;
            }
            Arg::IovIn(k) | Arg::IovOut(k) => {
                vector = OwnVector::copy(args[at], args[k]);
                host[at] = vector.place();
                continue;
            }
            Arg::Str => 1,
            Arg::Struct(bytes) => bytes,
            Arg::In(k) | Arg::Out(k) => count(k),
            Arg::Array(k, size) => elements(args[k]).saturating_mul(size),
            Arg::Bits(k) => elements(args[k]).div_ceil(64).saturating_mul(8),
            Arg::Opaque => return Err(Errno::EFAULT),
        };
        host[at] = own_or_nowhere(args[at], length);
    }
    Ok((host, vector))
}

/// `close_range(2)` for the descriptors that are not the monitor's.
pub fn close_range(first: u32, last: u32, flags: u64) -> Result<u64, Errno> {
    let mut from = first;
    let close = |first: u32, last: u32| {
        let args = [u64::from(first), u64::from(last), flags, 0, 0, 0];
        // SAFETY: no pointer, and no descriptor of the monitor's in the range.
        unsafe { host_call::raw(libc::SYS_close_range, args) }
    };
    for ours in descriptors::ours_within(first, last) {
        if ours > from {
            close(from, ours - 1)?;
        }
        from = ours + 1;
    }
    if from <= last { close(from, last) } else { Ok(0) }
}

/// A descriptor of the monitor's is not open as far as the guest can tell.
pub fn check_descriptor(argument: u64) -> Result<(), Errno> {
    // The kernel takes descriptors as 32-bit numbers and ignores the rest.
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits");
    if descriptors::is_ours(low.cast_signed()) { Err(Errno::EBADF) } else { Ok(()) }
}

/// `EBADF` if a descriptor is not open, or not the guest's; for calls that take it, `AT_FDCWD` is.
pub fn check_open(argument: u64) -> Result<(), Errno> {
    check_descriptor(argument)?;
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits").cast_signed();
    // SAFETY: `F_GETFD` takes no pointer and changes nothing.
    let open = low == libc::AT_FDCWD || unsafe { libc::fcntl(low, libc::F_GETFD) } >= 0;
    if open { Ok(()) } else { Err(Errno::EBADF) }
}

/// Whether `length` bytes from `address`, and a page more, lie below the end of guest memory, where no guest can
/// map that page: some calls reach a few bytes further than they say, even where they say that there are none.
pub fn check_pointer(address: u64, length: u64) -> Result<(), Errno> {
    let end = address.checked_add(length).and_then(|end| end.checked_add(PAGE));
    if end.is_some_and(|end| end <= GUEST_END) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// An address for a call that reports a bad one late, or for one of many: where
/// `length` bytes are not all the guest's, an address instead at which a guest can
/// have nothing. `EFAULT` where Linux sees at once that no program has it, and for
/// more than a page, which would reach into what the guest has.
pub(crate) fn own_or_unmapped(address: u64, length: u64) -> Result<u64, Errno> {
    if check_pointer(address, length).is_ok() {
        return Ok(address);
    }
    let is_a_programs = address.checked_add(length).is_some_and(|end| end <= TASK_SIZE);
    if is_a_programs && length <= PAGE { Ok(UNMAPPED + address % PAGE) } else { Err(Errno::EFAULT) }
}

/// The same where the host says what is wrong with a bad one.
pub(crate) fn own_or_nowhere(address: u64, length: u64) -> u64 {
    own_or_unmapped(address, length).unwrap_or_else(|_| stand_in(address))
}

/// An address that no program can have, aligned as this one is.
pub(crate) fn stand_in(address: u64) -> u64 {
    NOWHERE + address % PAGE
}

/// A range of the guest's addresses for a call that acts on what is mapped there, or one in which nothing is,
/// as long as it can be without beginning anew at zero.
fn own_span(address: u64, length: u64) -> [u64; 2] {
    if check_pointer(address, length).is_ok() {
        return [address, length];
    }
    let overflows = address.checked_add(length).is_none();
    [stand_in(address), if overflows { length } else { length.min(TASK_SIZE) }]
}

/// A guest's vector as the host shall see it.
#[derive(Debug, Default)]
pub(crate) struct OwnVector {
    /// A copy with such addresses in it; empty if there is none.
    elements: Vec<IoVec>,
    /// Where it was.
    address: u64,
}

impl OwnVector {
    /// Copies a vector. Where not all of it can be read, the kernel gets as far as an element that is too long, if
    /// there is one before that, and nowhere else.
    pub(crate) fn copy(address: u64, count: u64) -> Self {
        Self { elements: own_elements(address, count).unwrap_or_default(), address }
    }

    /// The copy's elements, for fuzz targets.
    #[cfg(fuzzing)]
    pub(crate) fn into_elements(self) -> Vec<IoVec> {
        self.elements
    }

    /// What the host gets in its place: the copy, or an address at which nobody has anything. It is good while
    /// this lives.
    pub(crate) fn place(&self) -> u64 {
        if self.elements.is_empty() {
            stand_in(self.address)
        } else {
            to_u64(self.elements.as_ptr().addr())
        }
    }
}

/// `None` where the kernel would not get as far as the elements.
fn own_elements(address: u64, count: u64) -> Option<Vec<IoVec>> {
    let count = usize::try_from(count).ok().filter(|_| count <= VECTOR_MAX)?;
    let mut vector = vec![IoVec::new_zeroed(); count];
    let read = guest_copy::read_some(address, vector.as_mut_slice().as_mut_bytes()).ok()?;
    let readable = read / size_of::<IoVec>();
    if readable < count {
        let is_too_long = |element: &IoVec| i64::try_from(element.len).is_err();
        vector.get(..readable)?.iter().position(is_too_long)?;
    }
    for element in &mut vector {
        let end = element.base.checked_add(element.len);
        if element.base < LAST_PAGE && end.is_some_and(|end| (LAST_PAGE..=TASK_SIZE).contains(&end))
        {
            // Behind it nothing is mapped.
            element.len = LAST_PAGE - element.base;
        }
        element.base = own_or_nowhere(element.base, element.len);
    }
    Some(vector)
}

/// Copies a guest's vector and checks each of its elements.
pub fn copy_vector(address: u64, count: u64) -> Result<Vec<IoVec>, Errno> {
    if count > VECTOR_MAX {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count).expect("at most 1024");
    let mut vector = guest_copy::read_array::<IoVec>(address, count)?;
    for element in &mut vector {
        if i64::try_from(element.len).is_err() {
            return Err(Errno::EINVAL);
        }
        // What lies before a bad element is read or written all the same.
        element.base = own_or_unmapped(element.base, element.len)?;
    }
    Ok(vector)
}

/// Most counts are C `int`s, of which a negative one never makes the kernel follow a pointer. Of a longer one it
/// takes no more than this.
fn elements(argument: u64) -> u64 {
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits");
    let int = u64::try_from(low.cast_signed()).unwrap_or(0);
    int.max(argument.min(ELEMENTS_MAX))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::{NO_DESCRIPTOR, NOWHERE, UNMAPPED, for_host, forward};
    use crate::{
        abi::{Arg, CALLS, Forwardable},
        descriptors,
        guest_memory::{GUEST_END, GuestMemory, PAGE},
        host_call::Outcome,
    };

    /// Arguments of which the first is an open descriptor, and one is `value`.
    fn args_with(at: usize, value: u64) -> [u64; 6] {
        let mut args = [2, 16, 16, 16, 16, 16];
        args[at] = value;
        args
    }

    #[test]
    fn no_pointer_that_leaves_guest_memory_reaches_the_host() {
        let is_pointer =
            |kind: &Arg| !matches!(kind, Arg::Int | Arg::Word | Arg::Most | Arg::Hex | Arg::Fd);
        let lengths = [0, 1, 64, 5000, 1 << 31, 1 << 32, u64::MAX];
        let outside = [GUEST_END, GUEST_END - 1, 1 << 46, 0x5555_5555_0001, u64::MAX - 4];
        for call in CALLS.iter().filter(|call| call.forwardable) {
            let pointers = call.args.iter().enumerate().filter(|(_, kind)| is_pointer(kind));
            for ((at, _), outside) in pointers.flat_map(|at| outside.map(|outside| (at, outside))) {
                for length in lengths {
                    let mut args = [length; 6];
                    args[at] = outside;

                    let (host, _) = for_host(call.args, args, None).unwrap();

                    let is_harmless = host[at].wrapping_sub(UNMAPPED) < PAGE
                        || host[at].wrapping_sub(NOWHERE) < PAGE;
                    assert!(is_harmless, "{} argument {at}: {:#x}", call.name, host[at]);
                    assert_eq!(host[at] % PAGE, outside % PAGE, "{} is aligned", call.name);
                }
            }
        }
    }

    #[test]
    fn no_descriptor_of_the_monitors_reaches_the_host() {
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = u64::try_from(hidden.as_raw_fd()).unwrap();
        let nobodys = u64::from(NO_DESCRIPTOR.unsigned_abs());
        for call in CALLS.iter().filter(|call| call.forwardable) {
            for (at, _) in call.args.iter().enumerate().filter(|(_, kind)| **kind == Arg::Fd) {
                let args = args_with(at, number | 0xff_0000_0000);

                let (host, _) = for_host(call.args, args, None).unwrap();

                assert_eq!(host[at], nobodys, "{} argument {at}", call.name);
            }
        }
        let memory = GuestMemory::claim().unwrap();
        let closed = forward(&memory, Forwardable::FSYNC, [number, 0, 0, 0, 0, 0]);
        assert_eq!(closed, Ok(Outcome::Returned(-i64::from(libc::EBADF))));
    }

    #[test]
    fn a_null_pointer_gets_the_kernels_own_answer() {
        let memory = GuestMemory::claim().unwrap();
        let null = File::open("/dev/zero").unwrap();
        let descriptor = u64::try_from(null.as_raw_fd()).unwrap();

        let got = forward(&memory, Forwardable::READ, [descriptor, 0, 16, 0, 0, 0]);

        let fault = -i64::from(libc::EFAULT);
        assert_eq!(got, Ok(Outcome::Returned(fault)));
    }
}
