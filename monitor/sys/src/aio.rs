//! Linux's asynchronous input and output: `io_submit(2)` and its kin.
//!
//! The kernel knows a request by the address of its control block and gives that
//! address back with the event. It follows the block's pointers while it takes
//! the request, so it gets a checked copy, and the guest's address is put back
//! into the event. A buffer's pages, not its address, are what the kernel keeps.
//!
//! # Locks
//!
//! A context's lists are never held while a call is made on the host.

use std::{
    cell::UnsafeCell,
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    abi::number,
    forward::{self, IoVec},
    guest_copy,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, to_u64},
};

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;
/// `IOCB_FLAG_RESFD`: completion is told to an eventfd.
const RESULT_DESCRIPTOR: u32 = 1;
/// Where `aio_key` lies in a control block; the kernel sets it to 0.
const KEY_AT: u64 = 8;
/// One call returns at most as many events: Linux's usual limit of the whole
/// system (`/proc/sys/fs/aio-max-nr`).
const EVENTS_MAX: u64 = 1 << 16;

/// `struct iocb`, as the guest lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
struct Block {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: u16,
    descriptor: u32,
    buffer: u64,
    len: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    result_descriptor: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
struct Event {
    data: u64,
    block: u64,
    result: u64,
    result2: u64,
}

/// A request the kernel has taken, found by its copy's address.
#[derive(Debug)]
struct Request {
    /// Kept so that no other request gets this address before the event came.
    _copy: Box<UnsafeCell<Block>>,
    /// The guest's control block.
    guest: u64,
}

/// A context of the kernel's, and the requests that were submitted to it.
#[derive(Debug)]
pub struct Context {
    host: u64,
    requests: Mutex<BTreeMap<u64, Request>>,
    /// Events that the guest had no memory for; the next who asks gets them.
    untold: Mutex<VecDeque<Event>>,
}

impl Context {
    /// `io_setup(2)`. The kernel maps the context's ring where the monitor's own
    /// mappings are, out of the guest's reach.
    pub fn new(events: u64) -> Result<Self, Errno> {
        let mut host = 0_u64;
        let place = to_u64((&raw mut host).addr());
        // SAFETY: the kernel writes one word, into `host`. Where it maps its ring
        // there was nothing before.
        unsafe { host_call::raw(libc::SYS_io_setup, [events, place, 0, 0, 0, 0]) }?;
        Ok(Self { host, requests: Mutex::default(), untold: Mutex::default() })
    }

    /// `io_destroy(2)`: waits for what the kernel still works on.
    pub fn destroy(&self) -> Result<(), Errno> {
        // SAFETY: the ring that is unmapped is the context's; nothing of Rust's
        // looks at it.
        unsafe { host_call::raw(libc::SYS_io_destroy, [self.host, 0, 0, 0, 0, 0]) }.map(|_| ())
    }

    /// Submits the request whose control block is at `address`. The outcome is
    /// that of an `io_submit(2)` with one block.
    pub fn submit(&self, _memory: &GuestMemory, address: u64) -> Result<Outcome, Errno> {
        let mut block = guest_copy::read::<Block>(address)?;
        check_descriptors(&block)?;
        guest_copy::write(address + KEY_AT, &0_u32)?;
        let vector = check_buffer(&mut block)?;
        let copy = Box::new(UnsafeCell::new(block));
        let key = to_u64(copy.get().addr());
        // Before the call: another thread may get the event before it returns.
        self.requests().insert(key, Request { _copy: copy, guest: address });
        let list = [key];
        let args = [self.host, 1, to_u64(list.as_ptr().addr()), 0, 0, 0];
        // SAFETY: the block is our copy, which stays until its event was seen; the
        // kernel writes its key. Its buffer is the guest's, or a vector of ours
        // that lives until the call returns, with elements of the guest's. Its
        // descriptors are not the monitor's.
        let outcome = unsafe { host_call::interruptible(number::IO_SUBMIT, &args) };
        drop(vector);
        if outcome != Outcome::Returned(1) {
            self.requests().remove(&key);
        }
        Ok(outcome)
    }

    /// `io_cancel(2)` of the guest's block at `address`.
    pub fn cancel(&self, address: u64) -> Result<Outcome, Errno> {
        let requests = self.requests();
        let found = requests.iter().find(|(_, request)| request.guest == address);
        let key = *found.ok_or(Errno::EINVAL)?.0;
        drop(requests);
        // SAFETY: the kernel compares the address; were the event seen meanwhile,
        // and the copy gone, it reads the key there and answers EFAULT.
        Ok(unsafe { host_call::interruptible(number::IO_CANCEL, &[self.host, key, 0, 0, 0, 0]) })
    }

