//! Guest memory as Linux describes it: which ranges are mapped, how, and what
//! the memory calls do to them.

pub mod advice;
mod certain;
pub mod change;
mod contexts;
pub mod fault;
mod habits;
pub mod limits;
mod locking;
pub mod map;
mod presence;
pub mod program_break;
pub mod stack;
mod streams;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use contexts::Contexts;
use habits::{Habit, Habits};
use locking::Promises;
use map::{Kind, Map, Mapped};
use monitor_sys::{
    Errno,
    guest_memory::{GuestMemory, GuestSpan, PAGE},
};
use program_break::ProgramBreak;
use streams::Streams;

use crate::{
    layout::{CHUNK, HIGH_END, HIGH_START, LOW_END, LOW_START},
    platform::{Machine, PlatformError},
};

/// What may be done with a mapping: the bits of `mmap(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection(pub u64);

impl Protection {
    /// `PROT_READ`.
    pub const READ: Self = Self(1);
    /// `PROT_READ | PROT_WRITE`.
    pub const READ_WRITE: Self = Self(3);
    const WRITE_BIT: u64 = 2;
    const EXECUTE_BIT: u64 = 4;

    /// Whether instructions may be fetched.
    pub fn executes(self) -> bool {
        self.0 & Self::EXECUTE_BIT != 0
    }

    /// What the host is told: where it has protection keys, memory that may only be
    /// executed could not be read by the machine either.
    fn on_host(bits: u64) -> u64 {
        if bits & Self::EXECUTE_BIT == 0 { bits } else { bits | Self::READ.0 }
    }

    /// Whether it may be written.
    pub fn writes(self) -> bool {
        self.0 & Self::WRITE_BIT != 0
    }

    /// Whether it may be read: x86 cannot write or execute without reading.
    pub fn reads(self) -> bool {
        self.0 & 7 != 0
    }
}

/// The address space of a guest process.
#[derive(Debug)]
pub struct AddressSpace {
    memory: GuestMemory,
    machine: Arc<dyn Machine>,
    state: Mutex<State>,
    /// Whether a mapping that grows down was ever made.
    has_growing: AtomicBool,
    contexts: Contexts,
}

/// What is protected by the memory lock. Locks are taken in the order: memory,
/// then the platform's tables.
#[derive(Clone, Debug)]
struct State {
    map: Map,
    program_break: ProgramBreak,
    /// What `MADV_GUARD_INSTALL` made inaccessible.
    guards: Map,
    /// What `MADV_DONTFORK` keeps from children.
    not_inherited: Map,
    /// Mappings without a wish go below this address, as near as there is room.
    ceiling: u64,
    promises: Promises,
    streams: Streams,
    habits: Habits,
    heap_habit: Habit,
    /// What was advised to get huge pages, or not to, for the monitor's own reasons.
    advised: Map,
    /// What is the program's to decide: by `MADV_HUGEPAGE` or `MADV_NOHUGEPAGE`, as a stack, or by `MAP_NORESERVE`.
    unfit: Map,
    /// Whether it has ever said on which nodes pages belong: it may yet for what it has just mapped.
    has_policy: bool,
    /// Whether Linux gives huge pages to all memory.
    huge_for_all: bool,
    /// Whether the host may have changed more than is noted here.
    is_in_doubt: bool,
}

impl AddressSpace {
    /// An empty address space. `slide` is how many pages the area for mappings
    /// shall end below the high window's end.
    pub fn new(memory: GuestMemory, machine: Arc<dyn Machine>, slide: u64) -> Self {
        let ceiling = HIGH_END - slide.min(1 << 22) * PAGE;
        let state = State {
            map: Map::default(),
            program_break: ProgramBreak::default(),
            guards: Map::default(),
            not_inherited: Map::default(),
            ceiling,
            promises: Promises::default(),
            streams: Streams::default(),
            habits: Habits::default(),
            heap_habit: Habit::default(),
            advised: Map::default(),
            unfit: Map::default(),
            has_policy: false,
            huge_for_all: streams::are_huge_pages_for_all(),
            is_in_doubt: false,
        };
        let (has_growing, contexts) = (AtomicBool::new(false), Contexts::default());
        Self { memory, machine, state: Mutex::new(state), has_growing, contexts }
    }

