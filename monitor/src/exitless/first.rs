//! Answers to a program's first calls, in its gate.
//!
//! Before `main`, C libraries set a thread pointer, tell the kernel of two lists, ask for a limit, for random bytes and
//! for where the heap ends: an exit each, and a fifth of what a small program takes. Mostly the monitor need not know
//! before the CPU leaves for something else. As soon as it does, all is done that was put off.
//!
//! What the gate has noted may be any: the guest can write it. It is taken for a call that the program has made, and
//! only where that call is allowed whatever its arguments are.
//!
//! # Who else could see
//!
//! A list of robust futexes concerns others if a program is killed that has memory in common with them. A program
//! that has just been executed has none; before it gets some, the call leaves again. A limit can be set by others: the
//! answer is that of the CPU's last exit, holds for an instant, and is not given any more once the program has memory
//! by which others could have told it something since.

use std::sync::Arc;

use monitor_launch::Exitless;
use monitor_sys::{
    Errno,
    abi::number,
    auxiliary,
    gate::{
        self, CLASS_BREAK, CLASS_CLEAR_AT_EXIT, CLASS_RANDOM, CLASS_ROBUST_LIST, CLASS_STACK_LIMIT,
        CLASS_THREAD_POINTER, noted,
    },
    process,
};
use rustix::{
    process::{Resource, getrlimit},
    rand::{GetRandomFlags, getrandom},
};

use crate::{
    arch::x86_64::gate::{Gate, Plan},
    loader::stack::HWCAP2_FSGSBASE,
    memory::limits::NO_LIMIT,
    syscall,
    thread::Thread,
};

/// For so many counts of the time stamp counter a limit is told, some tenths of a millisecond.
const FRESH: u64 = 1 << 20;

/// `MAP_SHARED`, which is a bit of `MAP_SHARED_VALIDATE` too.
const MAP_SHARED: u64 = 1;
/// `MAP_ANONYMOUS`.
const MAP_ANONYMOUS: u64 = 0x20;

/// What a thread knows of this.
#[derive(Debug, Default)]
pub(super) struct OfThread {
    /// Whether it is the only thread of a program that was just executed, and has not made a call.
    is_new: bool,
    gate: Option<Arc<Gate>>,
    /// What may be noted; see [`noted`].
    may_note: u64,
    /// The limits of the stack that are told, which reaches as far down as these let it.
    told_limits: Option<[u64; 2]>,
}

/// The thread begins with a program that was just executed.
pub fn expect(thread: &mut Thread) {
    thread.exitless.first.is_new = true;
}

/// Has the gate answer from here on, if the thread has just made a program's very first call: that one has shown where
/// calls lead to.
pub(super) fn answer(thread: &mut Thread) {
    let host = &thread.process.host;
    let is_watched = host.trace.is_some() || host.asks_agent || host.exitless == Exitless::Off;
    let is_new = std::mem::take(&mut thread.exitless.first.is_new);
    if !is_new || is_watched || thread.dispatch.is_some() {
        return;
    }
    let Ok(Some(gate)) = thread.cpu.equip() else { return };
    // Where exits are cheap, the gate's code does not run with the program's rights, either.
    if !gate.is_at_programs_level() {
        return;
    }
    let (plan, may_note) = plan(thread);
    let mut bytes = [0; 8];
    // Without them, the call leaves.
    if getrandom(&mut bytes, GetRandomFlags::NONBLOCK) == Ok(8) {
        gate.leave_random(bytes);
    }
    gate.take_noted(0);
    gate.expect_list(0);
    gate.take_answered();
    gate.follow(&plan);
    let first = &mut thread.exitless.first;
    let tells_limits = plan.classes[number::PRLIMIT64] == CLASS_STACK_LIMIT;
    first.told_limits = tells_limits.then(stack_limits);
    first.may_note = may_note;
    first.gate = Some(gate);
}

