//! The mount attributes of a detached mount.
#![expect(unsafe_code, reason = "mount_setattr(2) has no wrapper in rustix or nix")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes a detached mount (from `open_tree(2)` with `OPEN_TREE_CLONE`) read-only.
pub fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string that lives for ever, and the structure is of exactly
    // the size that is passed and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
