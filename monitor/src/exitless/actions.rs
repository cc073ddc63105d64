//! Answers about a child's actions, in its gate.
//!
//! A child that borrows its parent's memory is about to execute another program. Before, C libraries ask for the
//! action of each signal in turn and set it to the default, which it mostly is already: 130 calls in glibc's
//! `posix_spawn(3)`, each of which would leave. No helper is needed for these: the gate has a table of the
//! actions, tells what it holds, and notes another default action there.
//!
//! The table may be any: the guest can write it. So of what it holds only what makes no difference to the host is
//! ever believed, and for a default action only; for a few signals the host is told, of that and that they are ignored.

use std::sync::Arc;

use monitor_launch::Exitless;
use monitor_sys::{
    abi::number,
    gate::{FORGETFUL, IGNORED, SETTABLE},
    signals::SIGNAL_MAX,
};

use crate::{
    arch::x86_64::gate::{Gate, Plan},
    signal::action::{Action, DEFAULT, IGNORE, SA_RESETHAND},
    thread::Thread,
};

/// The signals of which only the table need know that they were set.
const QUIET: u64 = SETTABLE & !FORGETFUL;

/// Has a child's gate answer, where it can and its calls are not looked at one by one. Nobody else may have
/// its actions. It starts with the signals of `mask` blocked.
pub fn answer(child: &mut Thread, mask: u64) {
    let host = &child.process.host;
    let is_watched = host.trace.is_some() || host.asks_agent || host.exitless == Exitless::Off;
    let number = u32::try_from(number::RT_SIGACTION).expect("numbers of calls are small");
    // The child has not made a call: a platform that does not know where they lead to cannot tell.
    if is_watched || !child.filters.always_allow(number) {
        return;
    }
    let actions = child.process.actions.all();
    if actions.iter().any(is_for_one_use) {
        return;
    }
    let Ok(Some(gate)) = child.cpu.equip() else { return };
    if !gate.is_at_programs_level() {
        return;
    }
    for (at, action) in actions.iter().enumerate() {
        gate.note_action(at, words(action));
    }
    let mut plan = Plan::leaving(0);
    plan.look_up(number::RT_SIGACTION);
    let asks = u32::try_from(number::RT_SIGPROCMASK).expect("numbers of calls are small");
    if child.filters.always_allow(asks) {
        plan.tell_mask(number::RT_SIGPROCMASK);
    }
    gate.note_mask(Some(mask));
    gate.take_forgotten();
    gate.follow(&plan);
    child.exitless.answers = Some(gate);
}

/// The thread's CPU has left: the host does what was put off. A signal that came meanwhile, and that none of the
/// program's calls can have seen, came before.
pub fn catch_up(thread: &Thread) {
    let Some(gate) = &thread.exitless.answers else { return };
    gate.note_mask(None);
    let forgotten = gate.take_forgotten() & FORGETFUL;
    if forgotten == 0 {
        return;
    }
    for signal in (1..=SIGNAL_MAX).filter(|signal| forgotten & 1 << (signal % 64) != 0) {
        let noted = noted(gate, signal);
        let is_default = |action: Action| action.handler == DEFAULT;
        let is_ignored = IGNORED & 1 << (signal % 64) != 0 && noted.handler == IGNORE;
        let may_be = is_default(noted) || is_ignored;
        if may_be && thread.process.actions.get(signal).is_ok_and(is_default) {
            // Signals that can be set; a host that refuses would have refused the program, too.
            _ = thread.process.actions.set(signal, noted);
        }
    }
}

/// The gate answers no more: the thread changes, or is not alone with its actions any longer.
pub fn answer_no_more(thread: &mut Thread) {
    adopt(thread);
    if let Some(gate) = thread.exitless.answers.take() {
        gate.disable();
    }
}

/// Takes over what the gate has set.
pub fn adopt(thread: &Thread) {
    let Some(gate) = &thread.exitless.answers else { return };
    let own = thread.process.actions.all();
    for (signal, own) in (1..=SIGNAL_MAX).zip(own) {
        let noted = noted(gate, signal);
        if noted != own && noted.handler == DEFAULT && QUIET & 1 << (signal % 64) != 0 {
            thread.process.actions.note_default(signal, noted);
        }
    }
}

/// An action was set without the gate.
pub fn note(thread: &mut Thread, signal: u32) {
    let Ok(action) = thread.process.actions.get(signal) else { return };
    if is_for_one_use(&action) {
        answer_no_more(thread);
    } else if let Some(gate) = &thread.exitless.answers {
        gate.note_action(place(signal), words(&action));
    }
}

/// Whether a delivery changes it.
fn is_for_one_use(action: &Action) -> bool {
    action.has_handler() && action.flags & SA_RESETHAND != 0
}

fn noted(gate: &Arc<Gate>, signal: u32) -> Action {
    let [handler, flags, restorer, mask] = gate.noted_action(place(signal));
    Action { handler, flags, restorer, mask }
}

fn words(action: &Action) -> [u64; 4] {
    [action.handler, action.flags, action.restorer, action.mask]
}

fn place(signal: u32) -> usize {
    usize::try_from(signal - 1).expect("signals are few")
}
