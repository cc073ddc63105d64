//! Host signals: the guest's mask is the host thread's mask, and the guest's
//! dispositions are the host process's. (While a guest blocks all for a moment, the mask may follow later:
//! docs/adr/0017.)
//!
//! So Linux itself queues signals, picks threads, counts, orders and interrupts.
//! Only one thing is ours: a signal that the guest wants to handle is *caught*.
//! The handler writes it down for this thread, blocks every signal (the next one
//! stays in the kernel's queue) and makes the virtual CPU come back. The monitor
//! then builds the guest's signal frame and sets the mask the handler runs with.
//!
//! # Invariant
//!
//! While [`caught_flag`]'s byte is set, every signal is blocked in this thread:
//! at most one signal is caught and not yet delivered.

use std::{
    arch::global_asm,
    cell::{Cell, UnsafeCell},
    ptr,
    sync::atomic::{AtomicU8, Ordering},
};

use nix::errno::Errno;

use crate::host_call::{self, to_u64};

/// The highest signal number.
pub const SIGNAL_MAX: u32 = 64;

/// `si_code` of `tgkill(2)`.
const SI_TKILL: i32 = -6;

/// `SA_RESTORER` of `asm/signal.h`.
const SA_RESTORER: u64 = 0x0400_0000;

/// `struct sigaction` as the kernel reads it; the layout of the system call,
/// not the C library's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct KernelAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// What the host process shall do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// Catch it for the guest.
    Catch,
}

/// A signal that was caught and waits to be delivered to the guest.
#[derive(Clone, Copy)]
pub struct Caught {
    /// The kernel's `siginfo_t`, 128 bytes.
    pub info: [u8; 128],
    /// The mask to be restored when the guest's handler returns.
    pub mask: u64,
}

impl std::fmt::Debug for Caught {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Caught").field("signal", &self.signal()).finish_non_exhaustive()
    }
}

impl Caught {
    /// The signal's number.
    pub fn signal(&self) -> u32 {
        u32::from_le_bytes([self.info[0], self.info[1], self.info[2], self.info[3]])
    }

    /// `si_code`.
    fn code(&self) -> i32 {
        i32::from_le_bytes([self.info[8], self.info[9], self.info[10], self.info[11]])
    }
}

struct Slot {
    filled: AtomicU8,
    caught: UnsafeCell<Caught>,
    immediate_exit: Cell<*const AtomicU8>,
}

thread_local! {
    static SLOT: Slot = const {
        Slot {
            filled: AtomicU8::new(0),
            caught: UnsafeCell::new(Caught { info: [0; 128], mask: 0 }),
            immediate_exit: Cell::new(ptr::null()),
        }
    };
}

global_asm!(
    ".global monitor_signal_return",
    "monitor_signal_return:",
    "mov eax, 15", // rt_sigreturn
    "syscall",
);

unsafe extern "C" {
    safe static monitor_signal_return: u8;
}

/// The handler of every caught signal. Async-signal-safe: it touches this
/// thread's slot, which has no destructor and no lazy start, and the frame.
///
/// # Safety
///
/// Only the kernel calls it, with its own frame.
unsafe extern "C" fn catch(_signal: i32, info: *const Caught, context: *mut libc::ucontext_t) {
    // The kernel's mask is one word, the C library's structure is longer.
    // SAFETY: the kernel passes its frame, which is writable until we return.
    let mask = unsafe { (&raw mut (*context).uc_sigmask).cast::<u64>() };
    // SAFETY: as above.
    let rip = unsafe { &mut (&mut (*context).uc_mcontext.gregs)[16] };
    SLOT.with(|slot| {
        // SAFETY: the flag is clear, so nobody reads the slot: signals are blocked
        // from the moment one is caught until it was taken (the invariant).
        let caught = unsafe { &mut *slot.caught.get() };
        // SAFETY: the kernel passes 128 bytes of siginfo.
        caught.info = unsafe { *info.cast::<[u8; 128]>() };
        // SAFETY: as for `mask` above.
        caught.mask = unsafe { mask.read() };
        slot.filled.store(1, Ordering::Relaxed);
        // SAFETY: null, or the byte of the vCPU this thread registered and has not
        // withdrawn.
        if let Some(immediate_exit) = unsafe { slot.immediate_exit.get().as_ref() } {
            immediate_exit.store(1, Ordering::Relaxed);
        }
    });
    // SAFETY: as for `mask` above.
    unsafe { mask.write(u64::MAX) };
    if let Some(target) = host_call::rewind_target(rip.cast_unsigned()) {
        *rip = target.cast_signed();
    }
}

