//! Files: opening with a look at what was opened, and what only some arguments of a call make harmless.
//!
//! A path is copied once: what was looked at is what the host is asked for.

use std::{
    os::fd::{AsFd, BorrowedFd, IntoRawFd},
    sync::Arc,
};

use monitor_sys::{
    Errno,
    abi::{Forwardable, number, variants},
    descriptors::{self, Scratch},
    files::{self, Caution, Opened, Reopening},
    forward, guest_copy,
    host_call::to_u64,
    listing,
    named::{self, By},
    nested,
    proc_files::{self, ProcFile},
    procfs::Procfs,
};
use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags, fcntl_getfl};

use super::{Answer, Args, Reply, low_word, reply};
use crate::{
    files::{
        apart, proc_list,
        proc_self::{self, Place},
        proc_view,
        walk::{self, End},
    },
    thread::Thread,
};

/// `CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_FLAGS: u64 = 6;
/// `CLOSE_RANGE_UNSHARE`.
const CLOSE_RANGE_UNSHARE: u64 = 2;
/// `AT_FDCWD`, as the kernel takes it.
pub(super) const WORKING_DIRECTORY: u64 = 0xffff_ff9c;
/// `O_WRONLY | O_RDWR | O_TRUNC`: what a program that runs is not opened with.
const WRITING: u64 = 0o1003;
/// `O_NOFOLLOW`.
const NO_FOLLOW: u64 = 0o40_0000;
/// `O_CREAT | O_EXCL`.
const NEW: u64 = 0o300;
/// `RESOLVE_NO_MAGICLINKS`, and what also means that: `RESOLVE_NO_SYMLINKS`, `RESOLVE_BENEATH`, `RESOLVE_IN_ROOT`.
const WITHOUT_MAGIC_LINKS: u64 = 2 | 4 | 8 | 16;
/// `F_GETFD`.
const F_GETFD: u64 = 1;

/// So many bytes of a folder of procfs are listed at a time.
const LISTED_MAX: usize = 1 << 16;

/// `PATH_MAX`.
const PATH_MAX: usize = 4096;

pub(super) fn open(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPEN, args, 0)
}

pub(super) fn creat(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::CREAT, args, 0)
}

pub(super) fn openat(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPENAT, args, 1)
}

pub(super) fn openat2(thread: &mut Thread, args: Args) -> Answer {
    open_path(thread, number::OPENAT2, args, 1)
}

fn open_path(thread: &mut Thread, number: usize, args: Args, at: usize) -> Answer {
    let path = match copy_path(thread, args[at]) {
        Ok(path) => path,
        Err(reason) => return reply(files::without_path(number, args, reason)?),
    };
    let memory = thread.process.memory.guest_memory();
    let caution = caution(thread);
    let shown = |wish: Reopening<'_>| open_apart(thread, wish);
    let opened = files::open(memory, number, args, Some(&path), caution, &shown);
    if !is_loop(&opened) || is_promised(number, args) {
        return finish(thread, &opened?);
    }
    if thread.is_helper {
        // Links of procfs may mean the thread that the guest has.
        return Ok(Reply::Again);
    }
    let flags = open_flags(number, args);
    let is_itself = flags & NO_FOLLOW != 0 || flags & NEW == NEW;
    let end = if is_itself { End::Itself } else { End::Followed };
    let directory = if at == 0 { WORKING_DIRECTORY } else { args[0] };
    let place = Place::new(memory, directory, &path)?;
    for _ in 0..walk::WALKS_MAX {
        let spot = walk::spot(&thread.viewer(), &place, end)?;
        if spot.is_program && flags & WRITING != 0 {
            return Err(Errno::ETXTBSY);
        }
        let opened = files::open_at(memory, number, args, &spot.at, &spot.name, caution, &shown);
        // The last name was none of such a link a moment ago, unless one there is not to be followed.
        if end == End::Itself || !is_loop(&opened) {
            return finish(thread, &opened?);
        }
    }
    Err(Errno::ELOOP)
}

