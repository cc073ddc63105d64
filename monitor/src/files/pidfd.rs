//! Which process a descriptor of one stands for.

use std::{
    fs::File,
    io::Read,
    os::fd::{AsRawFd, BorrowedFd},
};

use monitor_sys::Errno;
use rustix::{
    fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat},
    io,
    process::getpid,
};

/// As many bytes are read; a process's information has fewer.
const LONGEST: u64 = 4096;

/// The process's number in this process's namespace: `EBADF` if the descriptor is
/// of something else, `ESRCH` if the process is gone, `EPERM` if there is no procfs
/// of this namespace to ask.
pub fn process_of(pidfd: BorrowedFd<'_>) -> Result<i32, Errno> {
    io::fcntl_getfd(pidfd).map_err(|_| Errno::EBADF)?;
    let text = information(pidfd).ok().flatten().ok_or(Errno::EPERM)?;
    number_in(&text)
}

/// What procfs says about the descriptor; none if it is another namespace's, whose
/// numbers mean other processes.
fn information(pidfd: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let procfs = openat(CWD, "/proc", flags | OFlags::DIRECTORY, Mode::empty())?;
    let own = readlinkat(&procfs, "self", Vec::new())?;
    let own_number = getpid().as_raw_nonzero().to_string();
    if fstatfs(&procfs)?.f_type != PROC_SUPER_MAGIC || own.to_bytes() != own_number.as_bytes() {
        return Ok(None);
    }
    let name = format!("thread-self/fdinfo/{}", pidfd.as_raw_fd());
    let mut text = String::new();
    let file = File::from(openat(&procfs, name, flags, Mode::empty())?);
    Ok(file.take(LONGEST).read_to_string(&mut text).ok().map(|_| text))
}

/// Linux writes -1 for a process that was waited for, and 0 for one that has no
/// number in this namespace.
fn number_in(information: &str) -> Result<i32, Errno> {
    let number = information.lines().find_map(|line| line.strip_prefix("Pid:"));
    match number.and_then(|number| number.trim().parse().ok()) {
        None => Err(Errno::EBADF),
        Some(-1) => Err(Errno::ESRCH),
        Some(0) => Err(Errno::EPERM),
        Some(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use monitor_sys::Errno;

    use super::number_in;

    #[test]
    fn only_descriptors_of_processes_have_a_number() {
        let head = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t12\n";

        assert_eq!(number_in(&format!("{head}Pid:\t417\nNSpid:\t417\n")), Ok(417));
        assert_eq!(number_in(&format!("{head}Pid:\t-1\n")), Err(Errno::ESRCH));
        assert_eq!(number_in(&format!("{head}Pid:\t0\n")), Err(Errno::EPERM));
        assert_eq!(number_in(head), Err(Errno::EBADF));
    }
}
