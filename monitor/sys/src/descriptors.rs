//! The monitor's own descriptors: kept high, and known, so that the guest can
//! be told that they are not there.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU8, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::resource::{Resource, getrlimit},
};

use crate::guest_memory::GuestMemory;

/// Where the monitor's descriptors begin if the limits allow: below the usual
/// soft limit of 1024, so that the table stays small and is cheap to fork.
const PREFERRED_BASE: i32 = 960;

/// How many descriptors the monitor leaves itself below a small hard limit.
const RESERVE: i32 = 48;

/// No descriptor below this one is the monitor's.
static LOWEST: AtomicI32 = AtomicI32::new(i32::MAX);

/// The monitor's descriptors, sorted.
static OURS: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Moves a descriptor up and out of the guest's reach, close-on-exec.
pub fn hide<T: AsFd>(descriptor: T) -> Result<OwnedFd, Errno> {
    let high = duplicate_high(descriptor, FcntlArg::F_DUPFD_CLOEXEC)?;
    remember(high);
    // SAFETY: the kernel just made this descriptor for us, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

/// Whether the guest must not see this descriptor.
pub fn is_ours(descriptor: i32) -> bool {
    descriptor >= LOWEST.load(Ordering::Relaxed) && ours().binary_search(&descriptor).is_ok()
}

/// The monitor's descriptors among `first..=last`, in order.
pub fn ours_within(first: u32, last: u32) -> Vec<u32> {
    let all = ours();
    let numbers = all.iter().filter_map(|&descriptor| u32::try_from(descriptor).ok());
    numbers.filter(|number| (first..=last).contains(number)).collect()
}

/// Takes a descriptor by its number from whoever started the monitor.
///
/// `EBADF` if it is not open. The number must have been given to this process
/// for this purpose: it is owned, and closed, from here on.
pub fn inherit(descriptor: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: `F_GETFD` takes no pointer and changes nothing.
    if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, and by this function's contract handed over to us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor of the guest's, for the length of a call. `EBADF` if it is not
/// open or not the guest's.
///
/// The guest may close it meanwhile from another thread; then the call fails, or
/// finds another file of the guest's.
pub fn borrow(_guest: &GuestMemory, descriptor: RawFd) -> Result<BorrowedFd<'_>, Errno> {
    if descriptor < 0 || is_ours(descriptor) {
        return Err(Errno::EBADF);
    }
    // SAFETY: not -1. Only the guest's own descriptors are lent, on whose being
    // open nothing of Rust's relies.
    Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Puts `file` in the place of the guest's `descriptor`, which keeps its number
/// and its close-on-exec flag.
pub fn replace(_guest: &GuestMemory, descriptor: RawFd, file: &OwnedFd) -> Result<(), Errno> {
    if is_ours(descriptor) {
        return Err(Errno::EBADF);
    }
    // SAFETY: `F_GETFD` takes no pointer and changes nothing.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    let flags = if flags & libc::FD_CLOEXEC == 0 { 0 } else { libc::O_CLOEXEC };
    // SAFETY: only a descriptor of the guest's is replaced, on which nothing of
    // Rust's relies; `file` is open.
    let result = unsafe { libc::dup3(file.as_raw_fd(), descriptor, flags) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// Opens `/dev/kvm` or its like for reading and writing, and hides it.
pub fn open_device(path: &std::path::Path) -> Result<OwnedFd, std::io::Error> {
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    Ok(hide(file)?)
}

/// Keeps the list of the monitor's descriptors from changing during a fork.
#[derive(Debug)]
pub struct Frozen(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, Vec<RawFd>>);

/// Freezes the list until the result is dropped.
pub fn freeze() -> Frozen {
    Frozen(ours())
}

/// The monitor's descriptors.
pub fn list() -> Vec<RawFd> {
    ours().clone()
}

/// In a forked child: closes those of the `inherited` descriptors that nobody has
/// closed, but for those to be kept. Their owners were other threads, which the
/// child does not have.
pub fn close_orphans(inherited: &[RawFd], keep: &[RawFd]) {
    let mut all = ours();
    let is_orphan =
        |descriptor: &RawFd| inherited.contains(descriptor) && !keep.contains(descriptor);
    for descriptor in all.iter().filter(|&descriptor| is_orphan(descriptor)) {
        // SAFETY: it is open, as the list says, and nobody is left to use it.
        drop(unsafe { OwnedFd::from_raw_fd(*descriptor) });
    }
    all.retain(|descriptor| !is_orphan(descriptor));
}

/// A copy of a descriptor for the program that is executed next: it stays open
/// there. The number is above the guest's.
pub fn pass_on<T: AsFd>(descriptor: T) -> Result<OwnedFd, Errno> {
    let high = duplicate_high(descriptor, FcntlArg::F_DUPFD)?;
    // SAFETY: the kernel just made this descriptor for us, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

/// The same for a descriptor of the guest's, if it is closed on execution: the
/// next program could not be found by its number.
pub fn pass_if_closed(descriptor: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD)?);
    flags.contains(FdFlag::FD_CLOEXEC).then(|| pass_on(descriptor)).transpose()
}

/// Takes a hidden descriptor off the list, for an owner who will close it soon.
pub fn release(descriptor: OwnedFd) -> OwnedFd {
    forget(&descriptor);
    descriptor
}

/// Forgets a descriptor that is about to be closed.
pub(crate) fn forget<T: AsRawFd>(descriptor: &T) {
    ours().retain(|&known| known != descriptor.as_raw_fd());
}

fn remember(descriptor: RawFd) {
    LOWEST.fetch_min(descriptor, Ordering::Relaxed);
    let mut all = ours();
    if let Err(place) = all.binary_search(&descriptor) {
        all.insert(place, descriptor);
    }
}

/// Duplicates a descriptor to a number from [`PREFERRED_BASE`] up, or below the
/// soft limit where the guest has set that lower.
fn duplicate_high<T: AsFd>(
    descriptor: T,
    command: fn(RawFd) -> FcntlArg<'static>,
) -> Result<RawFd, Errno> {
    let descriptor = descriptor.as_fd();
    match fcntl(descriptor, command(PREFERRED_BASE)) {
        Err(Errno::EINVAL | Errno::EMFILE) => {
            let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
            fcntl(descriptor, command(base(soft)))
        }
        result => result,
    }
}

/// Where the monitor's descriptors begin under a soft limit.
fn base(limit: u64) -> i32 {
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    PREFERRED_BASE.min(limit.saturating_sub(RESERVE)).max(3)
}

fn ours() -> MutexGuard<'static, Vec<RawFd>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes what Rust's runtime opened before `main` in place of standard
/// descriptors that the process was started without: the guest starts without
/// them too.
pub fn close_stand_ins() {
    for descriptor in
        (0..3).filter(|descriptor| CLOSED_AT_START.load(Ordering::Relaxed) & 1 << descriptor != 0)
    {
        // SAFETY: the runtime opened `/dev/null` here and uses it no more than any
        // other standard descriptor, which may be closed at any time.
        unsafe { libc::close(descriptor) };
    }
}

/// Bit `n` is set if standard descriptor `n` was closed when the process started.
static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

extern "C" fn note_closed() {
    for descriptor in 0..3 {
        // SAFETY: `F_GETFD` takes no pointer and changes nothing.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
            CLOSED_AT_START.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}

// Functions in this section are called once, before `main`; `note_closed` needs
// nothing that is not ready then.
#[unsafe(link_section = ".init_array")]
#[used]
static NOTE_CLOSED: extern "C" fn() = note_closed;

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::{hide, is_ours, ours_within};

    #[test]
    fn a_hidden_descriptor_is_high_and_known() {
        let low = File::open("/dev/null").unwrap();

        let high = hide(&low).unwrap();

        let number = high.as_raw_fd();
        assert!(is_ours(number) && !is_ours(low.as_raw_fd()));
        assert!(number > low.as_raw_fd() + 16);
        let number = u32::try_from(number).unwrap();
        assert!(ours_within(number, number).contains(&number));
    }
}
