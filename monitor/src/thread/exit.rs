//! The end of a thread: who waits for it is told, and its CPU goes back.

use std::sync::Arc;

use monitor_sys::{guest_copy, process, robust};

use super::Thread;
use crate::exitless;

/// The most robust futexes Linux looks at (`ROBUST_LIST_LIMIT`).
const ROBUST_MAX: usize = 2048;
/// `FUTEX_TID_MASK`.
const OWNER: u32 = 0x3fff_ffff;
/// `FUTEX_OWNER_DIED`.
const OWNER_DIED: u32 = 0x4000_0000;
/// `FUTEX_WAITERS`.
const WAITERS: u32 = 0x8000_0000;

impl Thread {
    /// Runs on the calling host thread, to the end of both. A thread that has
    /// forked comes back as the first one of its child.
    pub fn run_here(mut self) {
        let run = self.process.run;
        let status = run(&mut self);
        let is_first = self.is_first;
        self.end();
        if is_first {
            process::exit_thread(status);
        }
    }

    /// Ends it: its CPU goes back, its memory is told. In this order, since who waits for its end may
    /// start the next thread at once.
    pub fn end(mut self) {
        exitless::give_up(&mut self);
        let Self { process, cpu, robust_list, clear_at_exit, .. } = self;
        if Arc::strong_count(&process) == 1 {
            // The process must not outlive its last thread.
            process.helper.dismiss();
            process.aside.dismiss();
            process.tell_stats();
        }
        process.give_vcpu(cpu);
        release_memory(robust_list, clear_at_exit);
    }

    /// Has the kernel release its robust futexes, should the process be killed.
    pub fn announce_robust_futexes(&self) {
        robust::announce(self.robust_list, Arc::strong_count(&self.process) == 1);
    }

    /// The same, as a thread among others: for one that is about to have some.
    pub fn share_robust_futexes(&self) {
        if Arc::strong_count(&self.process) == 1 {
            robust::announce(self.robust_list, false);
        }
    }

    /// Does what Linux does for the memory of a thread that ends. Errors are the
    /// guest's own: a bad pointer tells nobody.
    pub fn release_memory(&self) {
        release_memory(self.robust_list, self.clear_at_exit);
    }
}

fn release_memory(robust_list: u64, clear_at_exit: u64) {
    if robust_list != 0 {
        release_robust_futexes(robust_list);
    }
    if clear_at_exit != 0 && guest_copy::write(clear_at_exit, &0_u32).is_ok() {
        _ = process::wake_futex(clear_at_exit);
    }
}

/// Walks the list of `struct robust_list_head { next, offset, pending }`.
fn release_robust_futexes(head: u64) {
    let Ok([first, offset, pending]) = guest_copy::read::<[u64; 3]>(head) else {
        return;
    };
    let mut entry = first;
    for _ in 0..ROBUST_MAX {
        if entry & !1 == head {
            break;
        }
        let next = guest_copy::read::<u64>(entry & !1);
        if entry != pending {
            release(entry & !1, offset);
        }
        let Ok(next) = next else { break };
        entry = next;
    }
    if pending != 0 {
        release(pending & !1, offset);
    }
}

/// Marks one futex whose owner is this thread. Nobody else changes the word of
/// an owned lock but to add a waiter, whom the wake-up reaches.
fn release(entry: u64, offset: u64) {
    let address = entry.wrapping_add(offset);
    let Ok(word) = guest_copy::read::<u32>(address) else {
        return;
    };
    if word & OWNER != process::thread_id() {
        return;
    }
    let written = guest_copy::write(address, &(word & WAITERS | OWNER_DIED));
    if written.is_ok() && word & WAITERS != 0 {
        _ = process::wake_futex(address);
    }
}
