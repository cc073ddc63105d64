//! Files: opening with a look at what was opened, links of `/proc` that must not
//! lead to the monitor, and what only some arguments of a call make harmless.
//!
//! A path is copied once: what was looked at is what the host is asked for.

use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use monitor_sys::{
    Errno,
    abi::{Forwardable, number, variants},
    descriptors,
    files::{self, Caution, Opened},
    forward, guest_copy,
    host_call::{Outcome, to_u64},
    nested,
    proc_files::{self, ProcFile},
};

use super::{Answer, Args, Reply, low_word, reply};
use crate::{
    files::{
        neighbour, proc_list,
        proc_self::{self, Leads, Place},
        proc_view,
    },
    thread::Thread,
};

/// `CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_FLAGS: u64 = 6;
/// `CLOSE_RANGE_UNSHARE`.
const CLOSE_RANGE_UNSHARE: u64 = 2;
/// `AT_FDCWD`, as the kernel takes it.
const WORKING_DIRECTORY: u64 = 0xffff_ff9c;
/// `O_WRONLY | O_RDWR | O_TRUNC`: what a program that runs is not opened with.
const WRITING: u64 = 0o1003;
/// `O_NOFOLLOW`.
const NO_FOLLOW: u64 = 0o40_0000;
/// `AT_SYMLINK_NOFOLLOW`.
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// `F_GETFD`.
const F_GETFD: u64 = 1;

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
    let mut path = match copy_path(thread, args[at]) {
        Ok(path) => path,
        Err(reason) => return reply(files::without_path(number, args, reason)?),
    };
    let memory = thread.process.memory.guest_memory();
    let flags = open_flags(number, args);
    if flags & NO_FOLLOW == 0 && !path.is_empty() {
        match look(thread, args, at, &path)? {
            Leads::Hidden => return Err(Errno::ENOENT),
            Leads::Program(_) if flags & WRITING != 0 => return Err(Errno::ETXTBSY),
            Leads::Program(program) => path = program.into_os_string().into_vec(),
            Leads::Elsewhere => {}
        }
    }
    let caution = caution(thread);
    let opened = files::open(memory, number, args, Some(&path), caution)?;
    match instead_of_monitor(thread, opened.outcome, args, at, &path)? {
        Some(program) => {
            finish(thread, &files::open(memory, number, args, Some(&program), caution)?)
        }
        None => finish(thread, &opened),
    }
}

/// The path at an address, copied once for a call.
fn copy_path(thread: &mut Thread, address: u64) -> Result<Vec<u8>, Errno> {
    match thread.copied_path.take() {
        Some((at, path)) if at == address => Ok(path),
        _ => thread.process.memory.read_string(address, PATH_MAX),
    }
}

fn caution(thread: &Thread) -> Caution {
    match thread.is_helper {
        true => Caution::NotWaiting,
        false if is_alone(thread) => Caution::Alone,
        false => Caution::Threads,
    }
}

/// Whether no other thread can use what this one opens. The new thread of a process that gets one
/// holds it already. A helper makes what the guest posts, whatever the guest itself does meanwhile.
pub(super) fn is_alone(thread: &Thread) -> bool {
    let process = &thread.process;
    Arc::strong_count(process) == 1
        && !process.shares_descriptors.load(Ordering::Relaxed)
        && !process.helper.is_living()
}

