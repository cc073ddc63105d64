//! `fork(2)`, and `vfork(2)` for children that only execute another program.
//!
//! A forked child inherits the memory, copied on write, but a virtual machine
//! belongs to the address space that made it: the child makes its own, and
//! forgets the parent's.
//!
//! A child of `vfork` shares the memory, so it runs on another CPU of the *same*
//! machine, while its parent's thread waits.

use std::{os::fd::IntoRawFd, sync::Arc};

use monitor_sys::{
    Errno, descriptors, guest_copy,
    process::{self, Fork},
    signals,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{
    arch::x86_64::{extended_state::ExtendedState, registers::Registers},
    platform::{Bases, PlatformError},
    thread::Thread,
};

/// `CLONE_PIDFD`.
const PIDFD: u64 = 0x1000;
/// `CLONE_PARENT_SETTID`.
const PARENT_SET_TID: u64 = 0x10_0000;
/// `CLONE_CHILD_CLEARTID`.
const CHILD_CLEAR_TID: u64 = 0x20_0000;
/// `CLONE_CHILD_SETTID`.
const CHILD_SET_TID: u64 = 0x100_0000;
/// `CLONE_CLEAR_SIGHAND`: handlers become default actions.
const CLEAR_HANDLERS: u64 = 1 << 32;
/// `CLONE_SYSVSEM`, `CLONE_IO`: what a child shares without anybody noticing.
const WITHOUT_EFFECT: u64 = 0x4_0000 | 0x8000_0000;

/// The flags that are known here. Namespaces of a child's own are not.
const KNOWN: u64 =
    PIDFD | PARENT_SET_TID | CHILD_CLEAR_TID | CHILD_SET_TID | CLEAR_HANDLERS | WITHOUT_EFFECT;
/// `CLONE_FS`, `CLONE_FILES`, `CLONE_PARENT`: what a child that only executes
/// another program may also ask for. Files are copied all the same.
const OF_BORROWER: u64 = 0x200 | 0x400 | 0x8000;

/// What a new process starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// `CLONE_*`, without the exit signal.
    pub flags: u64,
    /// What its parent gets when it ends.
    pub exit_signal: u64,
    /// The child's stack pointer, or 0 for the parent's.
    pub stack: u64,
    /// Its thread pointer, if the flags set one.
    pub tls: Option<u64>,
    /// Where the parent wants the child's number.
    pub parent_tid: u64,
    /// Where the child wants its number.
    pub child_tid: u64,
    /// Where the parent wants a descriptor of the child.
    pub pidfd: u64,
}

/// The state of the parent's CPU, which the child continues with.
struct Snapshot {
    registers: Registers,
    bases: Bases,
    state: ExtendedState,
}

impl Snapshot {
    fn take(parent: &Thread, birth: &Birth) -> Result<Self, PlatformError> {
        let mut registers = *parent.cpu.registers();
        registers.rax = 0;
        if birth.stack != 0 {
            registers.rsp = birth.stack;
        }
        let mut bases = parent.cpu.bases()?;
        bases.fs = birth.tls.unwrap_or(bases.fs);
        Ok(Self { registers, bases, state: parent.cpu.extended_state()? })
    }

    fn apply(&self, child: &mut Thread) -> Result<(), PlatformError> {
        *child.cpu.registers_mut() = self.registers;
        child.cpu.set_bases(self.bases)?;
        child.cpu.set_extended_state(&self.state)
    }
}

/// Forks. Returns the child's number, and in the child 0. `None` if a signal
/// came first.
pub fn fork(thread: &mut Thread, birth: &Birth) -> Result<Option<u64>, Errno> {
    let signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if birth.flags & !KNOWN != 0 || birth.exit_signal != signal {
        return Err(Errno::EINVAL);
    }
    let snapshot = Snapshot::take(thread, birth).map_err(|_| Errno::EAGAIN)?;
    let Some(mask) = signals::block_all() else {
        return Ok(None);
    };
    let result = {
        let _memory = thread.process.memory.freeze();
        let _actions = thread.process.actions.freeze();
        let _descriptors = descriptors::freeze();
        process::fork()
    };
    match result {
        Ok(Fork::Parent(child)) => {
            signals::set_mask(mask);
            tell_parent(birth, child)?;
            Ok(Some(child))
        }
        Ok(Fork::Child) => {
            if let Err(error) = become_child(thread, birth, &snapshot) {
                thread.process.log(&format!("a forked child has no machine: {error}"));
                process::exit_group(super::MONITOR_FAILED);
            }
            if birth.flags & CLEAR_HANDLERS != 0 {
                thread.process.actions.clear_handlers();
            }
            signals::set_mask(mask);
            Ok(Some(0))
        }
        Err(errno) => {
            signals::set_mask(mask);
            Err(errno)
        }
    }
}

