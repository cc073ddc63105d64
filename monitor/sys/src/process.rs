//! Ends of threads and processes, and what else only the calling thread can ask.

use nix::errno::Errno;

use crate::host_call;

/// Ends the process at once, without destructors: the kernel takes everything.
pub fn exit_group(status: u32) -> ! {
    loop {
        // SAFETY: the call takes no pointer, and does not return.
        _ = unsafe { host_call::raw(libc::SYS_exit_group, [u64::from(status), 0, 0, 0, 0, 0]) };
    }
}

/// Ends the calling thread only. For the process's first thread, whose end
/// would otherwise be the end of the process.
pub fn exit_thread(status: u32) -> ! {
    loop {
        // SAFETY: the call takes no pointer, and does not return. This thread's
        // stack stays mapped, so nothing that borrows from it dangles.
        _ = unsafe { host_call::raw(libc::SYS_exit, [u64::from(status), 0, 0, 0, 0, 0]) };
    }
}

/// The calling thread's number in its process namespace.
pub fn thread_id() -> u32 {
    // SAFETY: gettid(2) takes no argument and cannot fail.
    let id = unsafe { host_call::raw(libc::SYS_gettid, [0; 6]) };
    id.ok().and_then(|id| u32::try_from(id).ok()).expect("thread numbers are positive C ints")
}

/// `prctl(PR_SET_NAME)`: what `ps` and `/proc/<pid>/comm` show.
pub fn set_name(name: &[u8]) {
    let mut comm = [0_u8; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name[..length]);
    let address = host_call::to_u64(comm.as_ptr().addr());
    let option = u64::from(libc::PR_SET_NAME.cast_unsigned());
    // SAFETY: the kernel copies at most 16 bytes from `comm`, which has them.
    _ = unsafe { host_call::raw(libc::SYS_prctl, [option, address, 0, 0, 0, 0]) };
}

/// Wakes all who wait on the guest's futex at `address`.
///
/// `EFAULT` if it is not in guest memory.
pub fn wake_futex(address: u64) -> Result<(), Errno> {
    crate::forward::check_pointer(address, 4)?;
    let operation = u64::from(libc::FUTEX_WAKE.cast_unsigned());
    let all = u64::from(i32::MAX.unsigned_abs());
    // SAFETY: the kernel only uses the address as a key; it is the guest's.
    unsafe { host_call::raw(libc::SYS_futex, [address, operation, all, 0, 0, 0]) }.map(|_| ())
}