/// Sets what the host process does about `signal`. `flags` are the guest's
/// `sa_flags`, of which those that steer the kernel are used: `SA_RESTART`,
/// `SA_NOCLDSTOP`, `SA_NOCLDWAIT`.
///
/// # Panics
///
/// If `signal` is not in `1..=64`: the caller has checked the guest's number.
pub fn set_disposition(signal: u32, disposition: Disposition, flags: u64) -> Result<(), Errno> {
    assert!((1..=SIGNAL_MAX).contains(&signal), "signal {signal}");
    let steering = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
    let flags = flags & u64::from(steering.cast_unsigned());
    let action = match disposition {
        Disposition::Default => KernelAction { flags, ..KernelAction::default() },
        Disposition::Ignore => KernelAction { handler: 1, flags, ..KernelAction::default() },
        Disposition::Catch => catching(flags),
    };
    change_action(signal, Some(&action)).map(|_| ())
}

fn catching(steering: u64) -> KernelAction {
    let information = u64::from(libc::SA_SIGINFO.cast_unsigned());
    let handler: unsafe extern "C" fn(i32, *const Caught, *mut libc::ucontext_t) = catch;
    KernelAction {
        handler: to_u64((handler as *const ()).addr()),
        flags: steering | information | SA_RESTORER,
        restorer: to_u64((&raw const monitor_signal_return).addr()),
        mask: u64::MAX,
    }
}

/// Whether the process was started with `signal` ignored.
pub fn is_ignored(signal: u32) -> Result<bool, Errno> {
    Ok(change_action(signal, None)?.handler == 1)
}

fn change_action(signal: u32, new: Option<&KernelAction>) -> Result<KernelAction, Errno> {
    let mut old = KernelAction::default();
    let new = new.map_or(0, |action| to_u64((&raw const *action).addr()));
    let args = [u64::from(signal), new, to_u64((&raw mut old).addr()), 8, 0, 0];
    // SAFETY: `new` is null or a borrowed action, `old` a local one; the handler
    // inside is a function of this module, default or ignore.
    unsafe { host_call::raw(libc::SYS_rt_sigaction, args) }?;
    Ok(old)
}

/// This thread's mask: bit `n - 1` is set where signal `n` is blocked.
pub fn mask() -> u64 {
    exchange_mask(2, None)
}

/// Blocks every signal and returns the mask before. `None` if one was caught first:
/// then every signal already is blocked, and stays so until it was taken.
pub fn block_all() -> Option<u64> {
    let before = exchange_mask(2, Some(u64::MAX));
    (!has_caught()).then_some(before)
}

/// Sets this thread's mask. What it unblocks may be caught before this returns.
pub fn set_mask(mask: u64) {
    exchange_mask(2, Some(mask));
}

/// Does work whose writes shall not end the process by `SIGPIPE` or `SIGXFSZ`: the guest's dispositions are the
/// process's. Every signal is blocked meanwhile; what of these two arises is taken away, not what was pending before.
pub fn without_write_signals<R>(work: impl FnOnce() -> R) -> R {
    let mask = block_all();
    let before = pending();
    let result = work();
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        let bit = 1_u64 << (signal - 1);
        if pending() & !before & bit != 0 {
            consume(bit);
        }
    }
    if let Some(mask) = mask {
        set_mask(mask);
    }
    result
}

/// The signals that are pending for this thread: bit `n - 1` for signal `n`.
fn pending() -> u64 {
    let mut set = 0_u64;
    let args = [to_u64((&raw mut set).addr()), 8, 0, 0, 0, 0];
    // SAFETY: the kernel writes one word, which is local.
    _ = unsafe { host_call::raw(libc::SYS_rt_sigpending, args) };
    set
}

/// Takes a blocked signal of this set off the queue, if there is one.
fn consume(set: u64) {
    let at_once = [0_u64; 2];
    let [set, time] = [(&raw const set).addr(), at_once.as_ptr().addr()].map(to_u64);
    // SAFETY: the kernel reads a set and a time, both local; who sent it is not asked.
    _ = unsafe { host_call::raw(libc::SYS_rt_sigtimedwait, [set, 0, time, 8, 0, 0]) };
}

