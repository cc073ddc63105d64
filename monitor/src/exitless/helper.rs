//! The helper: a thread of the monitor's that makes posted calls while there are any, sleeps when there
//! are none, and ends when it has slept for a while.
//!
//! It makes them with the rights, folders and descriptors of the thread that started it. So before a thread
//! changes who it is it has the helper end ([`Helper::dismiss`]), and where threads differ there is none.

use std::{
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use monitor_launch::Exitless;
use monitor_sys::process::{self, Whose};

use super::{
    classes::Allowed,
    kinds::Kinds,
    looking::{self, Life, Shared, State, Task},
    pace::{CHEAP, Counts},
    quota,
};
use crate::{
    arch::x86_64::gate::{Gate, Plan},
    process::Process,
    seccomp::Filters,
    thread::start::keep_signal_for_guest,
};

/// What the helper's thread is called, on the host and where it is left out for the guest.
pub const NAME: &str = "km calls";

/// How long the end of its thread is waited for: it has nothing left to do.
const END: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_micros(20);
/// It looks at so many gates at most.
const GATES_MAX: usize = 64;
/// So many others may answer at most.
const ANSWERING_MAX: usize = 256;

/// A process's helper.
#[derive(Debug)]
pub struct Helper {
    shared: Arc<Shared>,
    /// Whether it is used where it does not pay, too.
    is_forced: bool,
    kinds: Kinds,
}

/// While it lives the helper makes no call, and nobody else holds the locks around it.
#[derive(Debug)]
pub struct Parked<'a> {
    shared: &'a Shared,
    _state: MutexGuard<'a, State>,
    _burst: MutexGuard<'a, ()>,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.shared.stops.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Helper {
    /// One that is used as asked for.
    pub fn new(use_of_it: Exitless) -> Self {
        let shared = Arc::<Shared>::default();
        shared.state().off = (use_of_it == Exitless::Off).then_some("it was asked for");
        Self { shared, is_forced: use_of_it == Exitless::On, kinds: Kinds::default() }
    }

    /// What is known of descriptors.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Notes that a descriptor may tell each thread of its own signals: signalfd(2).
    pub fn note_signal_files(&self) {
        self.shared.has_signal_files.store(true, Ordering::SeqCst);
    }

    /// Whether one may.
    pub fn has_signal_files(&self) -> bool {
        self.shared.has_signal_files.load(Ordering::SeqCst)
    }

    /// Whether there is a thread, which may make a posted call at any time.
    pub fn is_living(&self) -> bool {
        self.shared.state().life != Life::None
    }

    /// Whether it is used where it does not pay, too.
    pub fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// Whether there may be one.
    pub fn may_be_used(&self) -> bool {
        self.shared.state().off.is_none()
    }

    /// The same, and whether one more gate could be looked at.
    pub fn has_room(&self) -> bool {
        let state = self.shared.state();
        state.off.is_none() && state.gates.len() < GATES_MAX
    }

    /// Has a gate follow a plan, unless it must not.
    pub fn let_follow(&self, gate: &Gate, plan: &Plan) {
        let state = self.shared.state();
        if state.off.is_some() { gate.disable() } else { gate.follow(plan) }
    }

    /// How often a gate shall look for a posted call's result.
    pub fn patience(&self) -> u32 {
        let measured = self.shared.patience.load(Ordering::Relaxed);
        let patience = if measured == 0 { looking::measure(self.shared.exit()) } else { measured };
        self.shared.patience.store(patience, Ordering::Relaxed);
        u32::try_from(patience).unwrap_or(u32::MAX)
    }

    /// An exit has taken so long, with what the program did before.
    pub fn note_exit(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let known = self.shared.exit.load(Ordering::Relaxed);
        if known == 0 || time < known {
            self.shared.exit.store(time, Ordering::Relaxed);
        }
    }

    /// Whether it would cost more than the exits it spares.
    pub fn is_dear(&self) -> bool {
        self.shared.exit() < CHEAP
    }

    /// Notes why it is not used.
    pub fn note_refusal(&self, why: &'static str) {
        self.shared.state().refusal = Some(why);
    }

    /// How many calls the gates have answered that it looks at, since this was asked last. The guest could have
    /// written any number.
    pub fn answered(&self) -> u64 {
        let state = self.shared.state();
        let answered = state.gates.iter().map(|gate| gate.take_answered());
        answered.fold(0, u64::saturating_add)
    }

    /// What has become of it, in words.
    pub fn story(&self) -> String {
        let state = self.shared.state();
        let counts = state.worth.counts;
        let refusal = match (state.off, state.refusal) {
            (Some(why), _) => format!("off: {why}"),
            (None, Some(why)) if counts.wakes > 0 => format!("used, but at last not: {why}"),
            (None, Some(why)) => format!("not used: {why}"),
            (None, None) if self.is_forced => "forced".to_owned(),
            (None, None) if counts.wakes > 0 => "used".to_owned(),
            (None, None) if self.is_dear() => "not used: exits are cheap".to_owned(),
            (None, None) => "not used: calls were few".to_owned(),
        };
        let Counts { wakes, barren, late, kept } = counts;
        let exit = self.shared.exit().as_secs_f64() * 1e6;
        let quota =
            state.worth.quota.map(|processors| format!(", a quota of {processors:.2} processors"));
        format!(
            "{refusal}; an exit takes {exit:.1} µs{}; {wakes} wakes, {barren} barren, {late} late, {kept} times kept \
             from a processor",
            quota.unwrap_or_default()
        )
    }

    /// What these filters allow. Most threads have the same ones, and asking takes a while.
    pub(super) fn allowed(&self, filters: &Filters) -> Arc<Allowed> {
        let mut state = self.shared.state();
        if let Some((known, allowed)) = &state.allowed
            && known.are_the_same(filters)
        {
            return Arc::clone(allowed);
        }
        let allowed = Arc::new(Allowed::by(filters));
        state.allowed = Some((filters.clone(), Arc::clone(&allowed)));
        allowed
    }

    /// One for a child of this one's process.
    #[must_use]
    pub fn of_child(&self, use_of_it: Exitless) -> Self {
        let child = Self::new(use_of_it);
        child.shared.state().allowed.clone_from(&self.shared.state().allowed);
        let (own, its) = (&self.shared, &child.shared);
        for (own, its) in [(&own.patience, &its.patience), (&own.exit, &its.exit)] {
            its.store(own.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        child.shared.has_signal_files.store(self.has_signal_files(), Ordering::SeqCst);
        child
    }

    /// Looks for calls posted in this gate too. Says whether there is room.
    pub fn watch(&self, gate: &Arc<Gate>) -> bool {
        let mut state = self.shared.state();
        let known = state.gates.iter().any(|other| Arc::ptr_eq(other, gate));
        if !known && state.gates.len() < GATES_MAX {
            state.gates.push(Arc::clone(gate));
        }
        known || state.gates.iter().any(|other| Arc::ptr_eq(other, gate))
    }

    /// Does not any more.
    pub fn forget(&self, gate: &Arc<Gate>) {
        let mut state = self.shared.state();
        state.gates.retain(|other| !Arc::ptr_eq(other, gate));
        state.answering.retain(|other| !Arc::ptr_eq(other, gate));
    }

    /// Has a gate answer by a plan, which posts nothing, as long as no thread's rights are its own. Says whether it does.
    pub fn let_answer(&self, gate: &Arc<Gate>, plan: &Plan) -> bool {
        let mut state = self.shared.state();
        if state.off.is_some() || state.answering.len() >= ANSWERING_MAX {
            return false;
        }
        gate.follow(plan);
        state.answering.push(Arc::clone(gate));
        true
    }

    /// Has it look for posted calls, if that may pay.
    pub fn wake(process: &Arc<Process>) {
        let Self { shared, is_forced, .. } = &process.helper;
        if !process.helper.could_be_woken(&shared.state()) {
            return;
        }
        let places = looking::places(*is_forced);
        let looks = places.is_some() && process.helper.may_look_for_quota(process);
        let quota = if looks { quota::processors() } else { None };
        let mut state = shared.state();
        if !process.helper.could_be_woken(&state) {
            return;
        }
        let Some(places) = places else {
            state.refusal = Some("one processor is allowed");
            state.worth.is_impossible(Instant::now());
            return;
        };
        let pays = state.worth.pays(Instant::now(), shared.exit());
        if !(*is_forced || pays) {
            return;
        }
        state.refusal = None;
        state.task = Some(Task { process: Arc::downgrade(process), places });
        if state.life == Life::Living {
            shared.bell.notify_all();
            return;
        }
        if looks {
            state.worth.quota = quota;
        }
        state.life = Life::Living;
        state.is_named = false;
        if looking::start(shared) {
            while !state.is_named {
                state = shared.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        } else {
            state.life = Life::None;
            state.task = None;
            state.worth.is_impossible(Instant::now());
            state.refusal = Some("no thread could be started");
        }
        keep_signal_for_guest(process);
    }

    /// Whether nothing speaks against waking it but, maybe, that it does not pay.
    fn could_be_woken(&self, state: &State) -> bool {
        let is_busy = state.task.is_some() || state.life == Life::Dismissed;
        let must_stop = self.shared.stops.load(Ordering::SeqCst) != 0;
        let is_paused = !self.is_forced && state.worth.is_paused(Instant::now());
        !(is_busy || must_stop || state.off.is_some() || is_paused)
    }

    /// Whether a quota can be looked for now, which is often enough each time that a thread is started: it may be
    /// changed, or the process moved.
    fn may_look_for_quota(&self, process: &Arc<Process>) -> bool {
        let shares_descriptors = process.shares_descriptors.load(Ordering::Relaxed);
        Arc::strong_count(process) == 1 && !shares_descriptors && !self.is_living()
    }

    /// A posted call was not taken up in time.
    pub fn was_late(&self) {
        let mut state = self.shared.state();
        if !self.is_forced && state.worth.was_late(Instant::now()) {
            self.shared.is_over.store(true, Ordering::SeqCst);
        }
        // Others have its processor. It says so itself when it is back.
        if let Some(gate) = state.gates.first() {
            gate.announce(false);
        }
    }

    /// Keeps it from making calls and from holding locks until the result is dropped, for a fork.
    pub fn park(&self) -> Parked<'_> {
        self.shared.stops.fetch_add(1, Ordering::SeqCst);
        let burst = self.shared.burst.lock().unwrap_or_else(PoisonError::into_inner);
        Parked { shared: &self.shared, _state: self.shared.state(), _burst: burst }
    }

    /// Ends it, and waits until it is gone. Another one may be started later.
    pub fn dismiss(&self) {
        let shared = &self.shared;
        shared.stops.fetch_add(1, Ordering::SeqCst);
        let mut state = shared.state();
        while state.life != Life::None {
            if state.life == Life::Living {
                state.life = Life::Dismissed;
                shared.bell.notify_all();
            }
            state = shared.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + END;
        if let Some(number) = state.ended.take() {
            let number = number.cast_signed();
            while process::find(number) == Ok(Whose::Own) && Instant::now() < until {
                // Not `sched_yield(2)`: it may have lower priority.
                sleep(BETWEEN_LOOKS);
            }
        }
        shared.stops.fetch_sub(1, Ordering::SeqCst);
    }

    /// It makes no more calls but the one that it may be making.
    pub fn forbid(&self) {
        let mut state = self.shared.state();
        state.off.get_or_insert("a thread's rights are its own");
        state.gates.iter().chain(&state.answering).for_each(|gate| gate.disable());
    }

    /// Ends it for good.
    pub fn turn_off(&self) {
        self.forbid();
        self.dismiss();
    }
}
