//! Whose fault a page fault is.

use super::{AddressSpace, Protection};
use crate::arch::x86_64::exceptions::Access;

/// What a page fault means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The mapping allows it: the platform has to let it through.
    Allowed,
    /// The address is mapped, but not for this: `SEGV_ACCERR`.
    Forbidden,
    /// Nothing is mapped there: `SEGV_MAPERR`.
    Unmapped,
}

impl AddressSpace {
    /// Judges an access by what the guest has mapped.
    pub fn judge(&self, address: u64, access: Access) -> Verdict {
        let mut state = self.state();
        let Some(protection) = self.protection_or_growth(&mut state, address) else {
            return Verdict::Unmapped;
        };
        let allowed = match access {
            Access::Read => protection.reads(),
            Access::Write => protection.writes(),
            Access::Execute => protection.executes(),
        };
        if !allowed {
            return Verdict::Forbidden;
        }
        self.touched(&mut state, address, access);
        Verdict::Allowed
    }

    /// Whether the mapping at `address` lets it be read and the host does not, asked
    /// while no mapping changes: what the host denied a moment ago, another thread
    /// may have been changing.
    pub fn has_nothing_behind(&self, address: u64) -> bool {
        let state = self.state();
        state.map.protection_at(address).is_some_and(Protection::reads)
            && monitor_sys::guest_copy::read::<u8>(address).is_err()
    }
}
