//! Calls about a file that was found by its path before: with its descriptor in place of the path, so that no
//! other thread can put another file there in between.

use std::{
    ffi::CString,
    mem::size_of,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::stat::{fstat, stat},
};

use crate::{
    abi::{Arg, Forwardable},
    descriptors::Scratch,
    forward, guest_copy,
    host_call::{self, Outcome, to_u64},
    proc_files,
};

/// What Linux writes of a file: `struct stat` and `struct statx` are no longer.
const STATUS_LEN: usize = 256;
/// `AT_FDCWD`, in place of what is put in later.
const WORKING_DIRECTORY: u64 = 0xffff_ff9c;

/// How a call takes a file that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// As the first argument, before an empty path. The caller has set the flag that allows that.
    EmptyPath,
    /// By the link that procfs has to it, below the monitor's own procfs. The call follows links.
    Link,
    /// As the first argument.
    Number,
}

/// Makes `call`, whose first argument is a descriptor, and the second a path unless it is [`By::Number`], about a
/// file.
pub fn about(call: Forwardable, args: [u64; 6], file: &Scratch, by: By) -> Result<Outcome, Errno> {
    match by {
        By::EmptyPath => make(call, args, file.as_fd(), Some("")),
        By::Number => make(call, args, file.as_fd(), None),
        By::Link => {
            let root = proc_files::root().ok_or(Errno::ENOENT)?;
            make(call, args, root, Some(&proc_files::own_link(file)))
        }
    }
}

/// Whether the monitor's procfs knows this process, and so has a link to its file.
pub fn is_known(file: &Scratch) -> bool {
    proc_files::link(&proc_files::own_link(file)).is_ok()
}

/// The absolute path of procfs's link to a file. `None` if that leads elsewhere from where the guest's root is now.
pub fn absolute(file: &Scratch) -> Option<String> {
    let path = format!("/proc/{}", proc_files::own_link(file));
    let (known, found) = (fstat(file).ok()?, stat(path.as_str()).ok()?);
    (known.st_dev == found.st_dev && known.st_ino == found.st_ino).then_some(path)
}

/// Makes `call`, whose first two arguments are a descriptor and a path, for a path below procfs's root that was
/// found to be the guest's.
pub fn below_proc(call: Forwardable, args: [u64; 6], path: &str) -> Result<Outcome, Errno> {
    make(call, args, proc_files::root().ok_or(Errno::ENOENT)?, Some(path))
}

fn make(
    call: Forwardable,
    mut args: [u64; 6],
    first: BorrowedFd<'_>,
    path: Option<&str>,
) -> Result<Outcome, Errno> {
    let path = path.map(CString::new).transpose().map_err(|_| Errno::ENOENT)?;
    args[0] = WORKING_DIRECTORY;
    let row = call.call();
    let (mut host, _vector) = forward::for_host(row.args, args, path.as_ref().map(|_| 1))?;
    host[0] = u64::from(first.as_raw_fd().unsigned_abs());
    if let Some(path) = &path {
        host[1] = to_u64(path.as_ptr().addr());
    }
    // SAFETY: the path is ours and lives until the call returns, and the other pointers are what the row allows, as
    // in `forward`. The descriptor is the monitor's: that of a file that the guest has named, for a call that is
    // about the file and not about the descriptor, or of procfs's root, below which the path leads to it.
    let outcome = unsafe { host_call::interruptible(row.number, &host) };
    drop(path);
    Ok(outcome)
}

/// What a call like `stat(2)` tells.
#[derive(Clone, Debug)]
pub struct Status {
    /// The call's outcome.
    pub outcome: Outcome,
    bytes: [u8; STATUS_LEN],
    len: usize,
    address: u64,
}

impl Status {
    /// Asks for it with `path` in place of the call's string. The guest does not get it yet.
    pub fn read(call: Forwardable, args: [u64; 6], path: &Path) -> Result<Self, Errno> {
        let row = call.call();
        let place = row.args.iter().position(|kind| matches!(kind, Arg::Struct(_)));
        let first = row.args.iter().position(|kind| *kind == Arg::Str);
        let (Some(place), Some(first)) = (place, first) else { return Err(Errno::EFAULT) };
        let Arg::Struct(len) = row.args[place] else { return Err(Errno::EFAULT) };
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::ENOENT)?;
        let (mut host, _vector) = forward::for_host(row.args, args, Some(first))?;
        let mut bytes = [0_u64; STATUS_LEN / size_of::<u64>()];
        host[first] = to_u64(path.as_ptr().addr());
        host[place] = to_u64(bytes.as_mut_ptr().addr());
        // SAFETY: the string is ours and lives until the call returns; the kernel writes no more than `len` bytes,
        // and there are as many; the other arguments are what the row allows, as in `forward`.
        let outcome = unsafe { host_call::interruptible(row.number, &host) };
        let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?.min(STATUS_LEN);
        let mut copy = [0; STATUS_LEN];
        for (to, word) in copy.chunks_exact_mut(8).zip(bytes) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        Ok(Self { outcome, bytes: copy, len, address: args[place] })
    }

    /// The device and the inode of the file.
    pub fn file(&self) -> (u64, u64) {
        let word =
            |at: usize| u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap_or_default());
        let half =
            |at: usize| u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap_or_default());
        // `struct statx` is the longer one.
        if self.len == STATUS_LEN {
            (libc::makedev(half(136), half(140)), word(32))
        } else {
            (word(0), word(8))
        }
    }

    /// Gives it to the guest, if the call has succeeded.
    pub fn give(&self) -> Result<Outcome, Errno> {
        if self.outcome == Outcome::Returned(0) {
            guest_copy::write_bytes(self.address, &self.bytes[..self.len])?;
        }
        Ok(self.outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, path::Path};

    use super::Status;
    use crate::{abi::Forwardable, host_call::Outcome};

    #[test]
    fn both_forms_of_a_files_status_tell_which_file_it_is() {
        let known = std::fs::metadata("/etc").unwrap();
        let cases = [
            (Forwardable::STAT, [0; 6]),
            (Forwardable::NEWFSTATAT, [0xffff_ff9c, 0, 0, 0, 0, 0]),
            (Forwardable::STATX, [0xffff_ff9c, 0, 0, 0x7ff, 0, 0]),
        ];
        for (call, args) in cases {
            let status = Status::read(call, args, Path::new("/etc")).unwrap();

            assert_eq!(status.outcome, Outcome::Returned(0));
            assert_eq!(status.file(), (known.dev(), known.ino()), "{}", call.call().name);
        }
    }
}
