//! Calls that do not leave the guest. An exit costs some 30 µs where KVM itself is virtual; a call that
//! another thread of the monitor's takes out of memory costs one.
//!
//! The CPU's gate posts a call and waits for a moment; the process's *helper* looks for posted calls and
//! makes those that need not wait for anything but a file system. All else comes back to the thread, which
//! makes it as ever: the helper is a short cut and nothing relies on it. See docs/adr/0009.
//!
//! * [`classes`]: which calls may be posted, and which are answered in the gate itself;
//! * [`actions`]: answers about signals, for children that are about to execute a program;
//! * [`first`]: answers to a program's first calls;
//! * [`masks`]: masks that the host need not know of yet;
//! * [`make`], [`transfer`]: how the helper makes them without waiting;
//! * [`kinds`]: what they know of descriptors;
//! * [`helper`], [`looking`]: the helper as others see it, and its thread;
//! * [`pace`], [`quota`]: when it pays to have it look;
//! * [`stats`]: what is told of all this.

pub mod actions;
mod classes;
pub mod first;
mod helper;
mod kinds;
mod looking;
mod make;
pub mod masks;
mod pace;
mod quota;
mod stats;
mod transfer;

use std::{sync::Arc, time::Instant};

use monitor_sys::{abi::number, process};
use rustix::process::{getegid, geteuid, getgid, getuid};

pub use helper::{Helper, NAME, Parked};
use pace::Recent;
pub use stats::Stats;

use crate::{
    arch::x86_64::gate::{Gate, Made, Posting},
    platform::{Exit, PlatformError},
    syscall::{self, Flow},
    thread::Thread,
};

/// A thread whose calls have left this often gets a gate of its own: most programs' first calls are no
/// sign of what follows, and many programs make no more.
const CALLS_BEFORE: u32 = 32;

/// What a thread knows of its own calls.
#[derive(Debug, Default)]
pub struct OfThread {
    calls: u32,
    timed: u32,
    recent: Recent,
    gate: Option<Arc<Gate>>,
    /// The gate, if it answers what [`actions`] are about and nothing else.
    answers: Option<Arc<Gate>>,
    /// What its gate does for a program that has just begun.
    first: first::OfThread,
    /// What it has blocked.
    masks: masks::OfThread,
}

/// Runs the thread's CPU until it leaves. From its first calls is known what an exit costs: none takes less than
/// that, and some follow each other closely.
pub fn run(thread: &mut Thread) -> Result<Exit, PlatformError> {
    masks::prepare(thread);
    let exit = run_answering(thread)?;
    masks::catch_up(thread, &exit);
    Ok(exit)
}

fn run_answering(thread: &mut Thread) -> Result<Exit, PlatformError> {
    if thread.exitless.timed == CALLS_BEFORE {
        let exit = thread.cpu.run()?;
        actions::catch_up(thread);
        return Ok(exit);
    }
    first::prepare(thread);
    let begin = Instant::now();
    let exit = thread.cpu.run()?;
    actions::catch_up(thread);
    let answered = first::catch_up(thread);
    if thread.exitless.calls < CALLS_BEFORE {
        // They are among its first ones, too.
        let calls = thread.exitless.calls.saturating_add(answered);
        thread.exitless.calls = calls.min(CALLS_BEFORE - 1);
    }
    if exit == Exit::Syscall {
        thread.exitless.timed += 1;
        thread.process.helper.note_exit(begin.elapsed());
    }
    Ok(exit)
}

/// A call has left by its class, and was made.
pub fn left(thread: &mut Thread) {
    if thread.exitless.calls < CALLS_BEFORE {
        thread.exitless.calls += 1;
        if thread.exitless.calls == CALLS_BEFORE || thread.process.helper.is_forced() {
            thread.exitless.calls = CALLS_BEFORE;
            first::answer_no_more(thread);
            equip(thread);
        } else if thread.exitless.calls == 1 {
            first::answer(thread);
        }
    }
}

/// Gives the thread a gate of its own, unless all of its calls must leave.
fn equip(thread: &mut Thread) {
    if !thread.process.helper.has_room() {
        return;
    }
    // A platform that has no memory left for it can do without.
    let Ok(Some(gate)) = thread.cpu.equip() else { return };
    if thread.process.helper.watch(&gate) {
        thread.exitless.gate = Some(gate);
        revise(thread);
    }
}

