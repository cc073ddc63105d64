//! Calls about files that are named by paths: none follows a link of procfs to what is the monitor's.
//!
//! A call that changes what its path leads to is made about the file that was found by it ([`walk`]), not by the
//! path once more: no other thread can put another link there in between. Where Linux has no form of the call for
//! that, it is made by the link that the guest's own `/proc` has to that file. Without one there, and of calls about
//! mounts, of `inotify_add_watch` and its like, which look at the file as long as it is open, and of every call that
//! an agent is asked about, as he is asked with the guest's own arguments, a thread that swaps links at that very
//! moment has it made about another file.
//!
//! A call that only tells something of a file is made by its path. What `stat` and its like tell is given to the
//! guest if it is not about one of the monitor's files; a directory of the monitor's that is not the guest's
//! own `/proc` there is not.

use std::{
    ffi::OsStr,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
};

use monitor_sys::{
    Errno,
    abi::{Arg, Forwardable, number},
    asking, descriptors, files,
    host_call::Outcome,
    named::{self, By, Status},
    nested, proc_files,
};

use super::{
    Answer, Args, Reply,
    files::{WORKING_DIRECTORY, copy_path},
    low_word, reply,
};
use crate::{
    files::{
        proc_self::{self, Leads, Place},
        walk::{self, End, Found},
    },
    thread::Thread,
};

/// `AT_SYMLINK_NOFOLLOW`.
const NO_FOLLOW: u64 = 0x100;
/// `AT_SYMLINK_FOLLOW`.
const FOLLOW: u64 = 0x400;
/// `AT_EMPTY_PATH`.
const EMPTY_PATH: u64 = 0x1000;
/// `UMOUNT_NOFOLLOW`.
const UMOUNT_NO_FOLLOW: u64 = 8;
/// `IN_DONT_FOLLOW`.
const WATCH_NO_FOLLOW: u64 = 0x0200_0000;
/// `MS_BIND | MS_MOVE`: the first of a mount's strings is a path.
const FROM_PATH: u64 = 0x1000 | 0x2000;

/// Calls that tell what a path leads to.
macro_rules! about_path {
    ($($handler:ident $call:ident $path:literal $tell:ident;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            $tell(thread, Forwardable::$call, args, $path)
        })*
    };
}

about_path! {
    stat STAT 0 status;
    lstat LSTAT 0 status;
    newfstatat NEWFSTATAT 1 status;
    statx STATX 1 status;
    readlink READLINK 0 read_link;
    readlinkat READLINKAT 1 read_link;
    access ACCESS 0 accessible;
    faccessat FACCESSAT 1 accessible;
    faccessat2 FACCESSAT2 1 accessible;
}

/// Calls that never follow a link at their path's end.
const ABOUT_LINKS: [usize; 8] = [
    number::LSTAT,
    number::LCHOWN,
    number::READLINK,
    number::READLINKAT,
    number::LSETXATTR,
    number::LGETXATTR,
    number::LLISTXATTR,
    number::LREMOVEXATTR,
];

/// What a call finds at its path's end.
fn end_of(number: usize, args: Args, path: &[u8]) -> End {
    let (flags, no_follow) = match number {
        number if ABOUT_LINKS.contains(&number) => (1, 1),
        number::NEWFSTATAT | number::FACCESSAT2 | number::UTIMENSAT | number::FCHMODAT2 => {
            (args[3], NO_FOLLOW)
        }
        number::STATX | number::OPEN_TREE | number::MOUNT_SETATTR => (args[2], NO_FOLLOW),
        number::FCHOWNAT => (args[4], NO_FOLLOW),
        number::LINKAT | number::NAME_TO_HANDLE_AT => (!args[4], FOLLOW),
        number::UMOUNT2 => (args[1], UMOUNT_NO_FOLLOW),
        number::INOTIFY_ADD_WATCH => (args[2], WATCH_NO_FOLLOW),
        _ => (0, 1),
    };
    // A slash behind a link follows it.
    if flags & no_follow != 0 && !path.ends_with(b"/") { End::Itself } else { End::Followed }
}

/// Where the path at an argument starts.
fn directory_of(number: usize, args: Args, at: usize) -> u64 {
    // The descriptor in front of this path is no directory.
    if at == 0 || number == number::INOTIFY_ADD_WATCH { WORKING_DIRECTORY } else { args[at - 1] }
}

