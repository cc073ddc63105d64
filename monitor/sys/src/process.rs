//! Ends of threads and processes, and what else only the calling thread can ask.

use std::{
    ffi::CString,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};

use crate::{host_call, robust};

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
    robust::withdraw();
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

/// The CPU that the calling thread runs on now: getcpu(2). Not by the vDSO, which libraries look for where
/// the guest's is shown.
pub fn current_cpu() -> Option<usize> {
    let mut cpu = 0_u32;
    let into = host_call::to_u64((&raw mut cpu).addr());
    // SAFETY: the kernel writes one word, which is local.
    unsafe { host_call::raw(libc::SYS_getcpu, [into, 0, 0, 0, 0, 0]) }.ok()?;
    usize::try_from(cpu).ok()
}

/// Whose process or thread a number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's process has it, or is it.
    Own,
    /// Another one.
    Other,
}

/// Looks a process or thread up by its number. `ESRCH` if there is none.
pub fn find(number: i32) -> Result<Whose, Errno> {
    if number <= 0 {
        return Err(Errno::ESRCH);
    }
    let number = u64::from(number.unsigned_abs());
    let own = u64::from(std::process::id());
    // SAFETY: signal 0 is never sent; the call only looks for the thread.
    if unsafe { host_call::raw(libc::SYS_tgkill, [own, number, 0, 0, 0, 0]) }.is_ok() {
        return Ok(Whose::Own);
    }
    // SAFETY: as above.
    match unsafe { host_call::raw(libc::SYS_tkill, [number, 0, 0, 0, 0, 0]) } {
        Ok(_) | Err(Errno::EPERM) => Ok(Whose::Other),
        Err(errno) => Err(errno),
    }
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

/// The limits of processes, soft and hard, to be put back.
#[derive(Debug)]
pub struct ThreadRoom(u64, u64);

/// Raises the limit of processes until the result is dropped, as far as this process
/// may.
pub fn make_room_for_threads() -> Option<ThreadRoom> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    if setrlimit(Resource::RLIMIT_NPROC, u64::MAX, u64::MAX).is_err() {
        setrlimit(Resource::RLIMIT_NPROC, hard, hard).ok()?;
    }
    Some(ThreadRoom(soft, hard))
}

impl Drop for ThreadRoom {
    fn drop(&mut self) {
        // Lowering is everybody's right.
        _ = setrlimit(Resource::RLIMIT_NPROC, self.0, self.1);
    }
}

/// A limit of any process, soft and hard: `prlimit(2)` that sets nothing.
pub fn limit_of(process: u32, resource: u32) -> Result<[u64; 2], Errno> {
    let mut limit = [0_u64; 2];
    let into = host_call::to_u64(limit.as_mut_ptr().addr());
    let args = [u64::from(process), u64::from(resource), 0, into, 0, 0];
    // SAFETY: the kernel writes two words, which are local.
    unsafe { host_call::raw(libc::SYS_prlimit64, args) }?;
    Ok(limit)
}

/// `unshare(2)` of the calling thread's descriptors: from here on it has a table
/// of its own, a copy.
pub fn unshare_descriptors() -> Result<(), Errno> {
    unshare(u64::from(libc::CLONE_FILES.cast_unsigned()))
}

/// Gives the calling thread a table of descriptors of its own, in which are these numbers of the old one, in order, and no
/// others. Its root and working directory are its own, too.
///
/// Who owns a descriptor does so in the old table: the thread must use none that it could reach before, but for these.
pub fn keep_descriptors(kept: &[u32]) -> Result<(), Errno> {
    unshare(u64::from((libc::CLONE_FILES | libc::CLONE_FS).cast_unsigned()))?;
    let close = |first: u32, last: u32| {
        let args = [u64::from(first), u64::from(last), 0, 0, 0, 0];
        // SAFETY: the call takes no pointer. The table is this thread's alone, which by this function's contract uses
        // none of these.
        unsafe { host_call::raw(libc::SYS_close_range, args) }
    };
    let mut first = 0;
    for &number in kept {
        if number > first {
            close(first, number - 1)?;
        }
        first = number + 1;
    }
    close(first, u32::MAX).map(|_| ())
}

/// `unshare(2)` for a new thread that shall not share all that its parent has.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: the call takes no pointer. A table of descriptors of its own has all
    // the numbers the old one had.
    unsafe { host_call::raw(libc::SYS_unshare, [flags, 0, 0, 0, 0, 0]) }.map(|_| ())
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

/// This thread's personality until now, and a new kind for it.
///
/// Flags cannot be given: some change how the kernel lays out and protects the monitor's memory.
pub fn personality(kind: Option<u32>) -> Result<u32, Errno> {
    const QUERY: u64 = 0xffff_ffff;
    let wish = kind.map_or(QUERY, |kind| u64::from(kind & 0xff));
    // SAFETY: the call takes a number, and a kind without flags changes no memory.
    let before = unsafe { host_call::raw(libc::SYS_personality, [wish, 0, 0, 0, 0, 0]) }?;
    u32::try_from(before).map_err(|_| Errno::EINVAL)
}
