//! Masks of signals of which the host need not know yet, and lists that it knows already.
//!
//! C libraries block all signals for some instructions, when they start a thread and when one ends: four exits that
//! change nothing, since hardly ever a signal comes meanwhile. So a thread's gate notes that all are blocked, and that
//! it is as before again; the host's thread goes on with the mask that it has.
//!
//! * A signal that is to be handled and comes meanwhile is caught, as always; then the host's thread blocks all, and
//!   the signal goes back to the queue.
//! * As soon as the CPU leaves, the host's thread blocks what the program has blocked. Calls that start a thread, which
//!   begins as its parent is, and tell of its list are the exception.
//! * A signal whose action is the default one does at once what it would have done when it is not blocked any more.
//!   That can be told only by who blocks all 64 signals, those of the C library too, and then computes without a call.
//!
//! A new thread's first call tells where its list of robust futexes is, which mostly lies where its parent's lies, as
//! seen from the thread pointer. If an empty one is found there, it is announced before the thread begins, and the
//! gate answers that call. See docs/adr/0017.
//!
//! What the gate has noted may be any: the guest can write it. It is taken for a call that the program has made.

use std::sync::Arc;

use monitor_sys::{
    abi::number,
    gate::{self, CLASS_BLOCK, CLASS_ROBUST_LIST, noted},
    guest_copy, robust, signals,
};

use super::is_watched;
use crate::{
    arch::x86_64::gate::{Gate, Plan},
    platform::Exit,
    thread::Thread,
};

/// What a thread knows of its mask.
#[derive(Debug, Default)]
pub(super) struct OfThread {
    /// Answers calls about it.
    gate: Option<Arc<Gate>>,
    /// What is blocked on the host, if that is known.
    host: Option<u64>,
    /// What the program has blocked, if the host does not know.
    put_off: Option<u64>,
    /// The list that the program is about to tell.
    expected_list: Option<u64>,
}

/// Has the thread's gate answer from here on, if it can: the thread is about to start another.
pub fn answer(thread: &mut Thread) {
    answer_about(thread, None);
}

fn answer_about(thread: &mut Thread, list: Option<u64>) {
    if thread.exitless.masks.gate.is_some() || !may_answer(thread) {
        return;
    }
    let Ok(Some(gate)) = thread.cpu.equip() else { return };
    if !gate.is_at_programs_level() {
        return;
    }
    if thread.exitless.gate.is_some() {
        thread.exitless.masks.gate = Some(gate);
        super::revise(thread);
    } else {
        gate.note_mask(None);
        let mut plan = Plan::leaving(0);
        plan.treat(number::RT_SIGPROCMASK, CLASS_BLOCK);
        if let Some(list) = list {
            plan.treat(number::SET_ROBUST_LIST, CLASS_ROBUST_LIST);
            gate.expect_list(list);
            gate.take_noted(0);
        }
        if thread.process.helper.let_answer(&gate, &plan) {
            thread.exitless.masks.gate = Some(gate);
            thread.exitless.masks.expected_list = list;
        }
    }
}

/// Where a new thread's list of robust futexes will be, if it is there already, and empty. `pointers` are its parent's
/// thread pointer and its own.
pub fn expected_list(parent: &Thread, pointers: [u64; 2]) -> Option<u64> {
    let call = u32::try_from(number::SET_ROBUST_LIST).expect("numbers of calls are small");
    if parent.robust_list == 0 || !parent.filters.always_allow(call) || robust::borrows() {
        return None;
    }
    let list = parent.robust_list.wrapping_sub(pointers[0]).wrapping_add(pointers[1]);
    // Its first entry, an offset, and what is about to change.
    let [entry, _, pending] = guest_copy::read::<[u64; 3]>(list).ok()?;
    ([entry, pending] == [list, 0]).then_some(list)
}

/// Has a new thread begin with what its parent has blocked; `host` is what that has blocked on the host. Its list of
/// robust futexes is announced if it is the one that is expected. Returns what the new one must block on the host.
pub fn hand_on(parent: &Thread, child: &mut Thread, host: u64, list: Option<u64>) -> u64 {
    answer_about(child, list);
    let put_off = parent.exitless.masks.put_off;
    let masks = &mut child.exitless.masks;
    if masks.gate.is_none() {
        return put_off.unwrap_or(host);
    }
    masks.put_off = put_off;
    masks.host = Some(host);
    host
}

fn may_answer(thread: &Thread) -> bool {
    let call = u32::try_from(number::RT_SIGPROCMASK).expect("numbers of calls are small");
    !is_watched(thread) && thread.process.helper.may_be_used() && thread.filters.always_allow(call)
}

/// Has a plan that a gate is to follow answer these calls too, if they are answered.
pub(super) fn add(thread: &Thread, plan: &mut Plan) {
    if thread.exitless.masks.gate.is_some() {
        plan.treat(number::RT_SIGPROCMASK, CLASS_BLOCK);
    }
}

/// The thread may answer less than before.
pub(super) fn revise(thread: &mut Thread) {
    if thread.exitless.masks.gate.is_some() && !may_answer(thread) {
        answer_no_more(thread);
    }
}

/// The gate answers no more.
pub(super) fn answer_no_more(thread: &mut Thread) {
    settle(thread);
    let Some(gate) = thread.exitless.masks.gate.take() else { return };
    if thread.exitless.gate.is_none() {
        gate.disable();
        if let Some(stats) = &thread.process.stats {
            stats.answered(gate.take_answered());
        }
        thread.process.helper.forget(&gate);
    }
}

/// The CPU is about to go on.
pub(super) fn prepare(thread: &mut Thread) {
    let masks = &mut thread.exitless.masks;
    let Some(gate) = &masks.gate else { return };
    let host = *masks.host.get_or_insert_with(signals::guest_mask);
    gate.note_masks(host, masks.put_off.unwrap_or(host));
}

/// The CPU has left: the host's thread blocks what the program has blocked, unless that starts a thread or is about to
/// begin as one.
pub(super) fn catch_up(thread: &mut Thread, exit: &Exit) {
    let call = usize::try_from(thread.cpu.registers().rax & 0xffff_ffff).unwrap_or(usize::MAX);
    let masks = &mut thread.exitless.masks;
    let (Some(gate), Some(host)) = (masks.gate.clone(), masks.host) else { return };
    masks.put_off = Some(gate.own_mask()).filter(|&own| gate::can_be_put_off(own, host));
    if let Some(list) = masks.expected_list.take() {
        adopt_list(thread, &gate, list);
    }
    let waits_not = matches!(call, number::CLONE | number::CLONE3 | number::SET_ROBUST_LIST);
    if *exit != Exit::Syscall || !waits_not || signals::has_caught() {
        settle(thread);
    }
}

/// The thread has told of the list that was expected, before all else, or it was not what was expected.
fn adopt_list(thread: &mut Thread, gate: &Gate, list: u64) {
    gate.let_leave(number::SET_ROBUST_LIST);
    if gate.take_noted(noted::ROBUST_LIST).robust_list.is_some() {
        thread.robust_list = list;
    } else {
        thread.announce_robust_futexes();
    }
}

/// The host's thread blocks what the program has blocked. From here on its mask may change.
pub fn settle(thread: &mut Thread) {
    let masks = &mut thread.exitless.masks;
    masks.host = None;
    if let Some(mask) = masks.put_off.take() {
        signals::set_guest_mask(mask);
    }
}
