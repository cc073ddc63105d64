//! Numbers of the monitor's that are used again and again, for files that are held for one call.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::atomic::Ordering,
};

use nix::errno::Errno;

use super::{KEPT, close, hide_guests, spare};
use crate::robust;

/// A file at a number that has been the monitor's before and stays it after: no
/// call that the guest began earlier can put another file there.
#[derive(Debug)]
pub struct Scratch(RawFd);

impl Scratch {
    /// Puts the file there. What the descriptor held until now decides.
    pub fn hold<F: AsFd>(file: F) -> Result<Self, Errno> {
        let file = file.as_fd();
        let number = if robust::borrows() { None } else { spare().pop() };
        match number {
            Some(number) if put(file.as_raw_fd(), number).is_ok() => Ok(Self(number)),
            // Above the soft limit the guest can put nothing anywhere, nor can we.
            _ => Ok(Self(hide_guests(file)?.into_raw_fd())),
        }
    }
}

impl AsFd for Scratch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is the monitor's, and holds a file while `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl AsRawFd for Scratch {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The file shall not stay open; the number does, with a file that does.
        //
        // A child that borrows this memory has a table of its own, where others' numbers may be the guest's, and its
        // may be in another table.
        let kept = if robust::borrows() { -1 } else { KEPT[0].load(Ordering::Relaxed) };
        if kept >= 0 && put(kept, self.0).is_ok() {
            spare().push(self.0);
        } else {
            // SAFETY: the number is the monitor's, made by `hide`, and `self` ends.
            close(unsafe { OwnedFd::from_raw_fd(self.0) });
        }
    }
}

/// Has a descriptor of the monitor's lead to another file, for a writer who bears what may become of that.
pub fn lead_elsewhere(descriptor: &File, to: BorrowedFd<'_>) -> Result<(), Errno> {
    put(to.as_raw_fd(), descriptor.as_raw_fd())
}

/// `dup3(2)` onto a number of the monitor's.
fn put(file: RawFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: `number` belongs to a [`Scratch`], is spare, or is a `File`'s, for which any file will do; `file`
    // is only read.
    let result = unsafe { libc::dup3(file, number, libc::O_CLOEXEC) };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
