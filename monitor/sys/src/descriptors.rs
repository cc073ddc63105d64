//! The monitor's own descriptors: kept high, and known, so that the guest can
//! be told that they are not there.
//!
//! A number is on the list before there is a descriptor at it, and as long as
//! there is one: no thread of the guest's finds it in between.

use std::{
    cell::Cell,
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicI32, AtomicU8, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::fstat,
    },
};

use crate::guest_memory::GuestMemory;

mod scratch;

pub use scratch::{Scratch, lead_elsewhere};

/// Where the monitor's descriptors begin where the soft limit is high: the table
/// stays small and is cheap to fork.
const LOW_BASE: u64 = 960;

/// A soft limit up to here is low: the monitor's descriptors lie above it, where
/// Linux too says `EBADF` to the guest, and leave it all of its own.
const LOW_LIMIT: u64 = 4096;

/// How many descriptors the monitor leaves itself below a small hard limit.
const RESERVE: u64 = 48;

/// A limit with room for the monitor's.
const ROOMY: u64 = 4096;

/// No descriptor below this one is the monitor's.
static LOWEST: AtomicI32 = AtomicI32::new(i32::MAX);

/// The monitor's descriptors, sorted. Locked before [`SPARE`].
static OURS: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Numbers of the monitor's that hold nothing just now, for [`Scratch`].
static SPARE: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Devices and inodes of all files that ever were the monitor's, as far as they were [`MANY`].
static FILES: RwLock<Vec<(u64, u64)>> = RwLock::new(Vec::new());

/// More files than this are not told apart: then every file might be one.
const MANY: usize = 256;

/// Descriptors that a forked child keeps whatever else it closes, or -1. The first one is what spare numbers lead to.
static KEPT: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// Moves a descriptor up and out of the guest's reach, close-on-exec.
pub fn hide<T: AsFd>(descriptor: T) -> Result<OwnedFd, Errno> {
    let high = duplicate_high(descriptor, FcntlArg::F_DUPFD_CLOEXEC)?;
    // SAFETY: the kernel just made this descriptor for us, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

/// The same for a file that is the guest's to see.
fn hide_guests(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let high = duplicate_to_high(descriptor, FcntlArg::F_DUPFD_CLOEXEC)?;
    // SAFETY: the kernel just made this descriptor for us, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

/// Whether the guest must not see this descriptor.
pub fn is_ours(descriptor: i32) -> bool {
    descriptor >= LOWEST.load(Ordering::Relaxed) && ours().binary_search(&descriptor).is_ok()
}

/// Whether a file is, or was, behind one of the monitor's descriptors. It is said of some files too many: of the
/// guest's program, and of all that share an inode as `eventfd(2)` and KVM's do.
pub fn may_be_our_file(device: u64, inode: u64) -> bool {
    let files = FILES.read().unwrap_or_else(PoisonError::into_inner);
    files.len() >= MANY || files.contains(&(device, inode))
}

/// Notes the file behind a descriptor.
fn note_file(descriptor: BorrowedFd<'_>) {
    let Ok(status) = fstat(descriptor) else { return };
    if !may_be_our_file(status.st_dev, status.st_ino) {
        let mut files = FILES.write().unwrap_or_else(PoisonError::into_inner);
        files.push((status.st_dev, status.st_ino));
    }
}

/// Whether one of the first `count` descriptors may be the monitor's.
pub(crate) fn may_be_ours_below(count: i32) -> bool {
    count > LOWEST.load(Ordering::Relaxed)
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
    if !is_open(descriptor) {
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

/// Closes a descriptor that was opened for the guest, who has not been told.
pub fn discard(_guest: &GuestMemory, descriptor: RawFd) {
    if !is_ours(descriptor) {
        // SAFETY: only a descriptor of the guest's is closed, on which nothing of
        // Rust's relies.
        unsafe { libc::close(descriptor) };
    }
}

/// Opens `/dev/kvm` or its like for reading and writing, and hides it.
pub fn open_device(path: &std::path::Path) -> Result<OwnedFd, std::io::Error> {
    let file = File::options().read(true).write(true).open(path)?;
    Ok(hide(file)?)
}

/// Keeps what is known of the monitor's descriptors from changing during a fork.
#[derive(Debug)]
pub struct Frozen {
    _ours: MutexGuard<'static, Vec<RawFd>>,
    _spare: MutexGuard<'static, Vec<RawFd>>,
    _files: RwLockWriteGuard<'static, Vec<(u64, u64)>>,
}

/// Freezes it until the result is dropped.
pub fn freeze() -> Frozen {
    let files = FILES.write().unwrap_or_else(PoisonError::into_inner);
    Frozen { _ours: ours(), _spare: spare(), _files: files }
}

/// Says that a forked child shall keep this one, the first or the second.
pub(crate) fn keep_always(at: usize, descriptor: &OwnedFd) {
    KEPT[at].store(descriptor.as_raw_fd(), Ordering::Relaxed);
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
    spare().clear();
    let kept = KEPT.each_ref().map(|kept| kept.load(Ordering::Relaxed));
    let is_orphan = |descriptor: &RawFd| {
        inherited.contains(descriptor) && !keep.contains(descriptor) && !kept.contains(descriptor)
    };
    for descriptor in all.iter().filter(|&descriptor| is_orphan(descriptor)) {
        // SAFETY: it is open, as the list says, and nobody is left to use it.
        drop(unsafe { OwnedFd::from_raw_fd(*descriptor) });
    }
    all.retain(|descriptor| !is_orphan(descriptor));
}

/// A descriptor that stays open in the program that is executed next, out of the
/// guest's reach like all others of the monitor's.
#[derive(Debug)]
pub struct Passed(Option<OwnedFd>);

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect("only dropping takes it").as_fd()
    }
}

impl AsRawFd for Passed {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if let Some(descriptor) = self.0.take() {
            close(descriptor);
        }
    }
}

/// Closes a hidden descriptor, and takes it off the list only then.
pub fn close(descriptor: OwnedFd) {
    let mut all = ours();
    let number = descriptor.as_raw_fd();
    drop(descriptor);
    all.retain(|&known| known != number);
}

/// A copy of a descriptor for the program that is executed next.
pub fn pass_on<T: AsFd>(descriptor: T) -> Result<Passed, Errno> {
    // Its file is not noted: each program that is executed has another one.
    let high = duplicate_to_high(descriptor, FcntlArg::F_DUPFD)?;
    // SAFETY: the kernel just made this descriptor for us, nobody else has it.
    let high = unsafe { OwnedFd::from_raw_fd(high) };
    Ok(Passed(Some(high)))
}

/// The same for a descriptor of the guest's, if it is closed on execution: the
/// next program could not be found by its number.
pub fn pass_if_closed(descriptor: BorrowedFd<'_>) -> Result<Option<Passed>, Errno> {
    let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD)?);
    flags.contains(FdFlag::FD_CLOEXEC).then(|| pass_on(descriptor)).transpose()
}