/// What a path leads to, or the error. `None` if the guest's own thread has to find out.
fn find(
    thread: &Thread,
    number: usize,
    args: Args,
    at: usize,
    path: &[u8],
) -> Option<Result<Found, Errno>> {
    let directory = directory_of(number, args, at);
    let place = match Place::new(thread.process.memory.guest_memory(), directory, path) {
        Ok(place) => place,
        Err(errno) => return Some(Err(errno)),
    };
    let (viewer, end) = (thread.viewer(), end_of(number, args, path));
    if thread.is_helper {
        let found = walk::plainly(&viewer, &place, end);
        return (!matches!(found, Err(Errno::ELOOP))).then_some(found);
    }
    Some(walk::find(&viewer, &place, end))
}

/// The call fails for its path, unless the host finds another fault first.
fn failed(number: usize, args: Args, errno: Errno) -> Answer {
    match reply(files::without_path(number, args, Errno::ENAMETOOLONG)?) {
        Err(Errno::ENAMETOOLONG) => Err(errno),
        answer => answer,
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// The status of a file, unless it is the monitor's.
fn status(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    let Ok(path) = copy_path(thread, args[at]) else {
        // Linux has an answer: an error, or the descriptor alone is looked at.
        return super::forward(thread, call, args);
    };
    let number = call.call().number;
    let is_itself = end_of(number, args, &path) == End::Itself;
    let is_meant = proc_self::may_be_meant(&path);
    if path.is_empty() || is_itself && !is_meant {
        return reply(files::with_path(call, args, as_path(&path))?);
    }
    if !is_meant {
        let status = Status::read(call, args, as_path(&path))?;
        let (device, inode) = status.file();
        let is_told = status.outcome == Outcome::Returned(0);
        if !is_told || !descriptors::may_be_our_file(device, inode) {
            return reply(status.give()?);
        }
    }
    let Some(found) = find(thread, number, args, at, &path) else { return Ok(Reply::Again) };
    let found = match found {
        Ok(found) => found,
        Err(errno) => return failed(number, args, errno),
    };
    let [_, second, third, fourth, fifth, _] = args;
    let (call, args) = match number {
        number::STATX => (call, [0, 0, third | EMPTY_PATH, fourth, fifth, 0]),
        number::NEWFSTATAT => (call, [0, 0, third, fourth | EMPTY_PATH, 0, 0]),
        _ => (Forwardable::NEWFSTATAT, [0, 0, second, EMPTY_PATH, 0, 0]),
    };
    reply(named::about(call, args, &found.file, By::EmptyPath)?)
}

/// `newfstatat(2)` about a descriptor: with an empty path, whatever the guest's is by now.
pub(crate) fn about_descriptor(args: Args) -> Answer {
    reply(files::with_path(Forwardable::NEWFSTATAT, args, Path::new(""))?)
}

/// The host says it of the path, with the user that the call is about all the way; then it is looked whether that is
/// by a link to what is the monitor's.
fn accessible(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    let Ok(path) = copy_path(thread, args[at]) else {
        return super::forward(thread, call, args);
    };
    if path.is_empty() || proc_self::may_be_meant(&path) {
        return found_or_by_path(thread, call, args, at, &path);
    }
    let told = reply(files::with_path(call, args, as_path(&path))?);
    let number = call.call().number;
    if !matches!(told, Ok(Reply::Value(0))) || end_of(number, args, &path) == End::Itself {
        return told;
    }
    let Some(found) = find(thread, number, args, at, &path) else { return Ok(Reply::Again) };
    match found {
        Ok(found) if found.is_program => {
            drop(found);
            found_or_by_path(thread, call, args, at, &path)
        }
        Err(Errno::ENOENT) => Err(Errno::ENOENT),
        _ => told,
    }
}

/// The kernel's name of the guest's program is as true as that of any other:
/// with ` (deleted)` behind it if it is.
fn read_link(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    let path = match copy_path(thread, args[at]) {
        Ok(path) => path,
        Err(reason) => return reply(files::without_path(call.call().number, args, reason)?),
    };
    let is_own_link = path.is_empty() && at == 1;
    if !proc_self::may_be_meant(&path) && !is_own_link {
        return reply(files::with_path(call, args, as_path(&path))?);
    }
    let number = call.call().number;
    let viewer = thread.viewer();
    let memory = thread.process.memory.guest_memory();
    let leads = if is_own_link {
        let link = descriptors::borrow(memory, low_word(args[0]).cast_signed());
        link.and_then(|link| proc_self::leads(&viewer, link)).unwrap_or(Leads::Plainly)
    } else {
        let Some(found) = find(thread, number, args, at, &path) else { return Ok(Reply::Again) };
        match found {
            Ok(found) => proc_self::leads(&viewer, found.file.as_fd())?,
            Err(errno) => return failed(number, args, errno),
        }
    };
    match leads {
        Leads::Hidden => Err(Errno::ENOENT),
        Leads::Program(procfs, link) => {
            let [buffer, len] = if at == 0 { [args[1], args[2]] } else { [args[2], args[3]] };
            let args = [0, 0, buffer, len, 0, 0];
            let link = procfs.path(link);
            reply(named::below_proc(Forwardable::READLINKAT, args, &link)?)
        }
        Leads::Plainly | Leads::Magically => reply(files::with_path(call, args, as_path(&path))?),
    }
}

/// Calls about the file that a path leads to.
macro_rules! by_name {
    ($($handler:ident $call:ident $path:literal;)*) => {
        $(pub(super) fn $handler(thread: &mut Thread, args: Args) -> Answer {
            by_name(thread, Forwardable::$call, args, $path)
        })*
    };
}

by_name! {
    statfs STATFS 0;
    truncate TRUNCATE 0;
    chdir CHDIR 0;
    chroot CHROOT 0;
    chmod CHMOD 0;
    chown CHOWN 0;
    lchown LCHOWN 0;
    utime UTIME 0;
    utimes UTIMES 0;
    setxattr SETXATTR 0;
    lsetxattr LSETXATTR 0;
    getxattr GETXATTR 0;
    lgetxattr LGETXATTR 0;
    listxattr LISTXATTR 0;
    llistxattr LLISTXATTR 0;
    removexattr REMOVEXATTR 0;
    lremovexattr LREMOVEXATTR 0;
    umount2 UMOUNT2 0;
    futimesat FUTIMESAT 1;
    utimensat UTIMENSAT 1;
    fchmodat FCHMODAT 1;
    fchmodat2 FCHMODAT2 1;
    fchownat FCHOWNAT 1;
    linkat LINKAT 1;
    inotify_add_watch INOTIFY_ADD_WATCH 1;
    name_to_handle_at NAME_TO_HANDLE_AT 1;
    open_tree OPEN_TREE 1;
}

fn by_name(thread: &mut Thread, call: Forwardable, args: Args, at: usize) -> Answer {
    if args[at] == 0 {
        return super::forward(thread, call, args);
    }
    match copy_path(thread, args[at]) {
        Ok(path) => found_or_by_path(thread, call, args, at, &path),
        Err(reason) => reply(files::without_path(call.call().number, args, reason)?),
    }
}

/// Paths that are shorter can be one byte longer.
const SLASH_FITS: usize = 4095;

/// Makes a call about what its path leads to, by its path only if there is no other way.
fn found_or_by_path(
    thread: &Thread,
    call: Forwardable,
    args: Args,
    at: usize,
    path: &[u8],
) -> Answer {
    let number = call.call().number;
    let is_plain = path.is_empty()
        || end_of(number, args, path) == End::Itself && !proc_self::may_be_meant(path);
    if is_plain {
        return reply(files::with_path(call, args, as_path(path))?);
    }
    // What is mounted on demand is so for a directory only.
    let slash: &[u8] = if number == number::CHDIR && path.len() < SLASH_FITS { b"/" } else { b"" };
    let meant = [path, slash].concat();
    let Some(found) = find(thread, number, args, at, &meant) else { return Ok(Reply::Again) };
    let found = match found {
        Ok(found) => found,
        Err(errno) => return failed(number, args, errno),
    };
    if found.is_program && number == number::TRUNCATE {
        return Err(Errno::ETXTBSY);
    }
    if asking::is_to_be_asked(number) || proc_files::root().is_none() {
        return by_path(call, args, path, found);
    }
    if let Some((with, about, by)) = about(number, args) {
        let answer = reply(named::about(with, about, &found.file, by)?);
        // Else the procfs is one of another namespace, which does not know this process.
        if answer != Err(Errno::ENOENT) || by != By::Link || named::is_known(&found.file) {
            return answer;
        }
    }
    let with_link = |with| named::absolute(&found.file).map(|link| (with, link));
    match through_link(call).and_then(with_link) {
        Some((with, link)) => reply(files::with_path(with, args, Path::new(&link))?),
        None => by_path(call, args, path, found),
    }
}

/// Makes a call by its path, or by another one of the guest's program.
fn by_path(call: Forwardable, args: Args, path: &[u8], found: Found) -> Answer {
    if found.is_program {
        let program = format!("/proc/{}", proc_files::own_link(&found.file));
        return reply(files::with_path(call, args, Path::new(&program))?);
    }
    // A mount is busy while one of its files is held.
    drop(found);
    reply(files::with_path(call, args, as_path(path))?)
}

/// The form of a call that changes what a link leads to, if Linux has none that takes a descriptor of any kind.
fn through_link(call: Forwardable) -> Option<Forwardable> {
    match call.call().number {
        number::TRUNCATE
        | number::UTIME
        | number::CHROOT
        | number::SETXATTR
        | number::REMOVEXATTR => Some(call),
        // The link of procfs is followed, and no other.
        number::LSETXATTR => Some(Forwardable::SETXATTR),
        number::LREMOVEXATTR => Some(Forwardable::REMOVEXATTR),
        _ => None,
    }
}

/// The form of a call that takes a file which is open. `None` if there is none, or the host shall find fault with
/// its flags.
fn about(number: usize, args: Args) -> Option<(Forwardable, Args, By)> {
    let [_, second, third, fourth, fifth, _] = args;
    let known = |flags: u64| flags & 0xffff_ffff & !(NO_FOLLOW | EMPTY_PATH) == 0;
    Some(match number {
        number::STATFS => (Forwardable::FSTATFS, [0, second, 0, 0, 0, 0], By::Number),
        number::CHDIR => (Forwardable::FCHDIR, [0; 6], By::Number),
        number::ACCESS => (Forwardable::FACCESSAT, [0, 0, second, 0, 0, 0], By::Link),
        number::FACCESSAT => (Forwardable::FACCESSAT, [0, 0, third, 0, 0, 0], By::Link),
        number::FACCESSAT2 => {
            (Forwardable::FACCESSAT2, [0, 0, third, fourth & !NO_FOLLOW, 0, 0], By::Link)
        }
        number::CHMOD => (Forwardable::FCHMODAT, [0, 0, second, 0, 0, 0], By::Link),
        number::FCHMODAT => (Forwardable::FCHMODAT, [0, 0, third, 0, 0, 0], By::Link),
        number::FCHMODAT2 if known(fourth) => {
            (Forwardable::FCHMODAT, [0, 0, third, 0, 0, 0], By::Link)
        }
        number::CHOWN | number::LCHOWN => {
            (Forwardable::FCHOWNAT, [0, 0, second, third, 0, 0], By::Link)
        }
        number::FCHOWNAT if known(fifth) => {
            (Forwardable::FCHOWNAT, [0, 0, third, fourth, 0, 0], By::Link)
        }
        number::UTIMES => (Forwardable::FUTIMESAT, [0, 0, second, 0, 0, 0], By::Link),
        number::FUTIMESAT => (Forwardable::FUTIMESAT, [0, 0, third, 0, 0, 0], By::Link),
        number::UTIMENSAT if known(fourth) => {
            (Forwardable::UTIMENSAT, [0, 0, third, 0, 0, 0], By::Link)
        }
        number::LINKAT if known(fifth & !FOLLOW) => {
            (Forwardable::LINKAT, [0, 0, third, fourth, FOLLOW, 0], By::Link)
        }
        number::NAME_TO_HANDLE_AT => {
            let flags = fifth & !FOLLOW | EMPTY_PATH;
            (Forwardable::NAME_TO_HANDLE_AT, [0, 0, third, fourth, flags, 0], By::EmptyPath)
        }
        number::OPEN_TREE => {
            (Forwardable::OPEN_TREE, [0, 0, third | EMPTY_PATH, 0, 0, 0], By::EmptyPath)
        }
        _ => return None,
    })
}

/// `mount(2)`, both of whose paths may be links; the first one is none for most mounts.
pub(super) fn mount(thread: &mut Thread, args: Args) -> Answer {
    let ends = if args[3] & FROM_PATH == 0 { vec![(1, End::Followed)] } else { both(0, 1) };
    by_paths(thread, Forwardable::MOUNT, args, ends)
}

pub(super) fn pivot_root(thread: &mut Thread, args: Args) -> Answer {
    by_paths(thread, Forwardable::PIVOT_ROOT, args, both(0, 1))
}

pub(super) fn acct(thread: &mut Thread, args: Args) -> Answer {
    by_paths(thread, Forwardable::ACCT, args, vec![(0, End::Followed)])
}

pub(super) fn swapon(thread: &mut Thread, args: Args) -> Answer {
    by_paths(thread, Forwardable::SWAPON, args, vec![(0, End::Followed)])
}

pub(super) fn quotactl(thread: &mut Thread, args: Args) -> Answer {
    by_paths(thread, Forwardable::QUOTACTL, args, vec![(1, End::Followed)])
}

pub(super) fn move_mount(thread: &mut Thread, args: Args) -> Answer {
    let end = |flag| if args[4] & flag == 0 { End::Itself } else { End::Followed };
    let ends = vec![(1, end(FROM_FOLLOW)), (3, end(TO_FOLLOW))];
    by_paths(thread, Forwardable::MOVE_MOUNT, args, ends)
}

pub(super) fn fspick(thread: &mut Thread, args: Args) -> Answer {
    let end = if args[2] & PICK_NO_FOLLOW == 0 { End::Followed } else { End::Itself };
    by_paths(thread, Forwardable::FSPICK, args, vec![(1, end)])
}

/// A group that is given the files themselves is refused as to a user without rights: files of procfs, the monitor's
/// memory among them, would come as the monitor opens them.
pub(super) fn fanotify_init(thread: &mut Thread, args: Args) -> Answer {
    let names_files_only = args[0] & (REPORT_FILE | REPORT_DIRECTORY | REPORT_MOUNTS) != 0;
    if names_files_only {
        super::forward(thread, Forwardable::FANOTIFY_INIT, args)
    } else {
        Err(Errno::EPERM)
    }
}

pub(super) fn fanotify_mark(thread: &mut Thread, args: Args) -> Answer {
    let end = if args[1] & MARK_NO_FOLLOW == 0 { End::Followed } else { End::Itself };
    by_paths(thread, Forwardable::FANOTIFY_MARK, args, vec![(4, end)])
}

pub(super) fn mount_setattr(thread: &mut Thread, args: Args) -> Answer {
    let memory = thread.process.memory.guest_memory();
    let path = memory_string(thread, args[1]);
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return reply(nested::mount_setattr(memory, args, None)?);
    };
    match find(thread, number::MOUNT_SETATTR, args, 1, &path) {
        Some(Ok(found)) => reply(nested::mount_setattr(memory, args, Some(&found.file))?),
        Some(Err(errno)) => failed(number::MOUNT_SETATTR, args, errno),
        None => Ok(Reply::Again),
    }
}

fn both(one: usize, other: usize) -> Vec<(usize, End)> {
    vec![(one, End::Followed), (other, End::Followed)]
}

fn memory_string(thread: &Thread, address: u64) -> Option<Vec<u8>> {
    (address != 0).then(|| thread.process.memory.read_string(address, PATH_MAX).ok()).flatten()
}

/// Makes a call by its paths if none of them leads by a link to what is the monitor's.
fn by_paths(thread: &Thread, call: Forwardable, args: Args, paths: Vec<(usize, End)>) -> Answer {
    let mut strings = Vec::new();
    let mut fault = None;
    // No file has so long a name.
    let nowhere = [b"/".as_slice(), &[b'x'; NAME_MAX + 1]].concat();
    for (at, end) in paths {
        let Some(path) = memory_string(thread, args[at]) else { continue };
        if !path.is_empty() && fault.is_none() {
            let has_directory = call.call().args.get(at.wrapping_sub(1)) == Some(&Arg::Fd);
            let directory = if has_directory { args[at - 1] } else { WORKING_DIRECTORY };
            let place = Place::new(thread.process.memory.guest_memory(), directory, &path);
            let viewer = thread.viewer();
            let found = place.and_then(|place| walk::find(&viewer, &place, end));
            fault = found.err().map(|errno| (at, errno));
        }
        let leads = fault.is_none_or(|(bad, _)| bad != at);
        // In place of a bad path, one of which the host says when it comes to it.
        strings.push((at, if leads { path } else { nowhere.clone() }));
    }
    match (reply(files::with_strings(call, args, strings)?), fault) {
        (Err(Errno::ENAMETOOLONG | Errno::ENOENT), Some((_, errno))) => Err(errno),
        (answer, _) => answer,
    }
}

/// `NAME_MAX`.
const NAME_MAX: usize = 255;
/// `PATH_MAX`.
const PATH_MAX: usize = 4096;
/// `MOVE_MOUNT_F_SYMLINKS` and `MOVE_MOUNT_T_SYMLINKS`.
const FROM_FOLLOW: u64 = 1;
const TO_FOLLOW: u64 = 0x10;
/// `FSPICK_SYMLINK_NOFOLLOW`.
const PICK_NO_FOLLOW: u64 = 2;
/// `FAN_REPORT_FID`, `FAN_REPORT_DIR_FID`, `FAN_REPORT_MNT`: events name files, and give none.
const REPORT_FILE: u64 = 0x200;
const REPORT_DIRECTORY: u64 = 0x400;
const REPORT_MOUNTS: u64 = 0x4000;
/// `FAN_MARK_DONT_FOLLOW`.
const MARK_NO_FOLLOW: u64 = 4;