    /// `io_pgetevents(2)`: waits for `min` to `max` events with another mask and
    /// writes them to the guest's `buffer`.
    pub fn events(
        &self,
        _memory: &GuestMemory,
        min: u64,
        max: u64,
        buffer: u64,
        timeout: u64,
        mask: Option<u64>,
    ) -> Result<Outcome, Errno> {
        forward::check_pointer(timeout, 16)?;
        if max.cast_signed() < 0 || min > max {
            return Err(Errno::EINVAL);
        }
        let max = usize::try_from(max.min(EVENTS_MAX)).expect("at most 65536");
        let min = usize::try_from(min.min(EVENTS_MAX)).expect("at most 65536");
        let mut told = self.take_untold(max);
        let (min, max) = (min.saturating_sub(told.len()), max - told.len());
        let outcome = self.wait(min, max, timeout, mask, &mut told);
        if told.is_empty() {
            return Ok(outcome);
        }
        if let Err(errno) = guest_copy::write_bytes(buffer, told.as_bytes()) {
            self.untold().extend(told);
            return Err(errno);
        }
        Ok(Outcome::Returned(i64::try_from(told.len()).expect("at most 65536")))
    }

    /// Waits for `min` to `max` events, and adds them to `told` with the guest's own
    /// blocks in them.
    fn wait(
        &self,
        min: usize,
        max: usize,
        timeout: u64,
        mask: Option<u64>,
        told: &mut Vec<Event>,
    ) -> Outcome {
        let mut events = vec![[0_u64; 4]; max];
        let place = to_u64(events.as_mut_ptr().addr());
        let mask_at = mask.as_ref().map_or(0, |mask| to_u64((&raw const *mask).addr()));
        let masked = [mask_at, 8];
        let masked_at = to_u64(masked.as_ptr().addr());
        let args = [self.host, to_u64(min), to_u64(max), place, timeout, masked_at];
        // SAFETY: at most `max` events are written, which `events` has room for.
        // The time limit is the guest's, the mask lives on this stack.
        let outcome = unsafe { host_call::interruptible(number::IO_PGETEVENTS, &args) };
        if let Outcome::Returned(count @ 1..) = outcome {
            events.truncate(usize::try_from(count).expect("positive"));
            let mut requests = self.requests();
            told.extend(events.iter().map(|&[data, block, result, result2]| {
                let block = requests.remove(&block).map_or(0, |request| request.guest);
                Event { data, block, result, result2 }
            }));
        }
        outcome
    }

    fn take_untold(&self, max: usize) -> Vec<Event> {
        let mut untold = self.untold();
        let count = untold.len().min(max);
        untold.drain(..count).collect()
    }

    fn untold(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<u64, Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The monitor's descriptors are not open.
fn check_descriptors(block: &Block) -> Result<(), Errno> {
    forward::check_open(u64::from(block.descriptor))?;
    if block.flags & RESULT_DESCRIPTOR != 0 {
        forward::check_descriptor(u64::from(block.result_descriptor))?;
    }
    Ok(())
}

/// Checks where a control block's bytes are. A vector is copied, and named instead.
fn check_buffer(block: &mut Block) -> Result<Vec<IoVec>, Errno> {
    let mut vector = Vec::new();
    match block.opcode {
        PREAD | PWRITE => block.buffer = forward::own_or_unmapped(block.buffer, block.len)?,
        PREADV | PWRITEV => {
            vector = forward::copy_vector(block.buffer, block.len)?;
            block.buffer = to_u64(vector.as_ptr().addr());
        }
        // Events to wait for, or nothing.
        POLL | FSYNC | FDSYNC => (),
        // What is unknown here shall find no pointer.
        _ => (block.buffer, block.len) = (0, 0),
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use nix::errno::Errno;
    use zerocopy::FromZeros;

    use super::{Block, PREAD, PREADV, RESULT_DESCRIPTOR, check_buffer, check_descriptors};
    use crate::{
        descriptors,
        guest_memory::{GUEST_END, GUEST_START},
    };

    fn block(file: &File) -> Block {
        let descriptor = file.as_raw_fd().unsigned_abs();
        Block { opcode: PREAD, descriptor, len: 16, buffer: 0x10_0000, ..Block::new_zeroed() }
    }

    #[test]
    fn a_buffer_outside_guest_memory_is_not_named_to_the_kernel() {
        let file = File::open("/dev/null").unwrap();
        let mut outside = Block { buffer: GUEST_END - 8, ..block(&file) };

        assert_eq!(check_buffer(&mut outside).map(|_| outside.buffer), Ok(GUEST_START / 2 + 4088));

        for opcode in [4, 6, 9, u16::MAX] {
            let mut unknown = Block { opcode, buffer: GUEST_END, ..block(&file) };
            assert_eq!(check_buffer(&mut unknown).map(|_| unknown.buffer), Ok(0), "{opcode}");
        }
        let mut list = Block { opcode: PREADV, buffer: GUEST_END, len: 1, ..block(&file) };
        assert_eq!(check_buffer(&mut list).map(|_| ()), Err(Errno::EFAULT));
    }

    #[test]
    fn the_monitors_descriptors_are_not_open() {
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = hidden.as_raw_fd().unsigned_abs();
        let file = File::open("/dev/null").unwrap();
        let read = Block { descriptor: number, ..block(&file) };
        let told = Block { flags: RESULT_DESCRIPTOR, result_descriptor: number, ..block(&file) };

        assert_eq!(check_descriptors(&read), Err(Errno::EBADF));
        assert_eq!(check_descriptors(&told), Err(Errno::EBADF));
    }
}
