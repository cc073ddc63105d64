//! Calls with pointers behind pointers: what holds the inner ones is copied once,
//! checked, and the copy is what the kernel sees.
//!
//! An inner address that is not the guest's becomes one at which a guest can have
//! nothing, so that the kernel itself says what that means to this call.

use std::{ops::RangeInclusive, os::fd::AsRawFd};

use nix::errno::Errno;

use crate::{
    abi::{Forwardable, number},
    descriptors::Scratch,
    forward::{
        NO_DESCRIPTOR, OwnVector, check_descriptor, check_pointer, for_host, own_or_nowhere,
        own_or_unmapped, stand_in,
    },
    guest_copy,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, to_u64},
};

/// `SIGEV_THREAD`: as the kernel has it, a message on a netlink socket.
const NOTIFY_BY_SOCKET: u64 = 2;
/// `FUTEX_WAITV_MAX`: the most futexes of one wait.
const WAITERS_MAX: usize = 128;
/// -1, which is no process.
const NO_PROCESS: u64 = 0xffff_ffff;
/// `ESRCH`, as the host returns it.
const NOT_FOUND: i64 = -(libc::ESRCH as i64);
/// How many pages one call on the host is asked about.
const PAGES_AT_ONCE: u64 = 512;
/// `SIOCGIFCONF`.
pub const SIOCGIFCONF: u64 = 0x8912;
/// In the first page nobody has anything, and unlike null it says that something is meant.
const UNMAPPED: u64 = 1;

/// `AT_EMPTY_PATH`.
const EMPTY_PATH: u64 = 0x1000;

/// The lengths that `struct mount_attr` may have, in bytes.
const MOUNT_ATTRIBUTES: RangeInclusive<usize> = 32..=4096;

/// `struct futex_waitv`: value, address, flags and a reserved half word.
type Waiter = [u64; 3];

/// `mq_notify(2)`. The information may point to a cookie, which the kernel copies.
pub fn mq_notify(_memory: &GuestMemory, queue: u64, event: u64) -> Result<Outcome, Errno> {
    let mut cookie = [0_u64; 4];
    let mut copy = [0_u64; 8];
    if event != 0 {
        copy = guest_copy::read(event)?;
        // The signal's number, or the socket's, and what of the two it is.
        let (number, kind) = (copy[1] & 0xffff_ffff, copy[1] >> 32);
        if kind == NOTIFY_BY_SOCKET {
            cookie = guest_copy::read(copy[0])?;
            copy[0] = to_u64(cookie.as_ptr().addr());
            check_descriptor(number)?;
        }
    }
    check_descriptor(queue)?;
    let event = if event == 0 { 0 } else { to_u64(copy.as_ptr().addr()) };
    // SAFETY: the kernel reads 64 bytes of `copy`, and 32 of `cookie` if `copy`
    // names it; both live on this stack. The descriptors are not the monitor's.
    let outcome =
        unsafe { host_call::interruptible(number::MQ_NOTIFY, &[queue, event, 0, 0, 0, 0]) };
    debug_assert!(copy[0] == 0 || cookie.len() == 4, "both outlive the call");
    Ok(outcome)
}

/// `mount_setattr(2)`, whose structure names the descriptor of a user namespace.
///
/// `file` is what its path leads to, in place of the path.
pub fn mount_setattr(
    _memory: &GuestMemory,
    args: [u64; 6],
    file: Option<&Scratch>,
) -> Result<Outcome, Errno> {
    let row = Forwardable::MOUNT_SETATTR.call();
    let (mut host, _) = for_host(row.args, args, None)?;
    if let Some(file) = file {
        host[0] = u64::from(file.as_raw_fd().unsigned_abs());
        host[1] = to_u64(c"".as_ptr().addr());
        host[2] |= EMPTY_PATH;
    }
    let len = usize::try_from(args[4]).ok().filter(|len| MOUNT_ATTRIBUTES.contains(len));
    let copy = len.and_then(|len| guest_copy::read_array::<u8>(args[3], len).ok());
    let copy = copy.map(|mut copy| {
        let named = u64::from_le_bytes(copy[24..32].try_into().expect("eight bytes"));
        if check_descriptor(named).is_err() {
            copy[24..32].copy_from_slice(&u64::from(NO_DESCRIPTOR.unsigned_abs()).to_le_bytes());
        }
        copy
    });
    if let Some(copy) = &copy {
        host[3] = to_u64(copy.as_ptr().addr());
    }
    // SAFETY: the structure is a copy of ours, as long as is said, which lives until the call returns, or one that
    // the kernel refuses by its length, or the guest's; the other arguments are what the row allows, or name a file
    // that the guest has named.
    Ok(unsafe { host_call::interruptible(row.number, &host) })
}

/// `futex_waitv(2)`.
pub fn futex_waitv(_memory: &GuestMemory, args: [u64; 6]) -> Result<Outcome, Errno> {
    let [list, count, _, timeout, ..] = args;
    let count = usize::try_from(count & 0xffff_ffff).ok().filter(|&count| count <= WAITERS_MAX);
    let waiters = count.and_then(|count| copy_waiters(list, count).ok());
    let mut host = args;
    // Without a list the host finds out what is wrong, and whether that is what counts.
    host[0] = match &waiters {
        _ if list == 0 => 0,
        Some(waiters) if !waiters.is_empty() => to_u64(waiters.as_ptr().addr()),
        _ => stand_in(list),
    };
    host[3] = if timeout == 0 { 0 } else { own_or_nowhere(timeout, 16) };
    // SAFETY: the kernel reads `count` waiters from our copy, which lives until
    // the call returns, or has no list that it could read; their addresses and the time limit are the guest's.
    let outcome = unsafe { host_call::interruptible(number::FUTEX_WAITV, &host) };
    drop(waiters);
    Ok(outcome)
}