fn exchange_mask(how: u64, new: Option<u64>) -> u64 {
    let mut old = 0_u64;
    let new = new.as_ref().map_or(0, |mask| to_u64((&raw const *mask).addr()));
    let args = [how, new, to_u64((&raw mut old).addr()), 8, 0, 0];
    // SAFETY: both pointers are null or to a word on this stack.
    let result = unsafe { host_call::raw(libc::SYS_rt_sigprocmask, args) };
    result.expect("the arguments are right");
    old
}

/// The byte that is set while a caught signal waits in this thread.
pub(crate) fn caught_flag() -> *const u8 {
    SLOT.with(|slot| slot.filled.as_ptr().cast_const())
}

/// Whether a caught signal waits in this thread.
pub fn has_caught() -> bool {
    SLOT.with(|slot| slot.filled.load(Ordering::Relaxed) != 0)
}

/// The mask the guest has: not that everything is blocked while a caught signal
/// waits, but what was before.
pub fn guest_mask() -> u64 {
    let mask = mask();
    // Looked at last: a signal that is caught before has blocked everything.
    waiting(|caught| caught.mask).unwrap_or(mask)
}

/// Sets the mask the guest has. A caught signal that waits is delivered with it, or goes back to the kernel's queue
/// if it blocks it: to the thread's own if `tgkill(2)` sent it, and else to the process's, from which it most likely came.
pub fn set_guest_mask(mask: u64) {
    // None can be caught from here on, between a look and the change it leads to.
    _ = block_all();
    let delivered = waiting(|caught| {
        caught.mask = mask;
        mask & (1 << (caught.signal() - 1)) == 0
    });
    if delivered == Some(true) {
        return;
    }
    match take_caught() {
        Some(caught) if caught.code() == SI_TKILL => queue_to_self(&caught),
        Some(caught) => queue_to_process(&caught),
        None => {}
    }
    set_mask(mask);
}

/// Looks at the caught signal, if one waits.
fn waiting<R>(look: impl FnOnce(&mut Caught) -> R) -> Option<R> {
    SLOT.with(|slot| {
        // SAFETY: while the flag is set, every signal is blocked, so the handler does
        // not run in this thread; `look` has no other way to the slot.
        has_caught().then(|| look(unsafe { &mut *slot.caught.get() }))
    })
}

/// Puts a signal with its information into the calling thread's queue.
fn queue_to_self(caught: &Caught) {
    let process = u64::from(std::process::id());
    let thread = u64::from(crate::process::thread_id());
    let info = to_u64(caught.info.as_ptr().addr());
    let args = [process, thread, u64::from(caught.signal()), info, 0, 0];
    // SAFETY: the kernel reads the 128 bytes of information, which are borrowed.
    _ = unsafe { host_call::raw(libc::SYS_rt_tgsigqueueinfo, args) };
}

/// The same for the process's queue. By the number of the thread: the kernel takes a thread's for its process's, and
/// lets nobody but who has the very number send what looks as if `kill(2)` or the kernel had sent it.
fn queue_to_process(caught: &Caught) {
    let thread = u64::from(crate::process::thread_id());
    let info = to_u64(caught.info.as_ptr().addr());
    let args = [thread, u64::from(caught.signal()), info, 0, 0, 0];
    // SAFETY: the kernel reads the 128 bytes of information, which are borrowed.
    if unsafe { host_call::raw(libc::SYS_rt_sigqueueinfo, args) }.is_err() {
        queue_to_self(caught);
    }
}

/// Takes the caught signal. Every signal stays blocked until the caller sets
/// the mask the guest's handler shall run with.
pub fn take_caught() -> Option<Caught> {
    SLOT.with(|slot| {
        if slot.filled.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // SAFETY: the flag is set, so every signal is blocked and the handler
        // cannot run in this thread until the mask changes.
        let caught = unsafe { *slot.caught.get() };
        slot.filled.store(0, Ordering::Relaxed);
        Some(caught)
    })
}

/// Names the byte that makes this thread's virtual CPU return at once.
///
/// # Safety
///
/// `byte` must stay valid until this is called again with another one, or null.
pub(crate) unsafe fn set_immediate_exit(byte: *const AtomicU8) {
    SLOT.with(|slot| slot.immediate_exit.set(byte));
}