/// The guest's program, if the monitor's was opened by a link to a link to it.
fn instead_of_monitor(
    thread: &Thread,
    opened: Outcome,
    args: Args,
    at: usize,
    path: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    let Ok(Reply::Value(descriptor)) = reply(opened) else { return Ok(None) };
    let memory = thread.process.memory.guest_memory();
    let number = low_word(descriptor).cast_signed();
    let viewer = thread.process.viewer();
    if !neighbour::is_monitors(&viewer, descriptors::borrow(memory, number)?) {
        return Ok(None);
    }
    let directory = if at == 0 { WORKING_DIRECTORY } else { args[0] };
    match proc_self::look_through(&viewer, &Place::new(memory, directory, path)?)? {
        Leads::Program(program) => {
            descriptors::discard(memory, number);
            Ok(Some(program.into_os_string().into_vec()))
        }
        Leads::Hidden => {
            descriptors::discard(memory, number);
            Err(Errno::ENOENT)
        }
        Leads::Elsewhere => Ok(None),
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

/// What the link at the end of a call's path leads to.
fn look(thread: &Thread, args: Args, at: usize, path: &[u8]) -> Result<Leads, Errno> {
    let directory = if at == 0 { WORKING_DIRECTORY } else { args[0] };
    let place = Place::new(thread.process.memory.guest_memory(), directory, path)?;
    proc_self::look(&thread.process.viewer(), &place)
}

/// A file of procfs that would show the monitor is replaced by one that shows the
/// guest.
fn finish(thread: &Thread, opened: &Opened) -> Answer {
    let answer = reply(opened.outcome)?;
    let name = opened.on_proc.as_ref().and_then(ProcFile::name);
    if opened.on_proc.is_some() && name.is_none_or(|name| name.contains("/attr/")) {
        // What is written there changes the rights of one thread.
        thread.process.helper.forbid();
    }
    let (Reply::Value(descriptor), Some(name)) = (answer, name) else {
        return Ok(answer);
    };
    let memory = thread.process.memory.guest_memory();
    let number = low_word(descriptor).cast_signed();
    let file = descriptors::borrow(memory, number)?;
    if let Some(shown) = proc_view::substitute(&thread.process.viewer(), name, file)? {
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

/// Leaves what is the monitor's out of a folder of procfs.
fn list(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    loop {
        let answer = super::forward(thread, call, args)?;
        let Reply::Value(len @ 1..) = answer else { return Ok(answer) };
        let memory = thread.process.memory.guest_memory();
        let directory = descriptors::borrow(memory, low_word(args[0]).cast_signed())?;
        let viewer = thread.process.viewer();
        let found = proc_files::identify(directory);
        let name = found.as_ref().and_then(ProcFile::name);
        let Some(folder) = name.and_then(|name| proc_list::folder(&viewer, name)) else {
            return Ok(answer);
        };
        let mut entries = vec![0; usize::try_from(len).map_err(|_| Errno::EINVAL)?];
        guest_copy::read_bytes(args[1], &mut entries)?;
        let wide = call.call().number == number::GETDENTS64;
        let shown = proc_list::without_hidden(&entries, wide, |entry| folder.hides(&viewer, entry));
        if !shown.is_empty() {
            guest_copy::write_bytes(args[1], &shown)?;
            return Ok(Reply::Value(to_u64(shown.len())));
        }
    }
}

pub(super) fn open_by_handle_at(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    finish(thread, &files::open(memory, number::OPEN_BY_HANDLE_AT, args, None, Caution::Threads)?)
}

pub(super) fn readlink(thread: &mut Thread, args: Args) -> Answer {
    read_link(thread, Forwardable::READLINK, args, 0)
}

pub(super) fn readlinkat(thread: &mut Thread, args: Args) -> Answer {
    read_link(thread, Forwardable::READLINKAT, args, 1)
}

/// The kernel's name of the guest's program is as true as that of any other:
/// with ` (deleted)` behind it if it is.
fn read_link(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    let path = match copy_path(thread, args[at]) {
        Ok(path) => path,
        Err(reason) => return reply(files::without_path(call.call().number, args, reason)?),
    };
    match look(thread, args, at, &path)? {
        Leads::Hidden => Err(Errno::ENOENT),
        Leads::Program(program) => reply(files::with_path(call, args, &program)?),
        Leads::Elsewhere => reply(files::with_path(call, args, as_path(&path))?),
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Calls about what a path leads to.
macro_rules! about_path {
    ($($handler:ident $call:ident $path:literal;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            about_path(thread, Forwardable::$call, args, $path)
        })*
    };
}

about_path! {
    stat STAT 0;
    access ACCESS 0;
    statfs STATFS 0;
    newfstatat NEWFSTATAT 1;
    faccessat FACCESSAT 1;
    faccessat2 FACCESSAT2 1;
    statx STATX 1;
}

/// The name of a guest's program leads to the guest's.
fn about_path(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    // Where it matters that a link is not followed, the link itself is asked for.
    let flags_at = match call.call().number {
        number::NEWFSTATAT | number::FACCESSAT2 => Some(3),
        number::STATX => Some(2),
        _ => None,
    };
    let follows = flags_at.is_none_or(|at| args[at] & AT_SYMLINK_NOFOLLOW == 0);
    let Ok(path) = copy_path(thread, args[at]) else {
        // Linux has an answer: an error, or the descriptor alone is looked at.
        return super::forward(thread, call, args);
    };
    if !path.is_empty() {
        match look(thread, args, at, &path)? {
            Leads::Hidden => return Err(Errno::ENOENT),
            Leads::Program(program) if follows => {
                return reply(files::with_path(call, args, &program)?);
            }
            Leads::Program(_) | Leads::Elsewhere => {}
        }
    }
    reply(files::with_path(call, args, as_path(&path))?)
}

/// Calls for which a descriptor of the monitor's has no name.
macro_rules! by_name {
    ($($handler:ident $call:ident $path:literal $end:ident;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            by_name(thread, Forwardable::$call, args, $path, End::$end)
        })*
    };
}

by_name! {
    lstat LSTAT 0 Itself;
    truncate TRUNCATE 0 Written;
    chdir CHDIR 0 Itself;
    chroot CHROOT 0 Itself;
    chmod CHMOD 0 Followed;
    chown CHOWN 0 Followed;
    lchown LCHOWN 0 Itself;
    utime UTIME 0 Followed;
    utimes UTIMES 0 Followed;
    setxattr SETXATTR 0 Followed;
    lsetxattr LSETXATTR 0 Itself;
    getxattr GETXATTR 0 Followed;
    lgetxattr LGETXATTR 0 Itself;
    listxattr LISTXATTR 0 Followed;
    llistxattr LLISTXATTR 0 Itself;
    removexattr REMOVEXATTR 0 Followed;
    lremovexattr LREMOVEXATTR 0 Itself;
    mount MOUNT 0 Itself;
    umount2 UMOUNT2 0 Itself;
    futimesat FUTIMESAT 1 Followed;
    utimensat UTIMENSAT 1 Flagged;
    fchmodat FCHMODAT 1 Followed;
    fchmodat2 FCHMODAT2 1 Flagged;
    fchownat FCHOWNAT 1 Flagged;
    linkat LINKAT 1 Itself;
    inotify_add_watch INOTIFY_ADD_WATCH 1 Itself;
    name_to_handle_at NAME_TO_HANDLE_AT 1 Itself;
    open_tree OPEN_TREE 1 Itself;
}

/// What a call makes of a link to the guest's program at its path's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is about the link, or fails for what a program is.
    Itself,
    /// It is about the program.
    Followed,
    /// The same, unless its last argument says otherwise.
    Flagged,
    /// It changes the program, which runs.
    Written,
}

fn by_name(thread: &mut Thread, call: Forwardable, args: Args, at: usize, end: End) -> Answer {
    if args[at] == 0 {
        return super::forward(thread, call, args);
    }
    let row = call.call();
    let path = match copy_path(thread, args[at]) {
        Ok(path) => path,
        Err(reason) => return reply(files::without_path(row.number, args, reason)?),
    };
    let follows = match end {
        End::Itself => false,
        End::Followed | End::Written => true,
        End::Flagged => args[row.args.len() - 1] & AT_SYMLINK_NOFOLLOW == 0,
    };
    // The descriptor in front of the path is no directory.
    let named_at = if row.number == number::INOTIFY_ADD_WATCH { 0 } else { at };
    let found = match look(thread, args, named_at, &path) {
        _ if path.is_empty() => Leads::Elsewhere,
        // It may not be the first of the call's faults.
        Err(Errno::EBADF) => Leads::Elsewhere,
        found => found?,
    };
    match found {
        Leads::Hidden => Err(Errno::ENOENT),
        Leads::Program(_) if end == End::Written => Err(Errno::ETXTBSY),
        Leads::Program(program) if follows => reply(files::with_path(call, args, &program)?),
        Leads::Program(_) | Leads::Elsewhere => {
            reply(files::with_path(call, args, as_path(&path))?)
        }
    }
}

/// `newfstatat(2)` about a descriptor: with an empty path, whatever the guest's is by now.
pub(crate) fn about_descriptor(args: Args) -> Answer {
    reply(files::with_path(Forwardable::NEWFSTATAT, args, Path::new(""))?)
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
