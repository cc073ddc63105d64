//! Robust futexes of threads that a signal ends, which no code of ours outlives: the kernel
//! releases them, by a list that each thread has announced (`set_robust_list(2)`).
//!
//! # Invariant
//!
//! When the kernel follows a guest's list, the memory it is in dies with its thread.
//!
//! The list is the guest's to change, so it can lead the kernel anywhere: where a word equals the
//! thread's number, it writes that the owner died. That may be memory of the monitor's, which nobody
//! must use after that. So a thread withdraws its list before it ends alone, and no guest's list is
//! followed while another process shares this memory. A thread can announce or withdraw only its own;
//! so what a thread among others announces is a [`Relay`], which any of them can shut.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use nix::errno::Errno;

use crate::{guest_copy, host_call, process};

/// `sizeof(struct robust_list_head)`.
pub const HEAD_LEN: u64 = 24;

/// What threads of this process have announced, by their numbers. Whoever takes it looks at
/// `BORROWERS` after that.
static LISTS: Mutex<Lists> = Mutex::new(BTreeMap::new());
type Lists = BTreeMap<u32, Announced>;

/// How many processes share this memory with its owner. One that shared it, lent it in turn and was
/// killed is counted for ever.
static BORROWERS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Whether the thread's process borrows its memory. It leaves `LISTS` alone: that would stay locked
    /// if it were killed meanwhile. A process's number says nothing, as it can be that of the owner's in
    /// another namespace.
    static BORROWS: Cell<bool> = const { Cell::new(false) };
}

/// What a thread has announced.
enum Announced {
    /// The guest's list, by its head's address. Then the process has no other thread, and nobody
    /// shares this memory.
    Itself(u64),
    ByRelay(Box<Relay>),
}

impl Announced {
    /// What may stand for the guest's list. Nothing if it has none.
    fn new(head: u64, alone: bool) -> Option<Self> {
        match head {
            0 => None,
            _ if alone && !is_lent() => Some(Self::Itself(head)),
            _ => Relay::new(head).map(Self::ByRelay),
        }
    }

    fn address(&self) -> u64 {
        match self {
            Self::Itself(head) => *head,
            Self::ByRelay(relay) => relay.address(),
        }
    }

    fn relay(&self) -> Option<&Relay> {
        match self {
            Self::Itself(_) => None,
            Self::ByRelay(relay) => Some(relay),
        }
    }
}

/// A `struct robust_list_head` of ours, which says that the guest's head is its first entry, and that
/// this entry is about to change: so Linux does not end at the head if no word lies where its lock
/// would be. It goes round the guest's list until it has seen `ROBUST_LIST_LIMIT` entries. What the
/// guest itself was about to change is not seen: a thread among others that is killed between a lock's
/// word and its list leaves that one lock as it is.
#[repr(C)]
struct Relay {
    next: AtomicU64,
    offset: u64,
    pending: AtomicU64,
    /// The guest's.
    head: u64,
}

impl Relay {
    /// A shut one.
    fn new(head: u64) -> Option<Box<Self>> {
        let [_, offset, _] = guest_copy::read::<[u64; 3]>(head).ok()?;
        let none = || AtomicU64::new(0);
        let relay = Box::new(Self { next: none(), offset, pending: none(), head });
        relay.shut();
        Some(relay)
    }

    fn address(&self) -> u64 {
        host_call::to_u64(std::ptr::from_ref(self).expose_provenance())
    }

    fn open(&self) {
        self.pending.store(self.head, Ordering::SeqCst);
        self.next.store(self.head, Ordering::SeqCst);
    }

    /// A list that leads to its own head is empty.
    fn shut(&self) {
        self.next.store(self.address(), Ordering::SeqCst);
        self.pending.store(0, Ordering::SeqCst);
    }
}

/// Announces the calling thread's list, whose head is at the address of the guest's, or 0 for none.
/// `alone` says that the process has no other thread. In a process that borrows its memory, nothing
/// is announced.
pub fn announce(head: u64, alone: bool) {
    if !is_owner() {
        return;
    }
    let thread = process::thread_id();
    let mut lists = lock();
    if head == 0 && !lists.contains_key(&thread) {
        return;
    }
    let announced = Announced::new(head, alone);
    if !is_lent() {
        _ = announced.as_ref().and_then(Announced::relay).map(Relay::open);
    }
    set(announced.as_ref().map_or(0, Announced::address));
    // The kernel has forgotten what was announced before.
    match announced {
        Some(announced) => _ = lists.insert(thread, announced),
        None => _ = lists.remove(&thread),
    }
}

/// Withdraws the calling thread's list, if it has announced one.
pub fn withdraw() {
    announce(0, false);
}

/// Ends the process, and has the kernel release its threads' futexes. Threads that wait for them go
/// on for a moment if that is done before: they would see what never happens on Linux.
pub fn exit_group(head: u64, status: u32) -> ! {
    // Held to the end: who wants to lend this memory meanwhile waits for that.
    let lists = is_owner().then(lock).filter(|_| !is_lent());
    if lists.is_some() {
        set(head);
    }
    process::exit_group(status)
}

/// Whether the calling thread's process borrows its memory: for [`set_borrows`] in threads it starts.
pub fn borrows() -> bool {
    BORROWS.get()
}

/// Says it for a new thread, or for a new process that uses the storage of a thread that stands still.
pub fn set_borrows(borrows: bool) {
    BORROWS.set(borrows);
}

/// This memory, lent to another process.
#[derive(Debug)]
pub(crate) struct Lent(());