/// What the gate does, and what it may note.
fn plan(thread: &Thread) -> (Plan, u64) {
    let is_allowed = |call: usize| {
        let number = u32::try_from(call).expect("numbers of calls are small");
        thread.filters.always_allow(number)
    };
    let has_base = auxiliary::value(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0;
    let mut plan = Plan::leaving(0);
    let mut may_note = 0;
    for (call, class, bit) in [
        (number::ARCH_PRCTL, CLASS_THREAD_POINTER, 0),
        (number::SET_TID_ADDRESS, CLASS_CLEAR_AT_EXIT, noted::CLEAR_AT_EXIT),
        (number::SET_ROBUST_LIST, CLASS_ROBUST_LIST, noted::ROBUST_LIST),
        (number::BRK, CLASS_BREAK, noted::BREAK),
        (number::GETRANDOM, CLASS_RANDOM, 0),
        (number::PRLIMIT64, CLASS_STACK_LIMIT, 0),
    ] {
        if is_allowed(call) && (has_base || class != CLASS_THREAD_POINTER) {
            plan.treat(call, class);
            may_note |= bit;
        }
    }
    // The class of the one needs the first answer.
    plan.answers[0] = process::thread_id().into();
    if is_allowed(number::RSEQ) {
        plan.answer(number::RSEQ, 1, syscall::error_word(Errno::ENOSYS));
    }
    (plan, may_note)
}

/// The CPU is about to go on.
pub(super) fn prepare(thread: &Thread) {
    let Some(gate) = &thread.exitless.first.gate else { return };
    gate.note_heap(thread.process.memory.heap());
    let Some(told) = thread.exitless.first.told_limits else { return };
    if told == stack_limits() {
        gate.note_stack_limits(told, gate::time_stamp().saturating_add(FRESH));
    } else {
        // The call has the stack follow them.
        gate.let_leave(number::PRLIMIT64);
    }
}

/// The soft and the hard one, in bytes.
fn stack_limits() -> [u64; 2] {
    let limit = getrlimit(Resource::Stack);
    [limit.current, limit.maximum].map(|limit| limit.unwrap_or(NO_LIMIT))
}

/// The CPU has left: what was put off is done. Returns how many calls were answered, which is the guest's word.
pub(super) fn catch_up(thread: &mut Thread) -> u32 {
    let Some(gate) = thread.exitless.first.gate.clone() else { return 0 };
    let noted = gate.take_noted(thread.exitless.first.may_note);
    if let Some(end) = noted.program_break {
        thread.process.memory.set_break(end);
    }
    if let Some(address) = noted.clear_at_exit {
        thread.clear_at_exit = address;
    }
    if let Some(list) = noted.robust_list {
        thread.robust_list = list;
        thread.announce_robust_futexes();
    }
    let registers = *thread.cpu.registers();
    let [_, _, _, flags, ..] = registers.arguments();
    match usize::try_from(registers.rax & 0xffff_ffff) {
        Ok(number::SHMAT) => leave_shared(thread, &gate),
        Ok(number::MMAP) if flags & MAP_SHARED != 0 => leave_shared(thread, &gate),
        Ok(number::MMAP) if flags & MAP_ANONYMOUS == 0 => leave_limits(thread, &gate),
        _ => {}
    }
    let answered = gate.take_answered();
    if let Some(stats) = &thread.process.stats {
        stats.answered(answered);
    }
    u32::try_from(answered).unwrap_or(u32::MAX)
}

/// The program is about to have memory in common with others.
fn leave_shared(thread: &mut Thread, gate: &Gate) {
    gate.let_leave(number::SET_ROBUST_LIST);
    thread.exitless.first.may_note &= !noted::ROBUST_LIST;
    leave_limits(thread, gate);
}

/// The program is about to have memory that others can change.
fn leave_limits(thread: &mut Thread, gate: &Gate) {
    gate.let_leave(number::PRLIMIT64);
    thread.exitless.first.told_limits = None;
}

/// The gate answers no more: the thread changes, is not alone any longer, or gets a better one.
pub fn answer_no_more(thread: &mut Thread) {
    let first = std::mem::take(&mut thread.exitless.first);
    if let Some(gate) = first.gate {
        gate.disable();
    }
}
