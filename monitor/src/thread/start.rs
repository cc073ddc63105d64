//! `clone(2)` and `clone3(2)` for threads.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use monitor_sys::{Errno, guest_copy, process, robust, signals, threads};

use super::Thread;
use crate::{
    exitless::{self, masks},
    platform::{Bases, PlatformError, Vcpu},
    process::Process,
};

/// The flags that make a thread: memory, handlers, and the thread group are shared.
pub const THREAD_FLAGS: u64 = 0x1_0900;
/// `CLONE_FS`, `CLONE_FILES`: a thread without them has its own, and can have some
/// namespaces of its own, as by `unshare(2)`.
const SHARED_BY_MOST: u64 = 0x600;
/// `CLONE_FILES`.
const FILES: u64 = 0x400;
/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWNET`.
const NAMESPACES: u64 = 0x4e02_0000;
/// `CLONE_SETTLS`.
const SET_TLS: u64 = 0x8_0000;
/// `CLONE_PARENT_SETTID`.
const PARENT_SET_TID: u64 = 0x10_0000;
/// `CLONE_CHILD_CLEARTID`.
const CHILD_CLEAR_TID: u64 = 0x20_0000;
/// `CLONE_CHILD_SETTID`.
const CHILD_SET_TID: u64 = 0x100_0000;
/// `CLONE_SYSVSEM`, `CLONE_DETACHED`, `CLONE_UNTRACED`, `CLONE_IO`, which change
/// nothing here: host threads share all that already.
const WITHOUT_EFFECT: u64 = 0x4_0000 | 0x40_0000 | 0x80_0000 | 0x8000_0000;

/// `SIGSETXID` of glibc: by it `setuid(2)` reaches all threads.
const SET_USER_SIGNAL: u32 = 33;

/// The host stack of a guest thread, in bytes.
pub const HOST_STACK: usize = 256 * 1024;

/// What a new thread starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// `CLONE_*`, without the exit signal.
    pub flags: u64,
    /// Its stack pointer, or 0 for the parent's.
    pub stack: u64,
    /// Its thread pointer, if the flags set one.
    pub tls: u64,
    /// Where the parent wants the thread's number.
    pub parent_tid: u64,
    /// Where the thread wants its number, and its end to be seen.
    pub child_tid: u64,
}

impl Start {
    /// What the thread does not share with its parent, as `unshare(2)` takes it.
    fn unshared(&self) -> u64 {
        SHARED_BY_MOST & !self.flags | self.flags & NAMESPACES
    }
}

/// Starts a thread. Returns its number, or `None` if a signal came first.
pub fn start(parent: &Thread, start: Start) -> Result<Option<u64>, Errno> {
    let known = SET_TLS | PARENT_SET_TID | CHILD_CLEAR_TID | CHILD_SET_TID | WITHOUT_EFFECT;
    let known = known | SHARED_BY_MOST | NAMESPACES;
    if start.flags & THREAD_FLAGS != THREAD_FLAGS || start.flags & !(THREAD_FLAGS | known) != 0 {
        return Err(Errno::EINVAL);
    }
    if start.unshared() != 0 {
        parent.process.helper.turn_off();
    }
    if start.unshared() & FILES != 0 {
        parent.process.descriptors_differ();
    }
    let Some(mask) = signals::block_all() else {
        return Ok(None);
    };
    let started = start_blocked(parent, start, mask);
    signals::set_mask(mask);
    started.map(Some)
}

/// The same while every signal is blocked: the new host thread starts with its
/// parent's mask, and one that was caught meanwhile would have blocked them all.
fn start_blocked(parent: &Thread, start: Start, mask: u64) -> Result<u64, Errno> {
    let (cpu, pointers) = cpu_for(parent, start).map_err(|_| Errno::EAGAIN)?;
    parent.share_robust_futexes();
    let mut child = Thread::new(Arc::clone(&parent.process), cpu, false);
    child.filters = parent.filters.clone();
    let list = masks::expected_list(parent, pointers);
    let mask = masks::hand_on(parent, &mut child, mask, list);
    if start.flags & CHILD_CLEAR_TID != 0 {
        child.clear_at_exit = start.child_tid;
    }
    let child = Arc::new(Mutex::new(Some(child)));
    let handed_over = Arc::clone(&child);
    let (number, numbers) = mpsc::channel();
    let borrows = robust::borrows();
    let run = move || {
        robust::set_borrows(borrows);
        let Some(mut child) = take(&handed_over) else { return };
        keep_signal_for_guest(&child.process);
        let unshared = start.unshared();
        if unshared != 0
            && let Err(errno) = process::unshare(unshared)
        {
            _ = number.send(Err(errno));
            exitless::give_up(&mut child);
            child.process.give_vcpu(child.cpu);
            return;
        }
        let id = process::thread_id();
        tell_number(&start, id);
        // The parent waits for it; were it gone, nobody would need the number.
        _ = number.send(Ok(u64::from(id)));
        if let Some(list) = list {
            robust::announce(list, false);
        }
        signals::set_mask(mask);
        child.run_here();
    };
    if threads::spawn(HOST_STACK, run).is_err() {
        // The device frees no CPU before the machine: it must not be lost.
        if let Some(mut child) = take(&child) {
            exitless::give_up(&mut child);
            parent.process.give_vcpu(child.cpu);
        }
        return Err(Errno::EAGAIN);
    }
    keep_signal_for_guest(&parent.process);
    numbers.recv().unwrap_or(Err(Errno::EAGAIN))
}

fn take(child: &Mutex<Option<Thread>>) -> Option<Thread> {
    child.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// With its first thread, the monitor's C library takes a signal for itself: it must
/// be the guest's again before any thread can get it.
pub fn keep_signal_for_guest(process: &Process) {
    _ = process.actions.put_back(SET_USER_SIGNAL);
}

/// A CPU that continues behind the call, with the child's stack and result. The thread pointers are the parent's and
/// the child's.
fn cpu_for(parent: &Thread, start: Start) -> Result<(Box<dyn Vcpu>, [u64; 2]), PlatformError> {
    let mut cpu = parent.process.take_vcpu()?;
    let mut registers = *parent.cpu.registers();
    registers.rax = 0;
    if start.stack != 0 {
        registers.rsp = start.stack;
    }
    *cpu.registers_mut() = registers;
    let bases = parent.cpu.bases()?;
    let fs = if start.flags & SET_TLS != 0 { start.tls } else { bases.fs };
    cpu.set_bases(Bases { fs, ..bases })?;
    cpu.set_extended_state(&parent.cpu.extended_state()?)?;
    Ok((cpu, [bases.fs, fs]))
}

/// Linux ignores a place that cannot be written.
fn tell_number(start: &Start, id: u32) {
    for (flag, place) in [(PARENT_SET_TID, start.parent_tid), (CHILD_SET_TID, start.child_tid)] {
        if start.flags & flag != 0 {
            _ = guest_copy::write(place, &id);
        }
    }
}