    /// Keeps the memory from changing until the result is dropped, for a fork.
    pub fn freeze(&self) -> impl Drop + use<'_> {
        self.state()
    }

    /// The same memory as a forked child has it, in the child's own machine.
    pub fn moved_to(&self, machine: Arc<dyn Machine>) -> Result<Self, PlatformError> {
        let mut state = self.state().clone();
        state.promises = state.promises.inherited();
        state.streams = Streams::default();
        for Mapped { span, .. } in std::mem::take(&mut state.not_inherited).all() {
            state.forget(span);
        }
        state.show_to(&*machine)?;
        let (memory, contexts) = (self.memory.again(), Contexts::default());
        let has_growing = AtomicBool::new(self.has_growing.load(Ordering::Relaxed));
        Ok(Self { memory, machine, state: Mutex::new(state), has_growing, contexts })
    }

    /// Gives the memory another machine, in the same process.
    pub fn put_machine(&mut self, machine: Arc<dyn Machine>) -> Result<(), PlatformError> {
        let mut state = self.state();
        state.streams = Streams::default();
        state.show_to(&*machine)?;
        drop(state);
        self.machine = machine;
        Ok(())
    }

    /// The token for forwarded calls.
    pub fn guest_memory(&self) -> &GuestMemory {
        &self.memory
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a mapping in the place of what was there.
    fn note(&mut self, span: GuestSpan, protection: Protection, kind: Kind) {
        self.forget(span);
        self.map.insert(span, protection, kind);
    }

    /// Forgets what was mapped.
    fn forget(&mut self, span: GuestSpan) {
        let Self { map, guards, not_inherited, advised, unfit, .. } = self;
        for map in [map, guards, not_inherited, advised, unfit] {
            map.remove(span);
        }
        self.streams.forget(span);
    }

    /// Tells a new machine what may be executed, and what is likely to be used.
    fn show_to(&self, machine: &dyn Machine) -> Result<(), PlatformError> {
        for Mapped { span, protection, .. } in self.map.all() {
            if protection.executes() {
                machine.set_executable(span, true)?;
            } else if protection.reads() && span.len() <= CHUNK {
                machine.cover(span)?;
            }
        }
        Ok(())
    }

    /// Room for `len` bytes: at `hint` if that is free, else as high as possible.
    fn find_room(
        &mut self,
        hint: u64,
        len: u64,
        alignment: u64,
        low: bool,
    ) -> Result<GuestSpan, Errno> {
        let wish = GuestSpan::new(hint / PAGE * PAGE, len);
        if let Some(wish) = wish.filter(|&wish| hint != 0 && crate::layout::in_window(wish))
            && self.map.is_free_and_apart(wish)
            && wish.start().is_multiple_of(alignment)
            && (!low || wish.end() <= LOW_END)
        {
            return Ok(wish);
        }
        // The low window's upper half leaves brk room to grow; MAP_32BIT means
        // the first 2 GiB on Linux, and here what is left of them.
        let found = if low {
            self.map.highest_gap(LOW_START, LOW_END / 2, len, alignment)
        } else {
            self.map
                .highest_gap(HIGH_START, self.ceiling, len, alignment)
                .or_else(|| self.map.highest_gap(self.ceiling, HIGH_END, len, alignment))
        };
        found.and_then(|start| GuestSpan::new(start, len)).ok_or(Errno::ENOMEM)
    }
}

/// `len` rounded up to pages, or `None` where that overflows.
pub(crate) fn whole_pages(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(PAGE)
}