/// Takes a hidden descriptor off the list, for an owner who will close it soon.
pub fn release(descriptor: OwnedFd) -> OwnedFd {
    forget(&descriptor);
    descriptor
}

/// In the parent of a child that borrowed its memory: forgets the numbers the
/// child has taken in a table of descriptors of its own, `mine` being the
/// parent's before.
///
/// What another thread of the parent's has taken meanwhile is open here.
pub fn forget_borrowers(mine: &[RawFd]) {
    ours().retain(|&number| mine.contains(&number) || is_open(number));
}

/// Forgets a descriptor that is about to be closed.
pub(crate) fn forget<T: AsRawFd>(descriptor: &T) {
    ours().retain(|&known| known != descriptor.as_raw_fd());
}

/// Duplicates a descriptor to a number where the monitor's are, and notes it and its file.
fn duplicate_high<T: AsFd>(
    descriptor: T,
    command: fn(RawFd) -> FcntlArg<'static>,
) -> Result<RawFd, Errno> {
    note_file(descriptor.as_fd());
    duplicate_to_high(descriptor, command)
}

fn duplicate_to_high<T: AsFd>(
    descriptor: T,
    command: fn(RawFd) -> FcntlArg<'static>,
) -> Result<RawFd, Errno> {
    // Locked before [`OURS`].
    let _steady = GUESTS.get().is_none().then(steady_limit);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let mut all = ours();
    let guests = GUESTS.get().map_or(soft, |(guests, _)| guests);
    let wish = first_of_room(&all, guests, hard, 1)?;
    LOWEST.fetch_min(wish, Ordering::Relaxed);
    note(&mut all, wish);
    let above = u64::from(wish.unsigned_abs()) >= soft;
    if above {
        // The limit is checked when a number is given out, and at no other time.
        setrlimit(Resource::RLIMIT_NOFILE, u64::from(wish.unsigned_abs()) + 1, hard)?;
    }
    let result = fcntl(descriptor.as_fd(), command(wish));
    if above {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    }
    if result != Ok(wish) {
        all.retain(|&number| number != wish);
    }
    if let Ok(number) = result {
        // Another one only where the guest has just taken the first.
        LOWEST.fetch_min(number, Ordering::Relaxed);
        note(&mut all, number);
    }
    result
}

fn note(all: &mut Vec<RawFd>, number: RawFd) {
    if let Err(place) = all.binary_search(&number) {
        all.insert(place, number);
    }
}

