//! `sendmsg(2)` and `recvmsg(2)`: a header full of pointers, each checked on a
//! copy. Control data is copied too, since it may carry descriptors, and the
//! monitor's must not travel.

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    abi::number,
    forward::{IoVec, check_descriptor, check_pointer, copy_vector},
    guest_copy,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, to_u64},
};

/// The most control data the kernel could take (`optmem_max`), in bytes.
const CONTROL_MAX: u64 = 1 << 20;
/// `SOL_SOCKET`.
const SOL_SOCKET: u32 = 1;
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
    _vector: Vec<IoVec>,
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
    let mut message = check(guest_copy::read(address)?)?;
    let control = copy_control(&message.header)?;
    if !control.is_empty() {
        message.header.control = to_u64(control.as_ptr().addr());
    }
    message.control = control;
    let header = to_u64((&raw const message.header).addr());
    let args = [socket, header, flags, 0, 0, 0];
    // SAFETY: the header is our copy. Its name is guest memory of at most 4 GiB,
    // its vector and control data are copies that live in `message`, and the
    // vector's elements were found to lie in guest memory.
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
    let message = check(guest_copy::read(address)?)?;
    check_pointer(message.header.control, message.header.control_len)?;
    let mut header = message.header;
    let args = [socket, to_u64((&raw mut header).addr()), flags, 0, 0, 0];
    // SAFETY: the header is our copy, on this stack. Name and control data go to
    // guest memory, checked with their lengths; the vector is a copy that lives
    // in `message`, with elements in guest memory.
    let outcome = unsafe { host_call::interruptible(number::RECVMSG, &args) };
    if matches!(outcome, Outcome::Returned(0..)) {
        // The kernel writes these three fields back.
        guest_copy::write(address + 8, &header.name_len)?;
        guest_copy::write(address + 40, &header.control_len)?;
        guest_copy::write(address + 48, &header.flags)?;
    }
    Ok(outcome)
}

/// Checks the name and replaces the vector by a checked copy.
fn check(mut header: Header) -> Result<Checked, Errno> {
    if header.name != 0 {
        check_pointer(header.name, u64::from(header.name_len))?;
    }
    if header.vector_len > 1024 {
        return Err(Errno::EMSGSIZE);
    }
    let vector = copy_vector(header.vector, header.vector_len)?;
    header.vector = if vector.is_empty() { 0 } else { to_u64(vector.as_ptr().addr()) };
    Ok(Checked { header, _vector: vector, control: Vec::new() })
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
    check_rights(bytes)?;
    Ok(words)
}

fn check_rights(mut bytes: &[u8]) -> Result<(), Errno> {
    while let Some((head, _)) = bytes.split_at_checked(CONTROL_HEADER) {
        let field =
            |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let len = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
        if len < CONTROL_HEADER {
            return Ok(());
        }
        if field(8) == SOL_SOCKET && field(12) == SCM_RIGHTS {
            for descriptor in bytes[CONTROL_HEADER..len].chunks_exact(4) {
                let descriptor = descriptor.try_into().expect("four bytes");
                check_descriptor(u64::from(u32::from_le_bytes(descriptor)))?;
            }
        }
        bytes = bytes.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use nix::errno::Errno;

    use super::check_rights;
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
        let mut second = rights(&[0]);
        second.extend(rights(&[1, hidden.as_raw_fd()]));

        assert_eq!(check_rights(&rights(&[0, 1, 2])), Ok(()));
        assert_eq!(check_rights(&rights(&[hidden.as_raw_fd()])), Err(Errno::EBADF));
        assert_eq!(check_rights(&second), Err(Errno::EBADF));
    }

    #[test]
    fn damaged_control_data_is_the_kernels_to_refuse() {
        assert_eq!(check_rights(&[0; 16]), Ok(()));
        assert_eq!(check_rights(&[0xff; 40]), Ok(()));
        assert_eq!(check_rights(&[1; 7]), Ok(()));
    }
}
