//! Locking guest memory into RAM, and what the host lets this process lock.

use nix::{
    errno::Errno,
    sys::resource::{RLIM_INFINITY, Resource, getrlimit},
};

use crate::{
    guest_memory::{GuestMemory, GuestSpan, PAGE},
    host_call,
};

/// `MLOCK_ONFAULT`.
const ON_FAULT: u64 = 1;

/// When the pages of locked memory get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// When they are touched.
    OnFault,
}

impl GuestMemory {
    /// `mlock2(2)`.
    pub fn lock(&self, span: GuestSpan, when: When) -> Result<(), Errno> {
        let flags = if when == When::OnFault { ON_FAULT } else { 0 };
        let args = [span.start(), span.len(), flags, 0, 0, 0];
        // SAFETY: guest memory is locked; its content and its map stay.
        unsafe { host_call::raw(libc::SYS_mlock2, args) }.map(|_| ())
    }

    /// `munlock(2)`.
    pub fn unlock(&self, span: GuestSpan) -> Result<(), Errno> {
        let args = [span.start(), span.len(), 0, 0, 0, 0];
        // SAFETY: guest memory is unlocked; its content and its map stay.
        unsafe { host_call::raw(libc::SYS_munlock, args) }.map(|_| ())
    }

    /// `mseal(2)`.
    pub fn seal(&self, span: GuestSpan) -> Result<(), Errno> {
        let args = [span.start(), span.len(), 0, 0, 0, 0];
        // SAFETY: guest memory keeps its map from here on; the monitor relies on
        // neither change nor rest of it.
        unsafe { host_call::raw(libc::SYS_mseal, args) }.map(|_| ())
    }
}

/// Whether the kernel has `mseal(2)`, which came with Linux 6.10: `ENOSYS` if not.
pub fn can_seal() -> Result<(), Errno> {
    // SAFETY: no memory is named.
    unsafe { host_call::raw(libc::SYS_mseal, [0; 6]) }.map(|_| ())
}

/// Whether this process may have `bytes` of memory if all of it is locked. `EPERM`
/// if it may lock nothing at all.
pub fn may_lock_all_of(bytes: u64) -> Result<bool, Errno> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if limit == RLIM_INFINITY || (limit != 0 && bytes <= limit) || is_unlimited(limit) {
        return Ok(true);
    }
    if limit == 0 { Err(Errno::EPERM) } else { Ok(false) }
}

/// Whether the limit is none for this process, which `CAP_IPC_LOCK` decides, but
/// only in the first user namespace: the kernel is asked, with a mapping longer
/// than the limit that has no pages.
fn is_unlimited(limit: u64) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_LOCKED;
    let Some(len) = limit.checked_next_multiple_of(PAGE).and_then(|len| len.checked_add(PAGE))
    else {
        return true;
    };
    let args = [0, len, 0, u64::from(flags.cast_unsigned()), u64::MAX, 0];
    // SAFETY: a new mapping where Linux has room takes nothing from anybody.
    let Ok(place) = (unsafe { host_call::raw(libc::SYS_mmap, args) }) else {
        return false;
    };
    // SAFETY: the mapping was made above, and nobody else knows of it.
    _ = unsafe { host_call::raw(libc::SYS_munmap, [place, len, 0, 0, 0, 0]) };
    true
}

#[cfg(test)]
mod tests {
    use super::may_lock_all_of;

    #[test]
    fn nothing_can_be_locked_by_everybody_who_may_lock_something() {
        assert_ne!(may_lock_all_of(0), Ok(false));
    }
}
