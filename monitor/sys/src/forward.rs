//! The gate's last step: a guest's call is made on the host, with the guest's
//! own pointers, once each argument was checked against the call's row.
//!
//! Guest addresses are host addresses, so there is nothing to translate: a
//! pointer is good if all it names lies below the end of guest memory. Null and
//! unmapped addresses pass, and get the kernel's own `EFAULT`. Vectors of
//! pointers are copied first, and the copy is checked and passed on, since the
//! guest could change the original in between.

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    abi::{Arg, Forwardable},
    descriptors, guest_copy,
    guest_memory::{GUEST_END, GuestMemory, PAGE},
    host_call::{self, Outcome, to_u64},
};

/// The end of a program's addresses on Linux.
const TASK_SIZE: u64 = (1 << 47) - PAGE;

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
/// An error means that the call was not made: an argument is not the guest's to
/// use. The memory is a token: with it, nothing of ours lies below its end.
pub fn forward(memory: &GuestMemory, call: Forwardable, args: [u64; 6]) -> Result<Outcome, Errno> {
    let result = check_and_make(memory, call, args);
    if result.is_err() && call.call().args.first() == Some(&Arg::Fd) {
        // Linux looks at the descriptor before it looks at a pointer.
        check_open(args[0])?;
    }
    result
}

fn check_and_make(
    _memory: &GuestMemory,
    call: Forwardable,
    args: [u64; 6],
) -> Result<Outcome, Errno> {
    let row = call.call();
    let mut host = args;
    let mut vector = Vec::new();
    for (at, kind) in row.args.iter().enumerate() {
        if let Arg::IovIn(count) | Arg::IovOut(count) = *kind {
            vector = copy_vector(args[at], args[count])?;
            if !vector.is_empty() {
                host[at] = to_u64(vector.as_ptr().addr());
            }
        } else {
            check(*kind, at, &args)?;
        }
    }
    // SAFETY: every pointer the call follows is declared in its row (that is what
    // `Forwardable` claims), and was found above to name guest memory, where
    // nothing of Rust's lies, or is the checked copy of a vector, which lives
    // until this function returns. The row also claims that the kernel has
    // forgotten the pointers by then, and that no number disturbs the monitor.
    let outcome = unsafe { host_call::interruptible(row.number, &host) };
    drop(vector);
    Ok(outcome)
}

