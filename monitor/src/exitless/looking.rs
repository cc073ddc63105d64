//! The helper's thread: sleeping, looking for posted calls, its end.

use std::{
    cell::Cell,
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::yield_now,
    time::{Duration, Instant},
};

use monitor_sys::{guest_copy, process, robust, signals, threads};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    classes::Allowed,
    make,
    pace::{KEPT, Worth},
};
use crate::{
    arch::x86_64::gate::{Gate, Made},
    platform::{Vcpu, absent::Absent},
    process::Process,
    seccomp::Filters,
    thread::{Thread, start::HOST_STACK},
};

/// It looks so long for the next call before it sleeps, and longer for programs that start: those do something else for so
/// long between two bursts of calls.
const LOOK: Duration = Duration::from_micros(200);
const START_LOOK: Duration = Duration::from_micros(600);
/// It sleeps so long before it ends.
const SLEEP: Duration = Duration::from_millis(200);
/// How long a CPU waits for a posted call to be taken up and made: an exit's time, within these.
const LEAST_PATIENCE: Duration = Duration::from_micros(10);
const MOST_PATIENCE: Duration = Duration::from_micros(50);
/// After looking so often in vain, one after the other, it lets others have the CPU, and each [`AGAIN`] from there on.
/// Each look takes some 25 ns: a program that does nothing but calls posts the next one before, and would else find
/// nobody looking for the half microsecond that this takes.
const YIELD: u32 = 256;
const AGAIN: u32 = 64;
/// After looking so often it asks for the time, and for new gates.
const ROUNDS: u32 = 128;

/// What the helper and its thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Rung when the state changes.
    pub(super) bell: Condvar,
    /// Held while posted calls are looked for.
    pub(super) burst: Mutex<()>,
    /// How many want it to stop looking.
    pub(super) stops: AtomicU32,
    /// Whether it shall stop looking since calls are late.
    pub(super) is_over: AtomicBool,
    /// Whether a descriptor may be there that tells each thread of its own signals.
    pub(super) has_signal_files: AtomicBool,
    /// How often a gate looks before an exit would be over; 0 before it was measured.
    pub(super) patience: AtomicU64,
    /// The nanoseconds of the quickest exit; 0 before there was one.
    pub(super) exit: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) gates: Vec<Arc<Gate>>,
    /// Those that post nothing, and answer what does not depend on others.
    pub(super) answering: Vec<Arc<Gate>>,
    pub(super) life: Life,
    /// Whether the thread can be told from the guest's.
    pub(super) is_named: bool,
    /// The number of a thread that has ended, or is about to.
    pub(super) ended: Option<u32>,
    pub(super) task: Option<Task>,
    pub(super) worth: Worth,
    /// What the filters allow that were asked last.
    pub(super) allowed: Option<(Filters, Arc<Allowed>)>,
    /// Why it must never be used again, if it must not.
    pub(super) off: Option<&'static str>,
    /// Why it was not used when it was wanted last.
    pub(super) refusal: Option<&'static str>,
}

/// Whether there is a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    None,
    Living,
    /// It shall end.
    Dismissed,
}

/// What it is woken for.
#[derive(Debug)]
pub(super) struct Task {
    /// Not kept alive: what a process's only thread may do is found by counting who has it.
    pub(super) process: Weak<Process>,
    pub(super) places: CpuSet,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an exit costs; 0 if that is not known yet.
    pub(super) fn exit(&self) -> Duration {
        Duration::from_nanos(self.exit.load(Ordering::Relaxed))
    }

