//! New processes: `clone3(2)` with the guest's own flags, with memory that is
//! copied or shared.
//!
//! A copy is made through the C library's `fork`, which keeps its locks in order
//! when other threads run. What that calls to make the process is `_Fork`, and
//! here it is ours: so the flags are the guest's.

use std::{
    arch::global_asm,
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::errno::Errno;

use crate::{
    forward::{check_descriptor, check_pointer},
    host_call::{self, to_u64},
    process::exit_group,
    robust,
};

/// `CLONE_VM`.
const VM: u64 = 0x100;
/// `CLONE_VFORK`.
const VFORK: u64 = 0x4000;
/// `CLONE_PIDFD`.
const PIDFD: u64 = 0x1000;
/// `CLONE_PARENT_SETTID`.
const PARENT_SET_TID: u64 = 0x10_0000;
/// `CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID`.
const CHILD_TID: u64 = 0x120_0000;
/// `CLONE_INTO_CGROUP`.
const INTO_CGROUP: u64 = 2 << 32;
/// `CLONE_SETTLS`: thread pointers are the virtual CPU's.
const SET_TLS: u64 = 0x8_0000;
/// The version of `struct clone_args` with a cgroup in it, in bytes.
const ARGUMENTS_LEN: u64 = 88;

/// What a new process is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewProcess<'a> {
    /// `CLONE_*`. Whether memory is shared is said by the function that is called.
    pub flags: u64,
    /// What its parent gets when it ends.
    pub exit_signal: u64,
    /// Where the guest wants a descriptor of it, if the flags say so.
    pub pidfd: u64,
    /// Where the parent's guest wants its number, if the flags say so.
    pub parent_tid: u64,
    /// Where the child's guest wants its number and its end seen, if they say so.
    pub child_tid: u64,
    /// The numbers it shall have, by process namespace, the innermost first.
    pub set_tid: &'a [i32],
    /// The descriptor of its cgroup, if the flags say so.
    pub cgroup: u64,
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_len: u64,
    tls: u64,
    set_tid: u64,
    set_tid_count: u64,
    cgroup: u64,
}

impl NewProcess<'_> {
    /// The kernel's form of it. What the flags do not ask for may be anything, and
    /// is left out. Linux tells nobody that it could not write a number, so a place
    /// that is not the guest's becomes null.
    fn arguments(&self, sharing: u64) -> Result<Arguments, Errno> {
        let asked = |flag: u64, value: u64| if self.flags & flag == 0 { 0 } else { value };
        let number = |flag: u64, address: u64| {
            Some(asked(flag, address)).filter(|&at| check_pointer(at, 4).is_ok()).unwrap_or(0)
        };
        let pidfd = asked(PIDFD, self.pidfd);
        check_pointer(pidfd, 4)?;
        let cgroup = asked(INTO_CGROUP, self.cgroup);
        if self.flags & INTO_CGROUP != 0 {
            check_descriptor(cgroup)?;
        }
        Ok(Arguments {
            flags: self.flags & !(VM | VFORK | SET_TLS) | sharing,
            pidfd,
            child_tid: number(CHILD_TID, self.child_tid),
            parent_tid: number(PARENT_SET_TID, self.parent_tid),
            exit_signal: self.exit_signal,
            set_tid: if self.set_tid.is_empty() { 0 } else { to_u64(self.set_tid.as_ptr().addr()) },
            set_tid_count: to_u64(self.set_tid.len()),
            cgroup,
            ..Arguments::default()
        })
    }
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The process that was there before; the child's number.
    Parent(u64),
    /// The new process, with this thread only.
    Child,
}

/// Makes a process with a copy of this one's memory. It has a copy of the caller's
/// thread and no other: a lock that another thread holds stays held in it. The
/// caller holds those it needs.
pub fn fork(new: &NewProcess<'_>) -> Result<Fork, Errno> {
    let arguments = new.arguments(0)?;
    FORKED_WITH.set(Some(arguments));
    let announced = robust::hold();
    // SAFETY: the C library prepares its own locks for the child. Those of ours
    // that the child uses are held by the calling thread, as demanded above.
    match unsafe { libc::fork() } {
        0 => {
            announced.start_afresh();
            Ok(Fork::Child)
        }
        child @ 1.. => Ok(Fork::Parent(u64::from(child.unsigned_abs()))),
        _ => Err(Errno::last()),
    }
}

thread_local! {
    /// What the calling thread's next `fork` makes its process with.
    static FORKED_WITH: Cell<Option<Arguments>> = const { Cell::new(None) };
}

