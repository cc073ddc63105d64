//! Directories that are listed into memory of the monitor's: what is in them is not all for the guest.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::host_call::{self, to_u64};

/// Reads the next entries of an open directory, as `getdents(2)` writes them, or `getdents64(2)` if they are to be `wide`.
/// Returns how many bytes they take; none are left if that is 0.
pub fn read(directory: BorrowedFd<'_>, wide: bool, into: &mut [u8]) -> Result<usize, Errno> {
    let number = if wide { libc::SYS_getdents64 } else { libc::SYS_getdents };
    let (file, at) =
        (u64::from(directory.as_raw_fd().unsigned_abs()), to_u64(into.as_mut_ptr().addr()));
    // The kernel takes a length of 32 bits.
    let len = u32::try_from(into.len()).unwrap_or(u32::MAX);
    // SAFETY: the kernel writes at most so many bytes, and there are as many.
    let len = unsafe { host_call::raw(number, [file, at, len.into(), 0, 0, 0]) }?;
    usize::try_from(len).map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::read;

    #[test]
    fn entries_come_until_there_are_none() {
        for wide in [true, false] {
            let directory = File::open("/proc/self/ns").unwrap();
            let mut bytes = [0; 512];

            let len = read(directory.as_fd(), wide, &mut bytes).unwrap();

            assert!(bytes[..len].windows(6).any(|part| part == b"cgroup"));
            assert_eq!(read(directory.as_fd(), wide, &mut bytes), Ok(0));
        }
    }
}
