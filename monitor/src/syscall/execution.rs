//! `execve` and `execveat`: the strings of the guest's, then [`exec::execute`].

use std::{
    ffi::OsString,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use monitor_sys::{
    Errno,
    descriptors::{self, Passed},
    guest_copy::{self, Window},
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};

use super::{Answer, Args, Reply, low_word};
use crate::{
    files::{
        proc_self::Place,
        walk::{self, End},
    },
    process::{
        exec,
        look::{self, Kind},
    },
    thread::Thread,
};

/// What Linux takes of all arguments and variables, at most, whatever the limit of the stack: three quarters of 8 MiB.
/// How much that is for this program its own `execve` says.
const TOTAL_MAX: usize = 6 << 20;
/// `PATH_MAX`.
const PATH_MAX: usize = 4096;
/// `MAX_ARG_STRLEN`: the longest single string, with its NUL.
const STRING_MAX: usize = 128 * 1024;
/// The most strings that are read at all (Linux's own limit is in bytes, and the
/// host checks it: 6 MiB hold fewer pointers than this).
const STRINGS_MAX: u64 = 1 << 20;
/// How Linux names a descriptor to a script's interpreter.
const LINKS: &str = "/dev/fd";
/// `AT_FDCWD`.
const WORKING_DIRECTORY: i32 = -100;
/// `AT_EMPTY_PATH`.
const EMPTY_PATH: u64 = 0x1000;
/// `AT_SYMLINK_NOFOLLOW`.
const NO_FOLLOW: u64 = 0x100;

pub(super) fn execve(thread: &mut Thread, args: Args) -> Answer {
    let [path, arguments, environment, ..] = args;
    let path = read_path(path)?;
    let program = program_behind(thread, WORKING_DIRECTORY, &path)?;
    execute(thread, to_path(path), program, arguments, environment)
}

pub(super) fn execveat(thread: &mut Thread, args: Args) -> Answer {
    let [directory, path, arguments, environment, flags, _] = args;
    if flags & !(EMPTY_PATH | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = read_path(path)?;
    let directory = low_word(directory).cast_signed();
    if path.is_empty() && flags & EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    if !path.is_empty() && flags & NO_FOLLOW == 0 {
        let program = program_behind(thread, directory, &path)?;
        if program.is_some() {
            return execute(thread, to_path(path), program, arguments, environment);
        }
    }
    if path.starts_with(b"/") || directory == WORKING_DIRECTORY {
        if path.is_empty() {
            // The working directory is no program.
            return Err(Errno::EACCES);
        }
        refuse_link(CWD, &path, flags)?;
        return execute(thread, to_path(path), None, arguments, environment);
    }
    let (target, passed) = {
        let place = descriptors::borrow(thread.process.memory.guest_memory(), directory)?;
        refuse_link(place, &path, flags)?;
        find(thread, place, path)?
    };
    execute(thread, target, passed, arguments, environment)
}

/// `ELOOP` if the name is a link's, and shall not be followed.
fn refuse_link(place: BorrowedFd<'_>, path: &[u8], flags: u64) -> Result<(), Errno> {
    if flags & NO_FOLLOW == 0 || path.is_empty() {
        return Ok(());
    }
    let status = statat(place, path, AtFlags::SYMLINK_NOFOLLOW).map_err(to_errno)?;
    let is_link = FileType::from_raw_mode(status.st_mode) == FileType::Symlink;
    if is_link { Err(Errno::ELOOP) } else { Ok(()) }
}

/// The name of a file in a directory, or of the descriptor itself; and the file, if
/// the name leads there only until the descriptor is closed by the execution. A
/// script's interpreter would not find it by that name (`ENOENT`).
fn find(
    thread: &Thread,
    place: BorrowedFd<'_>,
    path: Vec<u8>,
) -> Result<(PathBuf, Option<Passed>), Errno> {
    let mut target = Path::new(LINKS).join(place.as_raw_fd().to_string());
    if !target.exists() {
        // Without `/dev`, or the descriptor is not open.
        target = Path::new("/proc/self/fd").join(place.as_raw_fd().to_string());
    }
    let closed = descriptors::pass_if_closed(place)?;
    let mut passed = closed;
    if !path.is_empty() {
        if passed.is_some() {
            let file =
                openat(place, path.as_slice(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            passed = Some(descriptors::pass_on(file.map_err(to_errno)?)?);
        }
        target.push(to_path(path));
    }
    let is_script = |target: &Path| look::look(thread, target, Vec::new()) == Ok(Kind::Script);
    if passed.is_some() && is_script(&target) {
        return Err(Errno::ENOENT);
    }
    Ok((target, passed))
}

fn to_errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The guest's program, if the path leads through a link of procfs to a monitor's.
fn program_behind(thread: &Thread, directory: i32, path: &[u8]) -> Result<Option<Passed>, Errno> {
    let _room = descriptors::make_room();
    let memory = thread.process.memory.guest_memory();
    let place = Place::new(memory, u64::from(directory.cast_unsigned()), path)?;
    let viewer = thread.viewer();
    match walk::plainly(&viewer, &place, End::Followed) {
        Err(Errno::ELOOP) => {}
        _ => return Ok(None),
    }
    let found = walk::find(&viewer, &place, End::Followed)?;
    found.is_program.then(|| descriptors::pass_on(&found.file)).transpose()
}

fn execute(
    thread: &mut Thread,
    path: PathBuf,
    file: Option<Passed>,
    arguments: u64,
    environment: u64,
) -> Answer {
    if path.as_os_str().is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut room = TOTAL_MAX;
    let strings = read_strings(arguments, &mut room)
        .and_then(|first| Ok((first, read_strings(environment, &mut room)?)));
    let (mut arguments, environment) =
        strings.map_err(|errno| missing(thread, &path).unwrap_or(errno))?;
    if arguments.is_empty() {
        // Linux gives such a program one empty argument.
        arguments.push(Vec::new());
    }
    exec::execute(thread, path, file, arguments, environment).map_or(Ok(Reply::Again), Err)
}

/// Why a file cannot be opened to be executed. Linux opens it before it looks at the
/// arguments, and reads it afterwards.
fn missing(thread: &Thread, path: &Path) -> Option<Errno> {
    let error = look::look(thread, path, Vec::new()).err()?;
    (![Errno::ENOEXEC, Errno::ELIBBAD].contains(&error)).then_some(error)
}

fn read_path(address: u64) -> Result<Vec<u8>, Errno> {
    guest_copy::read_string(address, PATH_MAX)
}

fn to_path(path: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(path))
}

/// A null-terminated vector of strings; a null vector is an empty one. `room` is for how many bytes there may yet be.
fn read_strings(address: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    // The strings mostly lie behind one another.
    let (mut pointers, mut bytes) = (Window::default(), Window::default());
    for at in 0..STRINGS_MAX {
        let pointer = pointers.read_word(address.wrapping_add(at * 8))?;
        if pointer == 0 {
            return Ok(strings);
        }
        match bytes.read_string(pointer, STRING_MAX) {
            Err(Errno::ENAMETOOLONG) => return Err(Errno::E2BIG),
            string => {
                let string = string?;
                *room = room.checked_sub(string.len() + 1).ok_or(Errno::E2BIG)?;
                strings.push(string);
            }
        }
    }
    Err(Errno::E2BIG)
}
