//! Processes that share their parent's memory.
//!
//! A virtual machine belongs to an address space, not to a process. So such a child
//! runs on another CPU of its parent's machine, in the same monitor's memory, with
//! the storage of a host thread that stands still meanwhile: of the thread that
//! called `vfork(2)`, or, where that goes on beside its child, of one made for it.

use std::sync::{Arc, atomic::Ordering, mpsc};

use monitor_launch::Exitless;
use monitor_sys::{Errno, clone, descriptors, guest_copy, process, robust, signals, threads};

use super::{
    Process,
    birth::{Birth, CLEAR_HANDLERS, FILES, HANDLERS, PARENT_SET_TID, Snapshot, VFORK},
};
use crate::exitless::{self, Helper};
use crate::thread::{
    Thread,
    start::{HOST_STACK, keep_signal_for_guest},
};

/// Starts a child in this process's memory. With `CLONE_VFORK`, waits until it has
/// executed another program or ended. Returns its number, or `None` if a signal
/// came first.
pub fn borrow(thread: &mut Thread, birth: &Birth) -> Result<Option<u64>, Errno> {
    birth.check()?;
    let Some(mask) = signals::block_all() else {
        return Ok(None);
    };
    let started = make_child(thread, birth, mask).and_then(|child| {
        thread.share_robust_futexes();
        let loan = Loan { birth: birth.clone(), parent: Arc::clone(&thread.process), child, mask };
        if birth.has(VFORK) { loan.give(|_| {}) } else { beside(loan) }
    });
    thread.announce_robust_futexes();
    signals::set_mask(mask);
    started.map(Some)
}

/// The child's thread, on a CPU of this process's machine.
fn make_child(thread: &Thread, birth: &Birth, mask: u64) -> Result<Thread, Errno> {
    let parent = &thread.process;
    let snapshot = Snapshot::take(thread, birth).map_err(|_| Errno::EAGAIN)?;
    let mut process = parent.child(Arc::clone(&parent.memory), Arc::clone(&parent.machine));
    // Its gates would post calls to its parent's.
    process.helper = Helper::new(Exitless::Off);
    if birth.has(HANDLERS) {
        process.actions = Arc::clone(&parent.actions);
    }
    if birth.has(FILES) {
        parent.shares_descriptors.store(true, Ordering::Relaxed);
        process.shares_descriptors.store(true, Ordering::Relaxed);
    }
    let cpu = parent.take_vcpu().map_err(|_| Errno::EAGAIN)?;
    let mut child = Thread::new(Arc::new(process), cpu, true);
    if birth.has(VFORK) {
        child.stack = thread.stack;
    }
    child.filters = thread.filters.clone();
    if snapshot.apply(&mut child).is_err() {
        parent.give_vcpu(child.cpu);
        return Err(Errno::EAGAIN);
    }
    // Not where its parent runs on, which could tell others to send a signal that the host does not know to be ignored.
    if birth.has(VFORK) && !birth.has(HANDLERS) && !birth.has(CLEAR_HANDLERS) {
        exitless::actions::answer(&mut child, mask);
    }
    Ok(child)
}

/// A child that is to run on the calling thread's storage.
struct Loan {
    birth: Birth,
    parent: Arc<Process>,
    child: Thread,
    mask: u64,
}

impl Loan {
    /// Runs the child. Comes back when it has left this memory. `started` is called in
    /// the child, with its number.
    fn give(self, started: impl Fn(u32)) -> Result<u64, Errno> {
        let Self { birth, parent, mut child, mask } = self;
        let new = birth.on_host(0);
        let mine = descriptors::list();
        let result = clone::start_borrower(&new, |number| {
            if birth.has(PARENT_SET_TID) {
                // Linux ignores a place that cannot be written.
                _ = guest_copy::write(birth.parent_tid, &number);
            }
            started(number);
            if birth.has(CLEAR_HANDLERS) {
                child.process.actions.clear_handlers();
            }
            signals::set_mask(mask);
            let run = child.process.run;
            let status = run(&mut child);
            child.release_memory();
            process::exit_thread(status);
        });
        descriptors::forget_borrowers(&mine);
        // What the child caught and did not deliver died with it.
        _ = signals::take_caught();
        // Its CPU becomes another's.
        exitless::give_up(&mut child);
        // Its strings for `execve` are freed here, since it could not.
        let Thread { cpu, .. } = child;
        parent.give_vcpu(cpu);
        result
    }
}

/// Runs the child on a thread made for it, and does not wait.
fn beside(loan: Loan) -> Result<u64, Errno> {
    let parent = Arc::clone(&loan.parent);
    let (tell, told) = mpsc::channel();
    let borrows = robust::borrows();
    let lend = move || {
        robust::set_borrows(borrows);
        let done = loan.give(|number| _ = tell.send(Ok(u64::from(number))));
        if let Err(errno) = done {
            // The parent waits for one of the two.
            _ = tell.send(Err(errno));
        }
    };
    let spawned = threads::spawn(HOST_STACK, lend);
    keep_signal_for_guest(&parent);
    spawned.map_err(|_| Errno::EAGAIN)?;
    told.recv().unwrap_or(Err(Errno::EAGAIN))
}