/// Ends the process as Linux ends one that `signal` kills.
pub fn die_by(signal: u32) -> ! {
    // An error here leaves the signal caught or blocked; the exit below remains.
    _ = set_disposition(signal, Disposition::Default, 0);
    send_to_self(signal);
    set_mask(!(1 << (signal - 1)));
    crate::process::exit_group(128 + signal)
}

/// Sends a signal to the calling thread.
pub fn send_to_self(signal: u32) {
    let process = u64::from(std::process::id());
    // SAFETY: gettid(2) takes no argument.
    let thread = unsafe { host_call::raw(libc::SYS_gettid, [0; 6]) }.unwrap_or(process);
    let send = [process, thread, u64::from(signal), 0, 0, 0];
    // SAFETY: tgkill(2) takes no pointer.
    _ = unsafe { host_call::raw(libc::SYS_tgkill, send) };
}

/// What Rust's runtime changes before `main`, and the guest must not notice:
/// `SIGPIPE` is ignored, `SIGSEGV` and `SIGBUS` are caught.
///
/// Puts back what the process was started with.
pub fn undo_runtime_setup() -> Result<(), Errno> {
    let pipe = AT_START.load(Ordering::Relaxed);
    if pipe == 0 {
        set_disposition(libc::SIGPIPE.cast_unsigned(), Disposition::Default, 0)?;
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        set_disposition(signal.cast_unsigned(), Disposition::Default, 0)?;
    }
    Ok(())
}

/// 1 if the process was started with `SIGPIPE` ignored.
static AT_START: AtomicU8 = AtomicU8::new(0);

extern "C" fn note_sigpipe() {
    let ignored = is_ignored(libc::SIGPIPE.cast_unsigned()).unwrap_or(false);
    AT_START.store(u8::from(ignored), Ordering::Relaxed);
}

// Functions in this section are called once, before `main`; `note_sigpipe`
// needs nothing that is not ready then.
#[unsafe(link_section = ".init_array")]
#[used]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

#[cfg(test)]
mod tests {
    use super::{
        Disposition, SIGNAL_MAX, block_all, guest_mask, has_caught, mask, send_to_self,
        set_disposition, set_guest_mask, set_mask, take_caught,
    };

    /// `SIGKILL` and `SIGSTOP`.
    const UNBLOCKABLE: u64 = 1 << 8 | 1 << 18;

    #[test]
    fn all_are_blocked_unless_one_was_caught_before() {
        let signal = SIGNAL_MAX - 1;
        set_disposition(signal, Disposition::Catch, 0).unwrap();
        let before = mask();

        assert_eq!(block_all(), Some(before));
        assert_eq!(mask() | UNBLOCKABLE, u64::MAX);
        set_mask(before);
        send_to_self(signal);
        assert_eq!(block_all(), None);
        assert_eq!(take_caught().unwrap().mask, before);
        set_mask(before);
    }

    #[test]
    fn a_caught_signal_follows_the_guests_mask() {
        let signal = SIGNAL_MAX - 2;
        set_disposition(signal, Disposition::Catch, 0).unwrap();
        let before = mask();
        send_to_self(signal);
        assert_eq!(guest_mask(), before);

        set_guest_mask(before | 1);
        assert_eq!(guest_mask(), before | 1, "it waits to be delivered with this one");
        let blocked = before | 1 << (signal - 1);
        set_guest_mask(blocked);
        assert!(!has_caught(), "it waits in the kernel's queue");
        assert_eq!(mask(), blocked);

        set_mask(before);
        assert_eq!(take_caught().unwrap().signal(), signal);
        set_mask(before);
    }

    #[test]
    fn a_signal_is_caught_once_and_blocks_the_next() {
        let signal = SIGNAL_MAX;
        set_disposition(signal, Disposition::Catch, 0).unwrap();
        let before = mask();
        let send = || {
            // SAFETY: raise(3) takes no pointer; the handler is ours.
            unsafe { libc::raise(signal.cast_signed()) }
        };

        send();
        send();

        assert_eq!(take_caught().unwrap().signal(), signal);
        assert!(!has_caught(), "the second one waits in the kernel");
        set_mask(before);
        assert_eq!(take_caught().unwrap().mask, before);
        set_mask(before);
        assert!(!has_caught());
    }
}
