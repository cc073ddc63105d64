//! The limits of address space and data, which count the guest's memory only.
//!
//! On the host they would count the monitor's own. So the host's limit is the
//! guest's and a share that no monitor reaches: the host keeps it over `execve(2)`
//! and `fork(2)`, decides who may raise it, and lets others set it, and what the
//! guest has mapped is compared with it here.

use monitor_launch::MONITORS_SHARE;
use monitor_sys::{Errno, guest_memory::GuestSpan};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Protection, State,
    map::{Kind, Mapped},
};

/// `RLIM_INFINITY`.
pub const NO_LIMIT: u64 = u64::MAX;

/// What a stack takes before it grows, as Linux counts it, in bytes.
const STACK_AT_START: u64 = 132 << 10;

/// The host's limit for one of the guest's.
pub fn to_host(limit: u64) -> u64 {
    limit.checked_add(MONITORS_SHARE).unwrap_or(NO_LIMIT)
}

/// The guest's limit for one of the host's. One that was given to the monitor, and
/// could not be raised, is the guest's as it is.
pub fn to_guest(limit: u64) -> u64 {
    if limit == NO_LIMIT { limit } else { limit.checked_sub(MONITORS_SHARE).unwrap_or(limit) }
}

/// Takes over the limits that the monitor was started with. krun has added the share already: whoever runs
/// the monitor in a container has no right to.
pub fn adopt() {
    for resource in [Resource::As, Resource::Data] {
        let given = getrlimit(resource);
        let raise = |limit: u64| if limit < MONITORS_SHARE { to_host(limit) } else { limit };
        let raised =
            Rlimit { current: given.current.map(raise), maximum: given.maximum.map(raise) };
        if raised != given {
            // Without the right to, the host's limit acts on both, as it was set.
            _ = setrlimit(resource, raised);
        }
    }
}

/// The limit of data, in bytes.
pub(super) fn data() -> u64 {
    current(Resource::Data)
}

fn current(resource: Resource) -> u64 {
    to_guest(getrlimit(resource).current.unwrap_or(NO_LIMIT))
}

/// Whether a mapping is counted as data.
fn is_data(kind: Kind, protection: Protection) -> bool {
    matches!(kind, Kind::Private | Kind::Anonymous | Kind::Heap) && protection.writes()
}

impl State {
    /// How much of `span` is mapped, in bytes.
    pub(super) fn len_within(&self, span: GuestSpan) -> u64 {
        self.map.within(span).map(|mapped| mapped.span.len()).sum()
    }

    /// `ENOMEM` where `len` more bytes would break a limit, `replaced` of which are
    /// in the place of others.
    pub(super) fn admit(
        &self,
        len: u64,
        replaced: u64,
        kind: Kind,
        protection: Protection,
    ) -> Result<(), Errno> {
        let more = counted(kind, len - replaced.min(len));
        if more != 0 && exceeds(Resource::As, more, || self.sum(|_| true)) {
            return Err(Errno::ENOMEM);
        }
        let data = is_data(kind, protection) && more != 0;
        if data && exceeds(Resource::Data, more, || self.data_len()) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// The same for what becomes data by a change of protection.
    pub(super) fn admit_data(&self, span: GuestSpan, protection: Protection) -> Result<(), Errno> {
        let becomes = |mapped: &Mapped| {
            is_data(mapped.kind, protection) && !is_data(mapped.kind, mapped.protection)
        };
        if !protection.writes() || data() == NO_LIMIT {
            return Ok(());
        }
        let changed = self.map.within(span).filter(becomes).map(|mapped| mapped.span.len()).sum();
        if changed != 0 && exceeds(Resource::Data, changed, || self.data_len()) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    fn data_len(&self) -> u64 {
        self.sum(|mapped| is_data(mapped.kind, mapped.protection))
    }

    fn sum(&self, is_counted: impl Fn(&Mapped) -> bool) -> u64 {
        self.map
            .all()
            .filter(is_counted)
            .map(|mapped| counted(mapped.kind, mapped.span.len()))
            .sum()
    }
}

/// How much of `len` bytes counts: a stack is mapped as far as it may grow, and counts as one that has not.
fn counted(kind: Kind, len: u64) -> u64 {
    match kind {
        Kind::Stack => len.min(STACK_AT_START),
        Kind::Private | Kind::Anonymous | Kind::Heap | Kind::Shared | Kind::GrowsDown => len,
    }
}

/// Whether `more` bytes beside those there are would be over the limit. They are
/// only counted where there is one.
fn exceeds(resource: Resource, more: u64, present: impl FnOnce() -> u64) -> bool {
    let limit = current(resource);
    limit != NO_LIMIT && present().saturating_add(more) > limit
}

#[cfg(test)]
mod tests {
    use super::{MONITORS_SHARE, NO_LIMIT, to_guest, to_host};

    #[test]
    fn a_limit_survives_the_host() {
        for limit in [0, 1, 4096, 1 << 30, MONITORS_SHARE, 1 << 62, NO_LIMIT] {
            assert_eq!(to_guest(to_host(limit)), limit, "{limit:#x}");
        }
    }

    #[test]
    fn a_limit_that_could_not_be_raised_is_the_guests() {
        assert_eq!(to_guest(1 << 30), 1 << 30);
    }
}
