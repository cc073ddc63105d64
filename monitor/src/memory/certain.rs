//! Memory that can be read as the monitor's own can, without asking the kernel to: private, without a file, and so
//! that the map of the guest's memory tells all that the host has done to it. Another process can cut a file short
//! under a mapping; a call that fails may have done half of what was asked for. What comes of either is read by the
//! kernel, which answers `EFAULT` where the monitor would get a signal.

use monitor_sys::{
    Errno, guest_copy,
    guest_memory::GuestSpan,
    host_call::to_u64,
    polling::{FOUND_AT, WATCHED_LEN, Watched},
};
use zerocopy::{FromZeros, IntoBytes};

use super::{AddressSpace, Protection, State, map::Kind};

/// So many descriptors of a list are read at once.
const WATCHED_AT_ONCE: usize = 4096;

impl AddressSpace {
    /// Reads a string of the guest's as [`guest_copy::read_string`] does.
    pub fn read_string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        match self.certain_string(address, to_u64(limit)) {
            Some(string) => Ok(string),
            None => guest_copy::read_string(address, limit),
        }
    }

    /// The same from memory that nobody can change while it is read, but for what stands there.
    fn certain_string(&self, address: u64, limit: u64) -> Option<Vec<u8>> {
        let state = self.state.try_lock().ok()?;
        let len = state.certain_from(address).min(limit);
        guest_copy::read_certain_string(address, len)
    }

    /// Reads the list of `poll(2)`, piece by piece: its length is the guest's word.
    pub fn read_watched(&self, address: u64, count: usize) -> Result<Vec<Watched>, Errno> {
        let mut list = Vec::new();
        while list.len() < count {
            let (known, next) = (list.len(), count.min(list.len() + WATCHED_AT_ONCE));
            list.try_reserve(next - known).map_err(|_| Errno::ENOMEM)?;
            list.resize(next, Watched::new_zeroed());
            let at = address.checked_add(to_u64(known) * WATCHED_LEN).ok_or(Errno::EFAULT)?;
            let bytes = list.get_mut(known..).unwrap_or_default().as_mut_bytes();
            let certain = self.state.try_lock().ok().and_then(|state| {
                let is_certain = state.certain_from(at) >= to_u64(bytes.len());
                is_certain.then(|| guest_copy::read_certain_bytes(at, bytes))
            });
            certain.unwrap_or_else(|| guest_copy::read_bytes(at, bytes))?;
        }
        Ok(list)
    }

    /// Writes what `poll(2)` has found, and nothing else: another thread may change the rest meanwhile.
    pub fn write_found(&self, address: u64, list: &[Watched]) -> Result<(), Errno> {
        let found = list.iter().map(|watched| watched.found);
        let (at, len) = (address + FOUND_AT, to_u64(list.len()) * WATCHED_LEN);
        if let Ok(state) = self.state.try_lock()
            && state.certain_from(address) >= len
            && state.map.protection_at(address).is_some_and(Protection::writes)
        {
            return guest_copy::write_apart_certainly(at, WATCHED_LEN, found);
        }
        guest_copy::write_apart(at, WATCHED_LEN, &found.collect::<Vec<_>>())
    }

    /// From now on the host may do to memory what is not noted.
    pub fn doubt(&self) {
        self.state().is_in_doubt = true;
    }
}

impl State {
    /// How many bytes from `address` on can be read without the kernel.
    fn certain_from(&self, address: u64) -> u64 {
        let Some(mapped) = self.map.mapped_at(address).filter(|_| !self.is_in_doubt) else {
            return 0;
        };
        let is_plain = matches!(mapped.kind, Kind::Anonymous | Kind::Heap | Kind::Stack);
        let span = GuestSpan::new(address, mapped.span.end() - address);
        let is_open = span.is_some_and(|span| self.guards.is_free(span));
        if is_plain && is_open && mapped.protection.reads() {
            mapped.span.end() - address
        } else {
            0
        }
    }

    /// Passes on what the host answers to a change of memory. If that is an error, some of it may be done all the
    /// same.
    pub(super) fn sure<T>(&mut self, answer: Result<T, Errno>) -> Result<T, Errno> {
        self.is_in_doubt |= answer.is_err();
        answer
    }
}
