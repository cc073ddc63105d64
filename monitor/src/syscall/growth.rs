//! Calls that touch memory below a mapping that grows downwards. On Linux the mapping grows when the
//! kernel touches it; here it has grown before the host is asked.

use monitor_sys::{
    abi::{Arg, lookup, number},
    guest_copy,
};

use super::Args;
use crate::memory::AddressSpace;

/// Calls for which an address names a mapping, or a place for a stack that is used later.
const ABOUT_MAPPINGS: [usize; 19] = [
    number::MMAP,
    number::MPROTECT,
    number::MUNMAP,
    number::BRK,
    number::MREMAP,
    number::MSYNC,
    number::MINCORE,
    number::MADVISE,
    number::SHMAT,
    number::SHMDT,
    number::CLONE,
    number::MLOCK,
    number::MUNLOCK,
    number::REMAP_FILE_PAGES,
    number::MBIND,
    number::MLOCK2,
    number::PKEY_MPROTECT,
    number::PROCESS_MADVISE,
    number::MSEAL,
];

/// `UIO_MAXIOV`.
const VECTORS_MAX: u64 = 1024;

/// Lets mappings grow to what the arguments point at, and the vectors they lead to.
pub(super) fn reach(memory: &AddressSpace, number: u64, args: Args) {
    if !memory.has_growing() {
        return;
    }
    let Some(call) = lookup(number).filter(|call| !ABOUT_MAPPINGS.contains(&call.number)) else {
        return;
    };
    // A register that a call does not read as a pointer can hold anything.
    let is_pointer = |kind: &Arg| {
        !matches!(kind, Arg::Int | Arg::Word | Arg::Most | Arg::Hex | Arg::Fd | Arg::Span(_))
    };
    for (address, _) in args.into_iter().zip(call.args).filter(|(_, kind)| is_pointer(kind)) {
        memory.reach(address);
    }
    let (first, count) = match call.number {
        number::READV
        | number::WRITEV
        | number::PREADV
        | number::PWRITEV
        | number::PREADV2
        | number::PWRITEV2
        | number::VMSPLICE => (args[1], args[2]),
        number::SENDMSG | number::RECVMSG => {
            // `struct msghdr`: the name, its length, the vectors, their number.
            let Ok([name, _, first, count]) = guest_copy::read::<[u64; 4]>(args[1]) else { return };
            memory.reach(name);
            memory.reach(first);
            (first, count)
        }
        _ => return,
    };
    for index in 0..count.min(VECTORS_MAX) {
        let Ok([base, _]) = guest_copy::read::<[u64; 2]>(first.wrapping_add(index * 16)) else {
            return;
        };
        memory.reach(base);
    }
}
