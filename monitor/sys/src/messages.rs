//! `sendmsg(2)` and `recvmsg(2)`: a header full of pointers, each checked on a
//! copy. Control data is copied too, since it may carry descriptors, and the
//! monitor's must not travel.

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    abi::number,
    forward::{NO_DESCRIPTOR, OwnVector, check_descriptor, own_or_nowhere, stand_in},
    guest_copy,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, to_u64},
};

/// The most control data the kernel could take (`optmem_max`), in bytes.
const CONTROL_MAX: u64 = 1 << 20;
/// `SOL_SOCKET`.
const SOL_SOCKET: u32 = 1;
/// `SOL_RDS`.
const SOL_RDS: u32 = 276;
/// `SCM_RIGHTS`.
const SCM_RIGHTS: u32 = 1;
/// `sizeof(struct cmsghdr)`.
const CONTROL_HEADER: usize = 16;

/// `struct msghdr`, as the guest lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct Header {
    name: u64,
    name_len: u32,
    padding: u32,
    vector: u64,
    vector_len: u64,
    control: u64,
    control_len: u64,
    flags: u32,
    padding_end: u32,
}

/// A checked copy of a header, and what it points to of ours.
struct Checked {
    header: Header,
    _vector: OwnVector,
    control: Vec<u64>,
}

/// Sends the message whose header is at `address`.
pub fn send(
    _memory: &GuestMemory,
    socket: u64,
    address: u64,
    flags: u64,
) -> Result<Outcome, Errno> {
    check_descriptor(socket)?;
    let Ok(header) = guest_copy::read(address) else {
        return Ok(without_header(number::SENDMSG, socket, flags));
    };
    let mut message = check(header);
    match copy_control(&message.header) {
        Ok(control) if control.is_empty() => {}
        Ok(control) => {
            message.header.control = to_u64(control.as_ptr().addr());
            message.control = control;
        }
        // The host says so, once it has looked at all that comes before.
        Err(_) => message.header.control = stand_in(message.header.control),
    }
    let header = to_u64((&raw const message.header).addr());
    let args = [socket, header, flags, 0, 0, 0];
    // SAFETY: the header is our copy. Its name is guest memory of at most 4 GiB, or
    // nobody's; its vector and control data are copies that live in `message`, or
    // nobody's, and so are the vector's elements, or they lie in guest memory.
    Ok(unsafe { host_call::interruptible(number::SENDMSG, &args) })
}

/// Receives a message into what the header at `address` points to.
pub fn receive(
    _memory: &GuestMemory,
    socket: u64,
    address: u64,
    flags: u64,
) -> Result<Outcome, Errno> {
    check_descriptor(socket)?;
    let Ok(header) = guest_copy::read(address) else {
        return Ok(without_header(number::RECVMSG, socket, flags));
    };
    let message = check(header);
    let mut header = message.header;
    header.control = own_or_nowhere(header.control, header.control_len);
    let args = [socket, to_u64((&raw mut header).addr()), flags, 0, 0, 0];
    // SAFETY: the header is our copy, on this stack. Name and control data go to
    // guest memory, checked with their lengths, or nowhere; the vector is a copy
    // that lives in `message`, whose elements do, too.
    let outcome = unsafe { host_call::interruptible(number::RECVMSG, &args) };
    if matches!(outcome, Outcome::Returned(0..)) {
        // The kernel writes these three fields back.
        guest_copy::write(address + 8, &header.name_len)?;
        guest_copy::write(address + 40, &header.control_len)?;
        guest_copy::write(address + 48, &header.flags)?;
    }
    Ok(outcome)
}

/// What the host says of sending or receiving several messages, of which there is none, with this time limit.
pub fn of_none(
    _memory: &GuestMemory,
    call: usize,
    socket: u64,
    flags: u64,
    timeout: u64,
) -> Result<Outcome, Errno> {
    check_descriptor(socket)?;
    let timeout = if timeout == 0 { 0 } else { own_or_nowhere(timeout, 16) };
    let args = [socket, stand_in(0), 0, flags, timeout, 0];
    // SAFETY: there is nothing at the list's address, nor is it read; the time is the guest's, or nobody's, and the
    // socket is not the monitor's.
    Ok(unsafe { host_call::interruptible(call, &args) })
}

