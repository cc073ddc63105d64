//! Where files are opened that the guest's threads must not find open, not even for a moment: a thread of the monitor's
//! with a table of descriptors of its own, in which is nothing but procfs and what programs are known by.
//!
//! It has the rights and namespaces of the thread that started it. So it ends before a thread changes who it is, and
//! where threads differ it works for the one that started it only. When nobody has needed it for a while it ends.

use std::{
    fmt,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use monitor_sys::{
    Errno, guest_copy, proc_files,
    process::{self as own, Whose},
    robust, signals, threads,
};

use super::Process;
use crate::{
    exitless,
    files::apart::Apart,
    thread::start::{HOST_STACK, keep_signal_for_guest},
};

/// It waits so long for the next work before it ends.
const SLEEP: Duration = Duration::from_secs(1);
/// How long its end is waited for once it has nothing left to do.
const END: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_micros(20);

type Work = Box<dyn FnOnce() + Send>;

/// A process's thread for such work.
#[derive(Debug, Default)]
pub struct Aside {
    shared: Arc<Shared>,
    /// Held while it works, starts or ends.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Rung when the state changes.
    bell: Condvar,
}

#[derive(Default)]
struct State {
    life: Life,
    work: Option<Work>,
    /// Whose rights it has.
    starter: u32,
    /// The number of a thread that has ended, or is about to.
    ended: Option<u32>,
    /// Whether it waits for ever.
    stays: bool,
    /// Whether threads may differ.
    has_parted: bool,
    /// Whether nobody knows when a thread changes.
    is_for_once: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").field("life", &self.life).finish_non_exhaustive()
    }
}

/// Whether there is a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    None,
    Starting,
    Idle,
    Busy,
    /// It shall end.
    Dismissed,
}

/// While it lives the thread does nothing, and holds no locks.
#[derive(Debug)]
pub struct Idle<'a> {
    _turn: MutexGuard<'a, ()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a state, and says so.
    fn become_(&self, state: &mut State, life: Life) {
        state.life = life;
        self.bell.notify_all();
    }

    /// Waits until it has left a state.
    fn leave<'a>(&self, mut state: MutexGuard<'a, State>, life: Life) -> MutexGuard<'a, State> {
        while state.life == life {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Waits for work. `None` if the thread shall end.
    fn next_work(&self) -> Option<Work> {
        let mut state = self.state();
        self.become_(&mut state, Life::Idle);
        let until = Instant::now() + SLEEP;
        loop {
            if let Some(work) = state.work.take() {
                return Some(work);
            }
            let left = until.saturating_duration_since(Instant::now());
            let left = if state.stays { SLEEP } else { left };
            if state.life == Life::Dismissed || left.is_zero() {
                state.ended = Some(own::thread_id());
                self.become_(&mut state, Life::None);
                return None;
            }
            let waited = self.bell.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Aside {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it from working until the result is dropped.
    pub fn idle(&self) -> Idle<'_> {
        Idle { _turn: self.turn() }
    }

    /// Ends it, and waits until it is gone.
    pub fn dismiss(&self) {
        let _turn = self.turn();
        self.end();
    }

    /// A thread is about to differ from the others.
    pub fn part(&self) {
        let _turn = self.turn();
        self.shared.state().has_parted = true;
        self.end();
    }

    /// A thread may be about to, and nobody will know when it does.
    pub fn forbid(&self) {
        let _turn = self.turn();
        self.shared.state().is_for_once = true;
        self.end();
    }

    fn end(&self) {
        let mut state = self.shared.state();
        if state.life != Life::None {
            self.shared.become_(&mut state, Life::Dismissed);
        }
        let mut state = self.shared.leave(state, Life::Dismissed);
        state.stays = false;
        let until = Instant::now() + END;
        if let Some(number) = state.ended.take() {
            let number = number.cast_signed();
            while own::find(number) == Ok(Whose::Own) && Instant::now() < until {
                // Not `sched_yield(2)`: it may have lower priority.
                sleep(BETWEEN_LOOKS);
            }
        }
    }

    /// Has it there from now on, whatever it could not be started after: until a thread changes who it is.
    pub fn stay(process: &Process) {
        if robust::borrows() {
            return;
        }
        let own = &process.aside;
        let _turn = own.turn();
        if let Ok(mut state) = own.be_there(process) {
            state.stays = true;
        }
    }

    /// Sees to it that there is one with the calling thread's rights, which does not end before the state changes.
    fn be_there(&self, process: &Process) -> Result<MutexGuard<'_, State>, Errno> {
        loop {
            let state = self.shared.state();
            let is_mine = !state.has_parted || state.starter == own::thread_id();
            if state.life != Life::None && is_mine {
                return Ok(state);
            }
            drop(state);
            // With the copies of the process's descriptors that it is about to close its notifications would end.
            if process.is_notified_of_messages.load(Ordering::Relaxed) {
                return Err(Errno::ENOMEM);
            }
            self.end();
            self.start(process)?;
        }
    }

    fn start(&self, process: &Process) -> Result<(), Errno> {
        let mut state = self.shared.state();
        state.starter = own::thread_id();
        state.life = Life::Starting;
        drop(state);
        let kept = process.known_by();
        // None of the process's signals shall choose it.
        let mask = signals::block_all();
        let spawn = || {
            let (shared, kept) = (Arc::clone(&self.shared), kept.clone());
            let borrows = robust::borrows();
            threads::spawn(HOST_STACK, move || {
                robust::set_borrows(borrows);
                live(&shared, &kept);
            })
        };
        let started = spawn().or_else(|_| {
            let _room = own::make_room_for_threads();
            spawn()
        });
        keep_signal_for_guest(process);
        if let Some(mask) = mask {
            signals::set_mask(mask);
        }
        let mut state = self.shared.state();
        if started.is_err() {
            state.life = Life::None;
        }
        let lives = self.shared.leave(state, Life::Starting).life != Life::None;
        if lives { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

/// The thread's life.
fn live(shared: &Shared, kept: &[u32]) {
    guest_copy::remember_thread();
    own::set_name(exitless::NAME.as_bytes());
    if own::keep_descriptors(kept).is_err() {
        let mut state = shared.state();
        state.ended = Some(own::thread_id());
        return shared.become_(&mut state, Life::None);
    }
    while let Some(work) = shared.next_work() {
        work();
    }
}

impl Process {
    /// The numbers of procfs's root, the monitor's program and the guest's, in order.
    fn known_by(&self) -> Vec<u32> {
        let viewer = self.viewer();
        let all = [proc_files::root(), viewer.monitor, viewer.program];
        let number = |file: BorrowedFd<'_>| file.as_raw_fd().unsigned_abs();
        let mut numbers: Vec<u32> = all.into_iter().flatten().map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Apart for Process {
    /// Does such work, with the rights and namespaces of the calling thread.
    ///
    /// `ENOMEM` if there is no room for a thread, or none can be started: after `mq_notify(2)` and
    /// `unshare(CLONE_NEWPID)`, if a thread has changed who it is since then.
    fn run(&self, work: Work) -> Result<(), Errno> {
        let Aside { shared, .. } = &self.aside;
        let _turn = self.aside.turn();
        let mut state = self.aside.be_there(self)?;
        state.work = Some(work);
        shared.become_(&mut state, Life::Busy);
        let is_for_once = shared.leave(state, Life::Busy).is_for_once;
        if is_for_once || robust::borrows() {
            // Nothing of it may be left in memory that is another process's.
            self.aside.end();
        }
        Ok(())
    }
}
