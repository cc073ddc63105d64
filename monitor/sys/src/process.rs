//! Ends of threads and processes, and what else only the calling thread can ask.

use std::{
    ffi::CString,
    os::fd::{AsRawFd, BorrowedFd},
};

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

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The process that was there before; the child's number.
    Parent(u64),
    /// The new process, with this thread only.
    Child,
}

/// `fork(2)`. The child has a copy of the caller's thread and no other: a lock
/// that another thread holds stays held in it. The caller holds those it needs.
pub fn fork() -> Result<Fork, Errno> {
    // SAFETY: the C library prepares its own locks for the child. Those of ours
    // that the child uses are held by the calling thread, as demanded above.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        child @ 1.. => Ok(Fork::Parent(u64::from(child.unsigned_abs()))),
        _ => Err(Errno::last()),
    }
}

/// The stack of a child that borrows its parent's memory, in bytes.
const BORROWER_STACK: usize = 256 * 1024;

/// `vfork(2)`: starts a process that uses this one's memory, on a stack of its
/// own, and waits until it executes another program or ends. Returns its number.
///
/// `flags` are those of `clone(2)`, the exit signal in the low byte; the memory is
/// shared and the caller waits whatever they say. `child` must not return, and
/// leave nothing in memory that the parent would miss: it may use the calling
/// thread's storage, since that thread stands still.
///
/// Numbers are stored at the guest's addresses `parent_tid` and `child_tid` as
/// the flags say.
pub fn start_borrower<F: FnMut()>(
    flags: u64,
    parent_tid: u64,
    child_tid: u64,
    mut child: F,
) -> Result<u64, Errno> {
    extern "C" fn begin<F: FnMut()>(child: *mut libc::c_void) -> i32 {
        // SAFETY: the pointer is to the closure below, whose frame waits.
        let child = unsafe { &mut *child.cast::<F>() };
        child();
        exit_group(0)
    }
    crate::forward::check_pointer(parent_tid, 4)?;
    crate::forward::check_pointer(child_tid, 4)?;
    let mut stack = vec![0_u128; BORROWER_STACK / 16];
    let top = stack.as_mut_ptr_range().end.cast::<libc::c_void>();
    let known = libc::CLONE_PARENT_SETTID | libc::CLONE_PIDFD | libc::CLONE_CHILD_SETTID;
    let known = known | libc::CLONE_PARENT | 0xff;
    let flags = i32::try_from(flags & 0xffff_ffff).map_err(|_| Errno::EINVAL)? & known;
    let flags = flags | libc::CLONE_VM | libc::CLONE_VFORK;
    let guest = |address: u64| {
        std::ptr::with_exposed_provenance_mut::<i32>(usize::try_from(address).expect("64 bits"))
    };
    // SAFETY: the stack is writable and lives until the child has left this
    // memory, since `CLONE_VFORK` makes the caller wait. The closure is borrowed
    // as long. The two places are the guest's.
    let result = unsafe {
        libc::clone(
            begin::<F>,
            top,
            flags,
            (&raw mut child).cast(),
            guest(parent_tid),
            std::ptr::null_mut::<libc::c_void>(),
            guest(child_tid),
        )
    };
    drop(stack);
    if result < 0 { Err(Errno::last()) } else { Ok(u64::from(result.unsigned_abs())) }
}

/// A program's arguments and environment, in the form `execve(2)` reads.
///
/// Built before the call, so that a child that borrows its parent's memory can
/// leave it with an owner that stays.
#[derive(Debug, Default)]
pub struct ExecStrings {
    strings: Vec<CString>,
    /// The arguments' addresses, null, the environment's addresses, null.
    pointers: Vec<usize>,
    environment: usize,
}

impl ExecStrings {
    /// Lays the vectors out.
    pub fn new(arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let count = arguments.len();
        let mut strings = arguments;
        strings.extend(environment);
        let mut pointers: Vec<usize> =
            strings.iter().map(|string| string.as_ptr().expose_provenance()).collect();
        pointers.insert(count, 0);
        pointers.push(0);
        Self { strings, pointers, environment: count + 1 }
    }

    /// Executes the file of a descriptor. Returns only if that fails.
    pub fn execute(&self, file: BorrowedFd<'_>) -> Errno {
        let arguments = self.pointers.as_ptr();
        debug_assert!(self.strings.len() + 2 == self.pointers.len(), "two ends");
        // SAFETY: the environment's vector lies inside the same allocation.
        let environment = unsafe { arguments.add(self.environment) };
        let empty = c"".as_ptr().addr();
        let args = [
            u64::from(file.as_raw_fd().unsigned_abs()),
            host_call::to_u64(empty),
            host_call::to_u64(arguments.addr()),
            host_call::to_u64(environment.addr()),
            u64::from(libc::AT_EMPTY_PATH.cast_unsigned()),
            0,
        ];
        // SAFETY: both vectors end with null and name strings that `self` owns.
        let result = unsafe { host_call::raw(libc::SYS_execveat, args) };
        result.err().unwrap_or(Errno::ENOEXEC)
    }
}