    /// Waits for a task. `None` if the thread shall end.
    fn next_task(&self) -> Option<Task> {
        let mut state = self.state();
        let until = Instant::now() + SLEEP;
        loop {
            if state.life == Life::Living
                && let Some(task) = state.task.take()
            {
                return Some(task);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.life == Life::Dismissed || left.is_zero() {
                state.task = None;
                state.life = Life::None;
                state.ended = Some(process::thread_id());
                self.bell.notify_all();
                return None;
            }
            let waited = self.bell.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Starts the thread, with every signal blocked: none of the process's shall choose it.
pub(super) fn start(shared: &Arc<Shared>) -> bool {
    let own = Arc::clone(shared);
    let mask = signals::block_all();
    let borrows = robust::borrows();
    let started = threads::spawn(HOST_STACK, move || {
        robust::set_borrows(borrows);
        guest_copy::remember_thread();
        process::set_name(super::NAME.as_bytes());
        own.state().is_named = true;
        own.bell.notify_all();
        while let Some(task) = own.next_task() {
            look(&own, &task);
        }
    });
    if let Some(mask) = mask {
        signals::set_mask(mask);
    }
    started.is_ok()
}

/// Looks for posted calls until there have been none for a while.
fn look(shared: &Shared, task: &Task) {
    _ = sched_setaffinity(None, &task.places);
    let _burst = shared.burst.lock().unwrap_or_else(PoisonError::into_inner);
    let mut gates = shared.state().gates.clone();
    let Some(board) = gates.first().cloned() else { return };
    let may_look = || shared.stops.load(Ordering::SeqCst) == 0;
    if !may_look() {
        return;
    }
    // No call needs one, but there is no thread without.
    let spare: Cell<Option<Box<dyn Vcpu>>> = Cell::default();
    let make = |number, args| {
        let Some(process) = task.process.upgrade() else { return Made::Declined(0) };
        let cpu = spare.take().unwrap_or_else(|| Box::new(Absent::default()));
        let mut worker = Thread::new(process, cpu, false);
        worker.is_helper = true;
        let made = make::make(&mut worker, number, args);
        if let Some(stats) = &worker.process.stats {
            stats.taken(number, matches!(made, Made::Done(_)));
        }
        spare.set(Some(worker.cpu));
        made
    };
    let serve = |gates: &[Arc<Gate>]| {
        let served = gates.iter().filter(|gate| gate.serve(make)).count();
        u64::try_from(served).unwrap_or(0)
    };
    shared.is_over.store(false, Ordering::SeqCst);
    board.announce(true);
    let mut watch = Watch::new(shared);
    let (mut round, mut vain) = (0, 0_u32);
    while may_look() && !shared.is_over.load(Ordering::Relaxed) {
        if !board.is_looked_for() {
            board.announce(true);
        }
        let taken = serve(&gates);
        watch.served += taken;
        round += 1;
        vain = if taken == 0 { vain.saturating_add(1) } else { 0 };
        if vain >= YIELD && vain % AGAIN == 0 {
            // Who has work to do goes first.
            yield_now();
        } else if vain > 0 {
            spin_loop();
        }
        if round < ROUNDS {
            continue;
        }
        round = 0;
        if !watch.goes_on(shared, &mut gates) {
            break;
        }
    }
    board.announce(false);
    // One may have been posted just before.
    watch.served += serve(&gates);
    watch.tell(&mut shared.state(), Instant::now());
}

/// What a look has come to.
struct Watch {
    /// When a call was made last.
    last: Instant,
    /// When this was looked at last.
    seen: Instant,
    /// How long it has lasted since it was told, but for when others had the processor.
    looked: Duration,
    /// Calls made since then.
    served: u64,
    /// How long it goes on without a call.
    patience: Duration,
}

impl Watch {
    fn new(shared: &Shared) -> Self {
        let now = Instant::now();
        let patience = patience(&shared.state().worth, now, shared.exit());
        Self { last: now, seen: now, looked: Duration::ZERO, served: 0, patience }
    }

    /// Whether to look on. Notes what has happened since this was asked last.
    fn goes_on(&mut self, shared: &Shared, gates: &mut Vec<Arc<Gate>>) -> bool {
        let now = Instant::now();
        let since = now.duration_since(self.seen);
        self.seen = now;
        self.looked += since.min(KEPT);
        if self.served == 0 && since < KEPT {
            return now.duration_since(self.last) <= self.patience;
        }
        let mut state = shared.state();
        if self.served == 0 {
            // Nothing but others' work takes so long.
            state.worth.was_kept(now);
        }
        self.last = now;
        self.tell(&mut state, now);
        self.patience = patience(&state.worth, now, shared.exit());
        gates.clone_from(&state.gates);
        true
    }

    fn tell(&mut self, state: &mut State, now: Instant) {
        self.looked += now.duration_since(self.seen).min(KEPT);
        self.seen = now;
        let looked = std::mem::take(&mut self.looked);
        state.worth.looked(looked, std::mem::take(&mut self.served));
    }
}

/// How long the helper looks without finding a call: where processor time is scarce, about as long as it takes to
/// wake it again.
fn patience(worth: &Worth, now: Instant, exit: Duration) -> Duration {
    match (worth.is_scarce(now), worth.is_starting()) {
        (true, _) => exit.saturating_mul(2).min(LOOK),
        (false, true) => START_LOOK,
        (false, false) => LOOK,
    }
}

/// The CPUs the helper may use: not the one of the thread it is to help, on which it would only be in the
/// way. `None` if that leaves none, unless it has to be used.
pub(super) fn places(is_forced: bool) -> Option<CpuSet> {
    let all = sched_getaffinity(None).ok()?;
    let mut others = all;
    others.unset(process::current_cpu()?);
    match others.count() {
        0 => is_forced.then_some(all),
        _ => Some(others),
    }
}

/// How often a CPU looks in an exit's time. The quickest of several tries is one that nothing has interrupted.
pub(super) fn measure(exit: Duration) -> u64 {
    const TRIES: u32 = 5;
    const LOOKS: u32 = 32;
    let look = |_| {
        let start = Instant::now();
        (0..LOOKS).for_each(|_| spin_loop());
        (start.elapsed() / LOOKS).as_nanos().max(1)
    };
    let each = (0..TRIES).map(look).min().unwrap_or(1);
    let patience = exit.clamp(LEAST_PATIENCE, MOST_PATIENCE);
    u64::try_from(patience.as_nanos() / each).unwrap_or(1).max(1)
}
