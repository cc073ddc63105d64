//! `execve` and `execveat`: the strings of the guest's, then [`exec::execute`].

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use monitor_sys::{
    Errno,
    descriptors::{self, Passed},
    guest_copy,
};

use super::{Answer, Args, Reply, low_word};
use crate::{
    files::proc_self::{self, Leads, Place},
    process::exec,
    thread::Thread,
};

/// `PATH_MAX`.
const PATH_MAX: usize = 4096;
/// `MAX_ARG_STRLEN`: the longest single string, with its NUL.
const STRING_MAX: usize = 128 * 1024;
/// The most strings that are read at all (Linux's own limit is in bytes, and the
/// host checks it: 6 MiB hold fewer pointers than this).
const STRINGS_MAX: u64 = 1 << 20;
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
    if !path.is_empty() && flags & NO_FOLLOW == 0 {
        let program = program_behind(thread, directory, &path)?;
        if program.is_some() {
            return execute(thread, to_path(path), program, arguments, environment);
        }
    }
    if path.starts_with(b"/") || directory == WORKING_DIRECTORY {
        return execute(thread, to_path(path), None, arguments, environment);
    }
    let file = descriptors::borrow(thread.process.memory.guest_memory(), directory)?;
    // The next program finds it by its first thread's number, which is the process's.
    let link = PathBuf::from(format!("/proc/self/fd/{directory}"));
    let mut passed = None;
    let target = match (path.is_empty(), flags & EMPTY_PATH != 0) {
        (true, false) => return Err(Errno::ENOENT),
        (true, true) => {
            passed = descriptors::pass_if_closed(file)?;
            link
        }
        (false, _) => link.join(to_path(path)),
    };
    execute(thread, target, passed, arguments, environment)
}

/// The guest's program, if the path is that of a link to a monitor's.
fn program_behind(thread: &Thread, directory: i32, path: &[u8]) -> Result<Option<Passed>, Errno> {
    let memory = thread.process.memory.guest_memory();
    let place = Place::new(memory, u64::from(directory.cast_unsigned()), path)?;
    match proc_self::look_through(&thread.process.viewer(), &place)? {
        Leads::Program(program) => {
            let file = std::fs::File::open(program).map_err(|_| Errno::EACCES)?;
            descriptors::pass_on(&file).map(Some)
        }
        Leads::Hidden => Err(Errno::ENOENT),
        Leads::Elsewhere => Ok(None),
    }
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
    let mut arguments = read_strings(arguments)?;
    if arguments.is_empty() {
        // Linux gives such a program one empty argument.
        arguments.push(Vec::new());
    }
    let environment = read_strings(environment)?;
    exec::execute(thread, path, file, arguments, environment).map_or(Ok(Reply::Again), Err)
}

fn read_path(address: u64) -> Result<Vec<u8>, Errno> {
    guest_copy::read_string(address, PATH_MAX)
}

fn to_path(path: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(path))
}

/// A null-terminated vector of strings; a null vector is an empty one.
fn read_strings(address: u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    for at in 0..STRINGS_MAX {
        let pointer = guest_copy::read::<u64>(address.wrapping_add(at * 8))?;
        if pointer == 0 {
            return Ok(strings);
        }
        match guest_copy::read_string(pointer, STRING_MAX) {
            Err(Errno::ENAMETOOLONG) => return Err(Errno::E2BIG),
            string => strings.push(string?),
        }
    }
    Err(Errno::E2BIG)
}