/// `futex_requeue(2)`: from the first of two futexes to the second.
pub fn futex_requeue(_memory: &GuestMemory, args: [u64; 6]) -> Result<Outcome, Errno> {
    let mut host = args;
    let waiters = if args[0] == 0 { Vec::new() } else { copy_waiters(args[0], 2)? };
    if !waiters.is_empty() {
        host[0] = to_u64(waiters.as_ptr().addr());
    }
    // SAFETY: the kernel reads null or two waiters from our copy, which lives
    // until the call returns; their addresses are the guest's.
    let outcome = unsafe { host_call::interruptible(number::FUTEX_REQUEUE, &host) };
    drop(waiters);
    Ok(outcome)
}

/// `ioctl(2)` with `SIOCGIFCONF`: the addresses of all interfaces, see netdevice(7).
///
/// `descriptor` is one that [`check_descriptor`] lets pass.
pub fn interface_addresses(
    _memory: &GuestMemory,
    descriptor: u64,
    configuration: u64,
) -> Result<Outcome, Errno> {
    check_descriptor(descriptor)?;
    // Length in bytes in the lower half of the first word, then the list.
    let mut copy: [u64; 2] = guest_copy::read(configuration)?;
    // Nothing is written when the length is negative.
    let room = u64::try_from(low_int(copy[0])).unwrap_or(0);
    if check_pointer(copy[1], room).is_err() {
        copy[1] = UNMAPPED;
    }
    let args = [descriptor, SIOCGIFCONF, to_u64(copy.as_mut_ptr().addr()), 0, 0, 0];
    // SAFETY: a socket's kernel code reads and writes the 16 bytes of `copy`, which live on this
    // stack, and writes the list at an address where there is only the guest's memory or none.
    let outcome = unsafe { host_call::interruptible(number::IOCTL, &args) };
    if matches!(outcome, Outcome::Returned(0)) {
        guest_copy::write(configuration, &low_int(copy[0]))?;
    }
    Ok(outcome)
}

fn low_int(word: u64) -> i32 {
    u32::try_from(word & 0xffff_ffff).expect("masked to 32 bits").cast_signed()
}

fn copy_waiters(list: u64, count: usize) -> Result<Vec<Waiter>, Errno> {
    let mut waiters = guest_copy::read_array::<Waiter>(list, count)?;
    for [_, address, _] in &mut waiters {
        *address = own_or_unmapped(*address, 8).unwrap_or(*address % 8);
    }
    Ok(waiters)
}

/// `move_pages(2)` for the caller's own memory. The list of addresses goes to the
/// kernel in pieces; what it says of a page is the same in any of them.
pub fn move_pages(_memory: &GuestMemory, args: [u64; 6]) -> Result<Outcome, Errno> {
    let [_, count, pages, nodes, status, flags] = args;
    let mut failed = 0;
    let mut done = 0;
    loop {
        let piece = (count - done).min(PAGES_AT_ONCE);
        let at = |list: u64, size: u64| {
            if list == 0 { 0 } else { list.wrapping_add(done.wrapping_mul(size)) }
        };
        let mut list = guest_copy::read_array::<u64>(at(pages, 8), count_of(piece))?;
        for page in &mut list {
            *page = own_or_unmapped(*page, 1).unwrap_or(0);
        }
        let (nodes, status) = (at(nodes, 4), at(status, 4));
        check_pointer(nodes, piece * 4)?;
        check_pointer(status, piece * 4)?;
        let list_at = to_u64(list.as_ptr().addr());
        let host = [0, piece, list_at, nodes, status, flags];
        // SAFETY: the kernel reads `piece` addresses from our copy, which lives
        // until the call returns, and as many numbers from the guest's memory, to
        // which it also writes. Only pages of the guest's are named.
        let outcome = unsafe { host_call::interruptible(number::MOVE_PAGES, &host) };
        drop(list);
        done += piece;
        match outcome {
            Outcome::Returned(more @ 0..) => failed += more,
            Outcome::Returned(_) | Outcome::Rewind => return Ok(outcome),
        }
        if done == count {
            return Ok(Outcome::Returned(failed));
        }
    }
}

/// `process_vm_readv(2)` or `process_vm_writev(2)` on the caller's own memory, by the number of one of its
/// threads; or else what the host says before it looks for a process, and this error if it finds nothing wrong.
pub fn copy_within(
    _memory: &GuestMemory,
    number: usize,
    thread: Result<u32, Errno>,
    args: [u64; 6],
) -> Result<Outcome, Errno> {
    let [_, local, local_count, remote, remote_count, flags] = args;
    let vectors = [(local, local_count), (remote, remote_count)]
        .map(|(address, count)| OwnVector::copy(address, count));
    let [local, remote] = vectors.each_ref().map(OwnVector::place);
    let whose = thread.map_or(NO_PROCESS, u64::from);
    let host = [whose, local, local_count, remote, remote_count, flags];
    // SAFETY: both vectors are our copies, which live until the call returns, or
    // nobody's, and all of their elements are the guest's memory, or nobody's.
    let outcome = unsafe { host_call::interruptible(number, &host) };
    drop(vectors);
    match (outcome, thread) {
        (Outcome::Returned(NOT_FOUND), Err(errno)) => Err(errno),
        _ => Ok(outcome),
    }
}

fn count_of(small: u64) -> usize {
    usize::try_from(small).expect("a checked count")
}