/// What the host would see of a message that is sent: the words of its header, the elements of its vector, and
/// its control data. For fuzz targets.
#[cfg(fuzzing)]
pub fn as_sent(address: u64) -> Result<([u64; 7], Vec<crate::forward::IoVec>, Vec<u64>), Errno> {
    let message = check(guest_copy::read(address)?);
    let control = copy_control(&message.header)?;
    let mut words = [0; 7];
    words.as_mut_bytes().copy_from_slice(message.header.as_bytes());
    Ok((words, message._vector.into_elements(), control))
}

/// What the host says of a header that cannot be read.
fn without_header(call: usize, socket: u64, flags: u64) -> Outcome {
    // SAFETY: there is nothing at the header's address, and the socket is not the
    // monitor's.
    unsafe { host_call::interruptible(call, &[socket, stand_in(0), flags, 0, 0, 0]) }
}

/// Replaces the vector by a checked copy, and what is not the guest's by what is nobody's.
fn check(mut header: Header) -> Checked {
    if header.name != 0 {
        header.name = own_or_nowhere(header.name, u64::from(header.name_len));
    }
    let vector = OwnVector::copy(header.vector, header.vector_len);
    header.vector = vector.place();
    Checked { header, _vector: vector, control: Vec::new() }
}

/// Copies control data to be sent, aligned as its headers are, and looks for
/// descriptors of the monitor's.
fn copy_control(header: &Header) -> Result<Vec<u64>, Errno> {
    if header.control == 0 || header.control_len == 0 {
        return Ok(Vec::new());
    }
    if header.control_len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let len = usize::try_from(header.control_len).expect("at most 1 MiB");
    let mut words = vec![0_u64; len.div_ceil(8)];
    let bytes = &mut words.as_mut_bytes()[..len];
    guest_copy::read_bytes(header.control, bytes)?;
    take_out_ours(bytes);
    Ok(words)
}

/// Puts a number that no process can have in place of each descriptor of the monitor's that is to be passed on, and
/// a level that no socket knows in place of one whose data are addresses.
fn take_out_ours(mut bytes: &mut [u8]) {
    while bytes.len() >= CONTROL_HEADER {
        let field =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
        if len < CONTROL_HEADER {
            return;
        }
        if field(8) == SOL_RDS {
            // Its messages name memory that the kernel keeps; it does not look at those of other levels.
            bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        } else if field(8) == SOL_SOCKET && field(12) == SCM_RIGHTS {
            for descriptor in bytes[CONTROL_HEADER..len].as_chunks_mut().0 {
                if check_descriptor(u64::from(u32::from_le_bytes(*descriptor))).is_err() {
                    *descriptor = NO_DESCRIPTOR.to_le_bytes();
                }
            }
        }
        bytes = bytes.get_mut(len.next_multiple_of(8)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::{NO_DESCRIPTOR, take_out_ours};
    use crate::descriptors;

    fn rights(descriptors: &[i32]) -> Vec<u8> {
        let len = u64::try_from(16 + 4 * descriptors.len()).unwrap();
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend([1, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend(descriptors.iter().flat_map(|descriptor| descriptor.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn the_monitors_descriptors_do_not_travel() {
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let of_two = |first: &[i32], second: &[i32]| [rights(first), rights(second)].concat();
        let cases = [
            (rights(&[0, 1, 2]), rights(&[0, 1, 2])),
            (rights(&[hidden.as_raw_fd()]), rights(&[NO_DESCRIPTOR])),
            (of_two(&[0], &[1, hidden.as_raw_fd(), 2]), of_two(&[0], &[1, NO_DESCRIPTOR, 2])),
        ];

        for (mut data, expected) in cases {
            take_out_ours(&mut data);

            assert_eq!(data, expected);
        }
    }

    #[test]
    fn damaged_control_data_is_the_kernels_to_refuse() {
        for data in [&[0; 16][..], &[0xff; 40], &[1; 7]] {
            let mut copy = data.to_vec();

            take_out_ours(&mut copy);

            assert_eq!(copy, data);
        }
    }
}