/// The C library's `fork` makes the process by this function, which a program may
/// replace as any other. Without arguments left by [`fork`], it makes a plain one.
///
/// The C library's own would also note the number of the child's thread, which
/// nothing here asks the C library for.
#[unsafe(export_name = "_Fork")]
extern "C" fn make_forked_process() -> libc::pid_t {
    let plain = Arguments { exit_signal: 17, ..Arguments::default() };
    let arguments = FORKED_WITH.take().unwrap_or(plain);
    let at = to_u64((&raw const arguments).addr());
    // SAFETY: the arguments live on this stack. Without a stack of its own and with
    // copied memory the child returns from here as the parent does. The addresses
    // inside are the guest's, but for the numbers, which `fork`'s caller lent.
    let result = unsafe { host_call::raw(libc::SYS_clone3, [at, ARGUMENTS_LEN, 0, 0, 0, 0]) };
    match result {
        Ok(child) => child.try_into().unwrap_or(-1),
        Err(errno) => {
            errno.set();
            -1
        }
    }
}

// As `clone(2)` of the C library: the child calls `function(data)` on its own stack.
global_asm!(
    ".global monitor_clone_with_stack",
    "monitor_clone_with_stack:",
    "mov r8, rcx",
    "mov eax, 435", // clone3
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "xor ebp, ebp",
    "mov rdi, r8",
    "call rdx",
    "ud2",
    "2:",
    "ret",
);

unsafe extern "C" {
    fn monitor_clone_with_stack(
        arguments: *const Arguments,
        len: u64,
        function: extern "C" fn(*mut libc::c_void),
        data: *mut libc::c_void,
    ) -> i64;
}

/// The stack of a child that borrows its parent's memory, in bytes.
const BORROWER_STACK: usize = 256 * 1024;

/// Starts a process that uses this one's memory, on a stack of its own, and waits
/// until it executes another program or ends. Returns its number.
///
/// `child` is told the number its parent knows it by. It must not return, and leave
/// nothing in memory that the parent would miss: it may use the calling thread's
/// storage, since that thread stands still.
pub fn start_borrower<F: FnMut(u32)>(new: &NewProcess<'_>, child: F) -> Result<u64, Errno> {
    extern "C" fn begin<F: FnMut(u32)>(data: *mut libc::c_void) {
        // SAFETY: the pointer is to the pair below, whose frame waits.
        let (child, number) = unsafe { &mut *data.cast::<(F, AtomicU32)>() };
        robust::set_borrows(true);
        child(number.load(Ordering::Relaxed));
        exit_group(0)
    }
    let mut shared = (child, AtomicU32::new(0));
    let mut arguments = new.arguments(VM | VFORK | PARENT_SET_TID)?;
    arguments.parent_tid = to_u64((&raw mut shared.1).expose_provenance());
    // Not cleared: of its pages a child touches a few.
    let mut stack = Vec::<u128>::with_capacity(BORROWER_STACK / 16);
    arguments.stack = to_u64(stack.as_mut_ptr().expose_provenance());
    arguments.stack_len = to_u64(BORROWER_STACK);
    let data = (&raw mut shared).cast();
    let _lent = robust::lend()?;
    let borrowed_before = robust::borrows();
    // SAFETY: the stack is writable and lives until the child has left this
    // memory, since `CLONE_VFORK` makes the caller wait. The pair and the
    // arguments live as long. Its number is an atomic word, which the kernel
    // writes before the child runs; the other places are the guest's.
    let result =
        unsafe { monitor_clone_with_stack(&raw const arguments, ARGUMENTS_LEN, begin::<F>, data) };
    robust::set_borrows(borrowed_before);
    drop(stack);
    host_call::decode(result)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{Fork, NewProcess, fork};
    use crate::process::exit_group;

    #[test]
    fn a_process_is_made_with_the_flags_that_are_asked_for() {
        let silent = NewProcess::default();

        let child = match fork(&silent).unwrap() {
            Fork::Child => exit_group(0),
            Fork::Parent(child) => i32::try_from(child).unwrap(),
        };

        let wait = |options| {
            // SAFETY: a null status is not written.
            let waited = unsafe { libc::waitpid(child, std::ptr::null_mut(), options) };
            if waited < 0 { Err(Errno::last()) } else { Ok(waited) }
        };
        assert_eq!(wait(0), Err(Errno::ECHILD), "it ends without a signal");
        assert_eq!(wait(libc::__WALL), Ok(child));
    }

    #[test]
    fn places_must_be_the_guests() {
        let secret = 7_u32;
        let address = crate::host_call::to_u64((&raw const secret).addr());
        let pidfd = NewProcess { flags: 0x1000, pidfd: address, ..NewProcess::default() };
        assert_eq!(fork(&pidfd), Err(Errno::EFAULT));

        let flags = 0x130_0000;
        let numbers =
            NewProcess { flags, parent_tid: address, child_tid: address, ..NewProcess::default() };
        let arguments = numbers.arguments(0).unwrap();
        assert_eq!([arguments.parent_tid, arguments.child_tid], [0, 0]);
    }
}
