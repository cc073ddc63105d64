//! Robust futexes of a thread that a signal ends, which no code of ours outlives: the kernel
//! releases them, by a list that the thread has announced (`set_robust_list(2)`).
//!
//! # Invariant
//!
//! When an announced list is followed, the memory it is in dies with its thread.
//!
//! The list is the guest's to change, so it can lead the kernel anywhere: where a word equals the
//! thread's number, it writes that the owner died. That may be memory of the monitor's, which nobody
//! must use after that. So only the first thread of a process announces one, and withdraws it before
//! it ends alone; another thread does so only to end the process. And nobody announces one while
//! another process shares this memory, or starts one that shares it while a list is announced.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::{host_call, process};

/// How many processes share this memory with its owner, or `ANNOUNCED`, or `ENDING`.
static STATE: AtomicU32 = AtomicU32::new(0);

/// A list is announced. Then nobody shares this memory.
const ANNOUNCED: u32 = 1 << 31;
/// Lists are announced, and the process is about to end.
const ENDING: u32 = ANNOUNCED | 1 << 30;

/// `sizeof(struct robust_list_head)`.
pub const HEAD_LEN: u64 = 24;

/// Announces the calling thread's list, whose head is at the address of the guest's. Does nothing if
/// that must not be: see above.
pub fn announce(head: u64) {
    let is_first = process::thread_id() == std::process::id();
    let enter = |state| (state == 0 || state == ANNOUNCED).then_some(ANNOUNCED);
    if is_first && STATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).is_ok() {
        set(head);
    }
}

/// Ends the process, and has the kernel release the calling thread's futexes. Threads that wait for
/// them go on for a moment if that is done before: they would see what never happens on Linux.
pub fn exit_group(head: u64, status: u32) -> ! {
    let enter = |state| (state == 0 || state >= ANNOUNCED).then_some(ENDING);
    if STATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).is_ok() {
        set(head);
    }
    process::exit_group(status)
}

/// Withdraws the calling thread's list, if it has announced one.
pub fn withdraw() {
    if process::thread_id() == std::process::id() && STATE.load(Ordering::SeqCst) == ANNOUNCED {
        set(0);
        // It is another state if another thread ends the process: then it stays.
        _ = STATE.compare_exchange(ANNOUNCED, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// This memory, lent to another process.
#[derive(Debug)]
pub(crate) struct Lent(());

/// Lends this memory to another process, until the answer is dropped. `EAGAIN` if the list of
/// another thread is announced.
pub(crate) fn lend() -> Result<Lent, Errno> {
    withdraw();
    let enter = |state| (state < ANNOUNCED - 1).then(|| state + 1);
    let entered = STATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter);
    entered.map(|_| Lent(())).map_err(|_| Errno::EAGAIN)
}

impl Drop for Lent {
    fn drop(&mut self) {
        STATE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// In a process with a copy of another one's memory: nothing is announced or lent here.
pub(crate) fn start_afresh() {
    STATE.store(0, Ordering::SeqCst);
}

fn set(head: u64) {
    // SAFETY: the kernel follows the list when the thread ends. By the invariant nobody uses this
    // memory then: all threads of the process end with it, and no other process has it.
    _ = unsafe { host_call::raw(libc::SYS_set_robust_list, [head, HEAD_LEN, 0, 0, 0, 0]) };
}