fn tell_parent(birth: &Birth, child: u64) -> Result<(), Errno> {
    let number = u32::try_from(child).map_err(|_| Errno::EAGAIN)?;
    if birth.flags & PARENT_SET_TID != 0 {
        guest_copy::write(birth.parent_tid, &number)?;
    }
    if birth.flags & PIDFD != 0 {
        let pid = Pid::from_raw(number.cast_signed()).ok_or(Errno::EAGAIN)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty());
        let descriptor = descriptor.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        guest_copy::write(birth.pidfd, &descriptor.into_raw_fd())?;
    }
    Ok(())
}

/// Gives the child a machine, a process and a thread of its own in place of the
/// parent's.
fn become_child(
    thread: &mut Thread,
    birth: &Birth,
    snapshot: &Snapshot,
) -> Result<(), PlatformError> {
    let inherited = descriptors::list();
    let machine = thread.process.machine.another()?;
    let memory = Arc::new(thread.process.memory.moved_to(Arc::clone(&machine))?);
    let own = Arc::new(thread.process.child(memory, machine));
    let mut child = Thread::new(Arc::clone(&own), own.take_vcpu()?, true);
    snapshot.apply(&mut child)?;
    child.stack = thread.stack;
    child.filters = thread.filters.clone();
    if birth.flags & CHILD_CLEAR_TID != 0 {
        child.clear_at_exit = birth.child_tid;
    }
    // What this thread owned of the old machine closes itself; the rest belonged
    // to threads that are not here.
    drop(std::mem::replace(thread, child));
    descriptors::close_orphans(&inherited, &own.host.descriptors());
    if birth.flags & CHILD_SET_TID != 0 {
        // Linux ignores a place that cannot be written.
        _ = guest_copy::write(birth.child_tid, &process::thread_id());
    }
    Ok(())
}

/// Starts a child in this process's memory, and waits until it has executed
/// another program or ended. Returns its number, or `None` if a signal came first.
pub fn vfork(thread: &mut Thread, birth: &Birth) -> Result<Option<u64>, Errno> {
    if birth.flags & !(KNOWN | OF_BORROWER) != 0 {
        return Err(Errno::EINVAL);
    }
    let Some(mask) = signals::block_all() else {
        return Ok(None);
    };
    let result = lend_memory(thread, birth, mask);
    signals::set_mask(mask);
    result.map(Some)
}

/// Runs the child of a `vfork` with `mask`, on a CPU of this process's machine.
fn lend_memory(thread: &Thread, birth: &Birth, mask: u64) -> Result<u64, Errno> {
    let parent = &thread.process;
    let snapshot = Snapshot::take(thread, birth).map_err(|_| Errno::EAGAIN)?;
    let process = parent.child(Arc::clone(&parent.memory), Arc::clone(&parent.machine));
    let cpu = parent.take_vcpu().map_err(|_| Errno::EAGAIN)?;
    let mut child = Thread::new(Arc::new(process), cpu, true);
    child.stack = thread.stack;
    child.filters = thread.filters.clone();
    snapshot.apply(&mut child).map_err(|_| Errno::EAGAIN)?;
    // Where the flags ask for no number, the guest's register may hold anything.
    let place = |flag: u64, at: u64| if birth.flags & flag != 0 { at } else { 0 };
    let parent_tid = place(PIDFD, birth.pidfd) | place(PARENT_SET_TID, birth.parent_tid);
    let child_tid = place(CHILD_SET_TID, birth.child_tid);
    let flags = birth.flags & !CHILD_CLEAR_TID | birth.exit_signal;
    let result = process::start_borrower(flags, parent_tid, child_tid, || {
        if birth.flags & CLEAR_HANDLERS != 0 {
            child.process.actions.clear_handlers();
        }
        signals::set_mask(mask);
        let run = child.process.run;
        let status = run(&mut child);
        process::exit_thread(status);
    });
    // What the child caught and did not deliver died with it.
    _ = signals::take_caught();
    // Its strings for `execve` are freed here, since it could not.
    let Thread { cpu, .. } = child;
    parent.give_vcpu(cpu);
    result
}