/// Opens a file of procfs that the guest may see in part only where its threads cannot read it, and gives that part a
/// number of the guest's.
fn open_apart(thread: &Thread, wish: Reopening<'_>) -> Result<Option<i32>, Errno> {
    let procfs = Procfs::of(wish.file, true);
    let Some(owner) = proc_view::owner(&thread.viewer(), wish.name, procfs.as_ref())? else {
        return Ok(None);
    };
    let way = procfs.as_ref().map(Procfs::way).transpose()?;
    let (process, name, link) =
        (Arc::clone(&thread.process), wish.name.to_owned(), proc_files::from_elsewhere(wish.link)?);
    let [flags, mode] = wish.how.map(|bits| u32::try_from(bits).map_err(|_| Errno::EINVAL));
    let (flags, mode) = (OFlags::from_bits_retain(flags?), Mode::from_bits_retain(mode?));
    let content = apart::result_of(&*thread.process, move || {
        let root = proc_files::root().ok_or(Errno::EACCES)?;
        let file = rustix::fs::openat2(root, link, flags, mode, ResolveFlags::empty())
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        let procfs = way.map(|way| Procfs::by(way.as_deref())).transpose()?;
        proc_view::content(&process.viewer(), &name, file.as_fd(), procfs.as_ref(), owner)
    })?;
    let Some(content) = content? else { return Ok(None) };
    let is_kept = !flags.contains(OFlags::CLOEXEC);
    let flags = if is_kept { MemfdFlags::empty() } else { MemfdFlags::CLOEXEC };
    Ok(Some(proc_view::file_with(&content, flags)?.into_raw_fd()))
}

/// Whether the host would have had to follow a link of procfs, or too many of any kind.
fn is_loop(opened: &Result<Opened, Errno>) -> bool {
    match opened {
        Ok(opened) => reply(opened.outcome) == Err(Errno::ELOOP),
        Err(errno) => *errno == Errno::ELOOP,
    }
}

/// Whether the guest itself wants no such link followed.
fn is_promised(number: usize, args: Args) -> bool {
    let resolve: u64 = match number {
        number::OPENAT2 => guest_copy::read(args[2].wrapping_add(16)).unwrap_or(0),
        _ => 0,
    };
    resolve & WITHOUT_MAGIC_LINKS != 0
}

/// The path at an address, copied once for a call.
pub(super) fn copy_path(thread: &mut Thread, address: u64) -> Result<Vec<u8>, Errno> {
    match thread.copied_path.take() {
        Some((at, path)) if at == address => Ok(path),
        _ => thread.process.memory.read_string(address, PATH_MAX),
    }
}

fn caution(thread: &Thread) -> Caution {
    match thread.is_helper {
        true => Caution::NotWaiting,
        false if thread.is_alone() => Caution::Alone,
        false => Caution::Threads,
    }
}

/// The flags of an opening call.
fn open_flags(number: usize, args: Args) -> u64 {
    match number {
        number::OPEN => args[1],
        number::OPENAT => args[2],
        number::OPENAT2 => guest_copy::read(args[2]).unwrap_or(0),
        _ => WRITING,
    }
}

/// A file of procfs that would show the monitor is replaced by one that shows the
/// guest.
fn finish(thread: &Thread, opened: &Opened) -> Answer {
    let answer = reply(opened.outcome)?;
    let name = opened.on_proc.as_ref().and_then(ProcFile::name);
    let (Reply::Value(descriptor), Some(name)) = (answer, name) else {
        return Ok(answer);
    };
    let memory = thread.process.memory.guest_memory();
    let number = low_word(descriptor).cast_signed();
    let file = descriptors::borrow(memory, number)?;
    let flags = fcntl_getfl(file).unwrap_or(OFlags::RDWR);
    if name.contains("/attr/") && flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        // What is written there changes the rights of one thread.
        thread.process.helper.forbid();
        thread.process.aside.forbid();
    }
    if name.contains("/fd") && proc_self::is_hidden(&thread.viewer(), file) {
        descriptors::discard(memory, number);
        return Err(Errno::ENOENT);
    }
    // With O_PATH nothing can be read there before it is opened again.
    if !flags.contains(OFlags::PATH)
        && let Some(shown) = proc_view::substitute(&thread.viewer(), name, file)?
    {
        descriptors::replace(memory, number, &shown)?;
    }
    Ok(answer)
}