/// Where the monitor's numbers begin, given the soft and the hard limit.
fn base(soft: u64, hard: u64) -> u64 {
    if soft <= LOW_LIMIT && soft.saturating_add(RESERVE) <= hard {
        soft
    } else {
        LOW_BASE.min(soft.saturating_sub(RESERVE))
    }
}

/// Whether `count` more descriptors could be hidden now.
pub fn have_room_for(count: u64) -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return false;
    };
    let guests = GUESTS.get().map_or(soft, |(guests, _)| guests);
    // From the first free number on others are the monitor's at most, and count too.
    first_of_room(&ours(), guests, hard, count).is_ok()
}

/// The first free number that has room for `count` behind it: above the base, or, where the hard limit leaves no more,
/// below it, where a program comes with many descriptors only. `EMFILE` if there is none.
fn first_of_room(all: &[RawFd], soft: u64, hard: u64, count: u64) -> Result<RawFd, Errno> {
    let base = base(soft, hard);
    for (from, end) in [(base, hard), (base / 2, base), (base / 4, base / 2)] {
        let first = first_free(all, from)?;
        if u64::from(first.unsigned_abs()) + count <= end {
            return Ok(first);
        }
    }
    Err(Errno::EMFILE)
}

/// The first number from `base` that is neither the monitor's nor open.
fn first_free(all: &[RawFd], base: u64) -> Result<RawFd, Errno> {
    let base = i32::try_from(base).map_err(|_| Errno::EMFILE)?.max(3);
    let mut free = (base..i32::MAX).filter(|number| all.binary_search(number).is_err());
    free.find(|&number| !is_open(number)).ok_or(Errno::EMFILE)
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: `F_GETFD` takes no pointer and changes nothing.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

fn spare() -> MutexGuard<'static, Vec<RawFd>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it exists, only its thread moves the limit of descriptors. A forked child
/// has it too.
#[derive(Debug)]
pub struct Room {
    held: Option<MutexGuard<'static, ()>>,
    before: Option<(u64, u64)>,
}

/// Held by the thread that moves the limit.
static LIMIT: Mutex<()> = Mutex::new(());

thread_local! {
    /// The guest's limit, while this thread has raised it.
    static GUESTS: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Keeps the limit as the guest has set it until the result is dropped.
pub fn steady_limit() -> Room {
    Room { held: Some(LIMIT.lock().unwrap_or_else(PoisonError::into_inner)), before: None }
}

/// Keeps the limit from preventing the monitor's own descriptors until the result is
/// dropped: raises it beyond the hard one with the right to, else as far as that.
/// Other threads might open one too many meanwhile.
pub fn make_room() -> Room {
    if GUESTS.get().is_some() {
        return Room { held: None, before: None };
    }
    let mut room = steady_limit();
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        room.before = Some((soft, hard));
        GUESTS.set(room.before);
        let wide = hard.max(ROOMY);
        if setrlimit(Resource::RLIMIT_NOFILE, wide, wide).is_err() {
            // What is open stays as it is.
            _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
    }
    room
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((soft, hard)) = self.before {
            // Lowering is everybody's right.
            _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
            GUESTS.set(None);
        }
        self.held = None;
    }
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

    use super::{Errno, base, first_of_room, hide, is_ours, ours_within, pass_on};

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

    #[test]
    fn what_the_next_program_gets_is_out_of_reach_until_it_is_closed() {
        let passed = pass_on(File::open("/dev/null").unwrap()).unwrap();
        let number = passed.as_raw_fd();

        assert!(is_ours(number));
        drop(passed);
        assert!(!is_ours(number));
    }

    #[test]
    fn the_monitors_numbers_lie_above_a_low_limit() {
        let cases = [
            (1024, 1 << 20, 1024),
            (1024, 1024, 960),
            (1 << 20, 1 << 20, 960),
            (1024, 1030, 960),
            (256, 256, 208),
            (u64::MAX, u64::MAX, 960),
        ];
        for (soft, hard, expected) in cases {
            assert_eq!(base(soft, hard), expected, "{soft} {hard}");
        }
    }

    #[test]
    fn where_the_hard_limit_leaves_few_they_go_below() {
        let room = |all: &[i32], count| first_of_room(all, 1024, 1024, count);
        let full = (960..1024).collect::<Vec<_>>();
        let nearly = (480..960).chain(full.iter().copied()).collect::<Vec<_>>();
        let all = (240..480).chain(nearly.iter().copied()).collect::<Vec<_>>();

        assert_eq!(room(&[], 1), Ok(960));
        assert_eq!(room(&[], 65), Ok(480));
        assert_eq!(room(&full, 1), Ok(480));
        assert_eq!(room(&nearly, 1), Ok(240));
        assert_eq!(room(&all, 1), Err(Errno::EMFILE));
    }
}