/// Has the thread's gate do what its filters, and who it is, allow from now on.
pub fn revise(thread: &mut Thread) {
    actions::answer_no_more(thread);
    first::answer_no_more(thread);
    masks::revise(thread);
    let Some(gate) = &thread.exitless.gate else { return };
    thread.process.shared_filters.adopt(&mut thread.filters);
    if is_watched(thread) {
        thread.process.helper.note_refusal("each call has to be seen where it is made");
        gate.disable();
        return;
    }
    if !thread.process.helper.may_be_used() {
        gate.disable();
        return;
    }
    let identity = classes::Identity {
        process: std::process::id().into(),
        thread: process::thread_id().into(),
        users: [getuid().as_raw(), geteuid().as_raw()].map(u64::from),
        groups: [getgid().as_raw(), getegid().as_raw()].map(u64::from),
    };
    let helper = &thread.process.helper;
    let allowed = helper.allowed(&thread.filters);
    let mut plan = classes::plan(&allowed, &identity, helper.patience());
    masks::add(thread, &mut plan);
    helper.let_follow(gate, &plan);
}

/// Whether each call has to be seen where it is made.
fn is_watched(thread: &Thread) -> bool {
    let host = &thread.process.host;
    host.trace.is_some() || host.asks_agent || thread.dispatch.is_some()
}

/// The thread is about to differ from what it was: nobody makes calls with the rights there were.
pub fn part(thread: &Thread) {
    let helper = &thread.process.helper;
    if Arc::strong_count(&thread.process) > 1 {
        // The others do not change with this one.
        helper.turn_off();
    } else {
        helper.dismiss();
    }
}

/// The thread ends, or its CPU becomes another's.
pub fn give_up(thread: &mut Thread) {
    actions::answer_no_more(thread);
    first::answer_no_more(thread);
    masks::answer_no_more(thread);
    if let Some(gate) = thread.exitless.gate.take() {
        gate.disable();
        if let Some(stats) = &thread.process.stats {
            stats.answered(gate.take_answered());
        }
        thread.process.helper.forget(&gate);
    }
    thread.exitless = OfThread::default();
}

/// A call that was posted, or could have been, has left.
pub fn settle(thread: &mut Thread, posting: Posting) -> Flow {
    let Some(gate) = thread.exitless.gate.clone() else { return syscall::serve(thread) };
    let made = match posting {
        Posting::Unseen => {
            let helper = &thread.process.helper;
            if helper.is_forced() || !helper.is_dear() && thread.exitless.recent.is_busy() {
                Helper::wake(&thread.process);
            }
            return syscall::serve(thread);
        }
        Posting::Late => {
            thread.process.helper.was_late();
            return syscall::serve(thread);
        }
        Posting::Taken => gate.await_taken(),
        Posting::Declined => gate.result(),
    };
    if let (Posting::Taken, Made::Declined(_), Some(stats)) =
        (posting, &made, &thread.process.stats)
    {
        stats.declined_late(thread.cpu.registers().rax);
    }
    match made {
        Made::Done(result) => {
            thread.cpu.registers_mut().rax = result;
            Flow::Resume
        }
        Made::Declined(0) => syscall::serve(thread),
        Made::Declined(progress) => go_on(thread, progress),
    }
}

/// Makes the rest of a `write(2)` or `sendto(2)` of which some is done: the thread may wait, and what comes of
/// the rest, a signal or an error, leaves what is done a success.
fn go_on(thread: &mut Thread, progress: u64) -> Flow {
    let before = *thread.cpu.registers();
    let number = usize::try_from(before.rax).unwrap_or(usize::MAX);
    if !matches!(number, number::WRITE | number::SENDTO) {
        thread.cpu.registers_mut().rax = progress;
        return Flow::Resume;
    }
    let rest = before.rdx.saturating_sub(progress);
    let registers = thread.cpu.registers_mut();
    registers.rsi = before.rsi.wrapping_add(progress);
    registers.rdx = rest;
    let flow = syscall::serve(thread);
    let registers = thread.cpu.registers_mut();
    let is_made = registers.rip == before.rip && registers.rax <= rest;
    let further = if is_made { registers.rax } else { 0 };
    // The guest could have written any progress.
    let rax = progress.saturating_add(further);
    *registers = crate::arch::x86_64::registers::Registers { rax, ..before };
    flow
}