pub(super) fn getdents(thread: &mut Thread, args: Args) -> Answer {
    list(thread, Forwardable::GETDENTS, args)
}

pub(super) fn getdents64(thread: &mut Thread, args: Args) -> Answer {
    list(thread, Forwardable::GETDENTS64, args)
}

/// Leaves what is the monitor's out of a folder of procfs, which is listed out of the guest's reach.
fn list(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    let number = descriptors::borrow(memory, low_word(args[0]).cast_signed())?;
    // Another thread could put another directory at its number.
    let held = if thread.is_alone() { None } else { Some(Scratch::hold(number)?) };
    let directory = held.as_ref().map_or(number, AsFd::as_fd);
    match proc_files::identify(directory) {
        Some(ProcFile::Named(name)) if proc_list::is_folder(&name) => {
            list_in_part(thread, call, args, &name, directory)
        }
        None | Some(ProcFile::Named(_)) => match &held {
            Some(held) => reply(named::about(call, args, held, By::Number)?),
            None => super::forward(thread, call, args),
        },
        Some(nameless) => Err(nameless.refusal()),
    }
}

fn list_in_part(
    thread: &Thread,
    call: Forwardable,
    args: Args,
    name: &str,
    directory: BorrowedFd<'_>,
) -> Answer {
    let viewer = thread.viewer();
    let wide = call.call().number == number::GETDENTS64;
    let wanted = usize::try_from(low_word(args[2])).unwrap_or(usize::MAX);
    let mut entries = vec![0; wanted.min(LISTED_MAX)];
    loop {
        let len = listing::read(directory, wide, &mut entries)?;
        let folder = proc_list::folder(&viewer, name, directory)?;
        let shown = match folder {
            Some(folder) if len > 0 => {
                let hides = |entry: &str| folder.hides(&viewer, entry);
                proc_list::without_hidden(&entries[..len], wide, hides)
            }
            _ => entries[..len].to_vec(),
        };
        if !shown.is_empty() || len == 0 {
            guest_copy::write_bytes(args[1], &shown)?;
            return Ok(Reply::Value(to_u64(shown.len())));
        }
    }
}

pub(super) fn open_by_handle_at(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    let (number, caution) = (number::OPEN_BY_HANDLE_AT, Caution::Threads);
    finish(thread, &files::open(memory, number, args, None, caution, &|_| Ok(None))?)
}

pub(super) fn fcntl(thread: &mut Thread, args: Args) -> Answer {
    if let Some(call) = variants::fcntl(args[1]) {
        return super::forward(thread, call, args);
    }
    // Linux looks at the descriptor before it looks at the command: as it does for one that nobody knows.
    let call = variants::fcntl(F_GETFD).ok_or(Errno::EINVAL)?;
    super::forward(thread, call, [args[0], u64::MAX, 0, 0, 0, 0])
}

/// An unknown request is refused as by a file that does not know it.
pub(super) fn ioctl(thread: &mut Thread, args: Args) -> Answer {
    forward::check_descriptor(args[0])?;
    if args[1] & 0xffff_ffff == nested::SIOCGIFCONF {
        let memory = thread.process.memory.guest_memory();
        return reply(nested::interface_addresses(memory, args[0], args[2])?);
    }
    match variants::ioctl(args[1]) {
        Some(call) => super::forward(thread, call, args),
        None => Err(forward::check_open(args[0]).err().unwrap_or(Errno::ENOTTY)),
    }
}

pub(super) fn close_range(thread: &mut Thread, args: Args) -> Answer {
    let (first, last) = (low_word(args[0]), low_word(args[1]));
    if first > last || args[2] & !CLOSE_RANGE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if args[2] & CLOSE_RANGE_UNSHARE != 0 {
        thread.process.descriptors_differ();
    }
    forward::close_range(first, last, args[2]).map(Reply::Value)
}