/// `pselect6(2)`, whose last argument points to a pointer to a mask.
pub fn pselect(_memory: &GuestMemory, args: [u64; 6], mask: Option<u64>) -> Result<Outcome, Errno> {
    const SETS: [Arg; 5] = [Arg::Int, Arg::Bits(0), Arg::Bits(0), Arg::Bits(0), Arg::Struct(16)];
    for (at, kind) in SETS.into_iter().enumerate() {
        check(kind, at, &args)?;
    }
    let mask_at = mask.as_ref().map_or(0, |mask| to_u64((&raw const *mask).addr()));
    let masked = [mask_at, 8];
    let mut host = args;
    host[5] = to_u64(masked.as_ptr().addr());
    // SAFETY: the sets and the time were checked to be the guest's; the mask and
    // what points to it live on this stack until the call returns.
    Ok(unsafe { host_call::interruptible(crate::abi::number::PSELECT6, &host) })
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

/// Checks one argument that is not a vector.
pub(crate) fn check(kind: Arg, at: usize, args: &[u64; 6]) -> Result<(), Errno> {
    let length = match kind {
        Arg::Int | Arg::Hex => return Ok(()),
        Arg::Fd => return check_descriptor(args[at]),
        Arg::Str => 1,
        Arg::Struct(bytes) => bytes,
        Arg::In(count) | Arg::Out(count) | Arg::Span(count) => args[count],
        Arg::Array(count, size) => truncate_to_int(args[count]).saturating_mul(size),
        Arg::Bits(count) => truncate_to_int(args[count]).div_ceil(64).saturating_mul(8),
        Arg::IovIn(_) | Arg::IovOut(_) | Arg::Opaque => return Err(Errno::EFAULT),
    };
    check_pointer(args[at], length)
}

/// A descriptor of the monitor's is not open as far as the guest can tell.
pub fn check_descriptor(argument: u64) -> Result<(), Errno> {
    // The kernel takes descriptors as 32-bit numbers and ignores the rest.
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits");
    if descriptors::is_ours(low.cast_signed()) { Err(Errno::EBADF) } else { Ok(()) }
}

/// `EBADF` if a descriptor is not open, or not the guest's; `AT_FDCWD` is.
pub(crate) fn check_open(argument: u64) -> Result<(), Errno> {
    check_descriptor(argument)?;
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits").cast_signed();
    // SAFETY: `F_GETFD` takes no pointer and changes nothing.
    let open = low == libc::AT_FDCWD || unsafe { libc::fcntl(low, libc::F_GETFD) } >= 0;
    if open { Ok(()) } else { Err(Errno::EBADF) }
}

/// Whether `length` bytes from `address` lie below the end of guest memory. No
/// bytes are everybody's: the kernel does not look at them.
pub fn check_pointer(address: u64, length: u64) -> Result<(), Errno> {
    if length == 0 {
        return Ok(());
    }
    let end = address.checked_add(length).ok_or(Errno::EFAULT)?;
    if end <= GUEST_END { Ok(()) } else { Err(Errno::EFAULT) }
}

/// An address for a call that reports a bad one late, or for one of many: where
/// `length` bytes are not all the guest's, an address instead at which a guest can
/// have nothing. `EFAULT` where Linux sees at once that no program has it.
pub(crate) fn own_or_unmapped(address: u64, length: u64) -> Result<u64, Errno> {
    if check_pointer(address, length).is_ok() {
        return Ok(address);
    }
    let end = address.checked_add(length).filter(|&end| end <= TASK_SIZE);
    end.map(|_| address % PAGE).ok_or(Errno::EFAULT)
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

/// Counts are C `int`s; a negative one never makes the kernel follow a pointer.
fn truncate_to_int(argument: u64) -> u64 {
    let low = u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits");
    u64::try_from(low.cast_signed()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use nix::errno::Errno;

    use super::forward;
    use crate::{
        abi::{Arg, CALLS, Forwardable},
        descriptors,
        guest_memory::{GUEST_END, GuestMemory},
        host_call::Outcome,
    };

    /// Arguments of which the first is an open descriptor, and one is `value`.
    fn args_with(at: usize, value: u64) -> [u64; 6] {
        let mut args = [2, 16, 16, 16, 16, 16];
        args[at] = value;
        args
    }

    #[test]
    fn a_pointer_that_leaves_guest_memory_is_efault_for_every_call() {
        let memory = GuestMemory::claim().unwrap();
        for call in CALLS.iter().filter(|call| call.forwardable) {
            let pointers = call.args.iter().enumerate();
            let pointers =
                pointers.filter(|(_, kind)| !matches!(kind, Arg::Int | Arg::Hex | Arg::Fd));
            for (at, _) in pointers {
                for outside in [GUEST_END, 1 << 46, 0x5555_5555_0000, u64::MAX - 4] {
                    let got = forward(&memory, Forwardable(call), args_with(at, outside));

                    assert_eq!(got, Err(Errno::EFAULT), "{} argument {at}", call.name);
                }
            }
        }
    }

    #[test]
    fn the_monitors_descriptors_are_ebadf_for_every_call() {
        let memory = GuestMemory::claim().unwrap();
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = u64::try_from(hidden.as_raw_fd()).unwrap();
        for call in CALLS.iter().filter(|call| call.forwardable) {
            for (at, _) in call.args.iter().enumerate().filter(|(_, kind)| **kind == Arg::Fd) {
                let mut args = args_with(at, number | 0xff_0000_0000);
                args.iter_mut().skip(at + 1).for_each(|argument| *argument = 0);

                let got = forward(&memory, Forwardable(call), args);

                assert_eq!(got, Err(Errno::EBADF), "{} argument {at}", call.name);
            }
        }
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