/// Lends this memory to another process, until the answer is dropped. `EAGAIN` if a guest's list is
/// announced itself, which nobody but its thread can withdraw.
pub(crate) fn lend() -> Result<Lent, Errno> {
    BORROWERS.fetch_add(1, Ordering::SeqCst);
    let lent = Lent(());
    if is_owner() {
        let lists = lock();
        lists.values().filter_map(Announced::relay).for_each(Relay::shut);
        if lists.values().any(|announced| announced.relay().is_none()) {
            drop(lists);
            return Err(Errno::EAGAIN);
        }
    }
    Ok(lent)
}

impl Drop for Lent {
    fn drop(&mut self) {
        BORROWERS.fetch_sub(1, Ordering::SeqCst);
        if is_owner() {
            let lists = lock();
            if !is_lent() {
                lists.values().filter_map(Announced::relay).for_each(Relay::open);
            }
        }
    }
}

/// What is announced stays so: for a process that is being copied.
pub(crate) struct Unchanging(Option<MutexGuard<'static, Lists>>);

pub(crate) fn hold() -> Unchanging {
    Unchanging(is_owner().then(lock))
}

impl Unchanging {
    /// In the copy: nothing is announced or lent here.
    pub(crate) fn start_afresh(self) {
        // Who copied borrowed memory could not hold the lock. If its owner did, it is never released.
        let lists = self.0.or_else(|| LISTS.try_lock().ok());
        BORROWERS.store(0, Ordering::SeqCst);
        BORROWS.set(lists.is_none());
        if let Some(mut lists) = lists {
            lists.clear();
        }
    }
}

fn lock() -> MutexGuard<'static, Lists> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_lent() -> bool {
    BORROWERS.load(Ordering::SeqCst) != 0
}

/// Whether the calling process does not borrow this memory.
fn is_owner() -> bool {
    !BORROWS.get()
}

fn set(head: u64) {
    // SAFETY: the kernel follows the list when the thread ends. A guest's own, or that of an open
    // relay, is followed only when all threads of the process end, and no other process has this
    // memory: nobody uses it any more. A shut relay leads nowhere. A relay lives until its thread
    // has set another list, or none; what a copied process had announced is unknown in the copy.
    _ = unsafe { host_call::raw(libc::SYS_set_robust_list, [head, HEAD_LEN, 0, 0, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{LISTS, announce, lend, lock, withdraw};
    use crate::{
        guest_copy,
        guest_memory::{GuestMemory, GuestSpan, PAGE},
        host_call, process,
    };

    const HEAD: u64 = 0x40_0000_0000;

    /// The head of an empty list in guest memory.
    fn guest_list() -> GuestMemory {
        let memory = GuestMemory::claim().unwrap();
        let span = GuestSpan::new(HEAD, PAGE).unwrap();
        memory.map(span, 3, 0x22, None, 0).unwrap();
        guest_copy::write(HEAD, &[HEAD, 0_u64.wrapping_sub(32), 0]).unwrap();
        memory
    }

    /// What the kernel has been told by the calling thread.
    fn announced() -> u64 {
        let (mut head, mut len) = (0_u64, 0_u64);
        let places = [(&raw mut head).expose_provenance(), (&raw mut len).expose_provenance()];
        let [head_at, len_at] = places.map(host_call::to_u64);
        // SAFETY: get_robust_list(2) writes two words, to places that are ours.
        let told =
            unsafe { host_call::raw(libc::SYS_get_robust_list, [0, head_at, len_at, 0, 0, 0]) };
        told.unwrap();
        head
    }

    /// The first entry and the pending one of the calling thread's relay.
    fn led_to() -> [u64; 2] {
        use std::sync::atomic::Ordering::SeqCst;
        let lists = lock();
        let relay = lists[&process::thread_id()].relay().expect("a relay");
        assert_eq!(relay.address(), announced());
        [relay.next.load(SeqCst), relay.pending.load(SeqCst)]
    }

    #[test]
    fn a_list_is_not_followed_while_the_memory_is_lent() {
        let _memory = guest_list();

        announce(HEAD, false);
        assert_eq!(led_to(), [HEAD, HEAD]);
        let lent = [lend().unwrap(), lend().unwrap()];
        assert_eq!(led_to(), [announced(), 0]);
        announce(HEAD, true);
        assert_eq!(led_to(), [announced(), 0], "one that is announced meanwhile neither");
        let [first, second] = lent;
        drop(first);
        assert_eq!(led_to(), [announced(), 0]);
        drop(second);
        assert_eq!(led_to(), [HEAD, HEAD]);

        withdraw();
        assert_eq!(announced(), 0);
    }

    #[test]
    fn memory_whose_only_thread_has_announced_its_list_itself_is_not_lent() {
        let _memory = guest_list();

        announce(HEAD, true);
        assert_eq!(announced(), HEAD);
        assert_eq!(lend().unwrap_err(), Errno::EAGAIN);
        announce(HEAD, false);
        assert!(lend().is_ok());
    }

    #[test]
    fn an_ended_thread_is_forgotten() {
        let _memory = guest_list();

        std::thread::spawn(|| {
            announce(HEAD, false);
            withdraw();
        })
        .join()
        .unwrap();
        assert!(LISTS.lock().unwrap().is_empty());
    }

    #[test]
    fn a_list_that_is_not_the_guests_is_not_followed() {
        let _memory = guest_list();

        announce(0x7000_0000_0000, false);
        assert_eq!(announced(), 0);
    }
}
