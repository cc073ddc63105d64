//! Reads and writes for the guest by a thread that must not wait.

use nix::errno::Errno;

use crate::{
    forward::{IoVec, check_descriptor},
    guest_memory::GuestMemory,
    host_call::{self, to_u64},
};

/// `RWF_NOWAIT`: `EAGAIN` instead of waiting.
const NO_WAIT: u64 = 8;
/// The position that is the file's own.
const CURRENT: u64 = u64::MAX;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file into guest memory.
    Read,
    /// From guest memory to the file.
    Write,
}

/// What of guest memory is read or written: made by [`crate::forward::copy_vector`], which has found that
/// each element lies there.
#[derive(Clone, Debug)]
pub struct Places(Vec<IoVec>);

impl Places {
    /// The guest's vector of `count` elements at `address`.
    pub fn of_vector(address: u64, count: u64) -> Result<Self, Errno> {
        Ok(Self(crate::forward::copy_vector(address, count)?))
    }

    /// One place.
    pub fn of_bytes(address: u64, len: u64) -> Result<Self, Errno> {
        let base = crate::forward::own_or_unmapped(address, len)?;
        Ok(Self(vec![IoVec { base, len }]))
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum, element| sum.saturating_add(element.len))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is left behind the first `done` bytes.
    #[must_use]
    pub fn behind(&self, done: u64) -> Self {
        let mut skip = done;
        let rest = self.0.iter().filter_map(|element| {
            let skipped = skip.min(element.len);
            skip -= skipped;
            let rest = IoVec { base: element.base + skipped, len: element.len - skipped };
            (rest.len > 0).then_some(rest)
        });
        Self(rest.collect())
    }
}

/// `preadv2(2)` or `pwritev2(2)`, at `position` or where the file stands. Unless it may wait, `EAGAIN`
/// says that it would have to, and `EOPNOTSUPP` that the file cannot tell.
pub fn transfer(
    _memory: &GuestMemory,
    direction: Direction,
    descriptor: u64,
    places: &Places,
    position: Option<u64>,
    may_wait: bool,
) -> Result<u64, Errno> {
    check_descriptor(descriptor)?;
    let number = match direction {
        Direction::Read => libc::SYS_preadv2,
        Direction::Write => libc::SYS_pwritev2,
    };
    let flags = if may_wait { 0 } else { NO_WAIT };
    let vector = to_u64(places.0.as_ptr().addr());
    let count = to_u64(places.0.len());
    let args = [descriptor, vector, count, position.unwrap_or(CURRENT), 0, flags];
    // SAFETY: the vector is ours and lives until the call returns; each of its elements was found to name
    // guest memory, where nothing of Rust's lies, when it was made.
    unsafe { host_call::raw(number, args) }
}

#[cfg(test)]
mod tests {
    use super::{IoVec, Places};

    #[test]
    fn what_is_done_is_left_out() {
        let element = |base, len| IoVec { base, len };
        let places = Places(vec![element(100, 10), element(200, 0), element(300, 5)]);
        let left = |done| {
            let rest = places.behind(done).0;
            rest.into_iter().map(|element| (element.base, element.len)).collect::<Vec<_>>()
        };

        assert_eq!(places.len(), 15);
        assert_eq!(left(0), [(100, 10), (300, 5)]);
        assert_eq!(left(4), [(104, 6), (300, 5)]);
        assert_eq!(left(10), [(300, 5)]);
        assert_eq!(left(12), [(302, 3)]);
        assert_eq!(left(15), []);
    }
}
