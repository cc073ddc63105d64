//! The alternate signal stack of a thread: `sigaltstack(2)`.

use monitor_sys::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `SS_ONSTACK`.
pub const SS_ONSTACK: u32 = 1;
/// `SS_DISABLE`.
pub const SS_DISABLE: u32 = 2;
/// `SS_AUTODISARM`: the stack is disabled while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;

/// `MINSIGSTKSZ`, which Linux checks against.
const SMALLEST: u64 = 2048;

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub struct AlternateStack {
    /// Its lowest address.
    pub start: u64,
    /// `SS_*`.
    pub flags: u32,
    /// Zero.
    pub padding: u32,
    /// Its length in bytes.
    pub len: u64,
}

impl Default for AlternateStack {
    fn default() -> Self {
        Self { start: 0, flags: SS_DISABLE, padding: 0, len: 0 }
    }
}

impl AlternateStack {
    /// Whether a stack pointer lies on it.
    pub fn holds(&self, pointer: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.reaches(pointer)
    }

    /// Whether a frame that ends at `pointer` lies on it, for handlers that run on
    /// it already or are about to.
    pub fn reaches(&self, pointer: u64) -> bool {
        self.flags & SS_DISABLE == 0 && pointer > self.start && pointer - self.start <= self.len
    }

    /// The address behind it, if a handler that starts with `pointer` shall run
    /// on it.
    pub fn top_for(&self, pointer: u64) -> Option<u64> {
        let usable = self.flags & SS_DISABLE == 0 && self.len != 0 && !self.holds(pointer);
        usable.then(|| self.start.wrapping_add(self.len))
    }

    /// What `sigaltstack` shows of it.
    #[must_use]
    pub fn shown(&self, pointer: u64) -> Self {
        let on = if self.holds(pointer) { SS_ONSTACK } else { 0 };
        Self { flags: self.flags | on, padding: 0, ..*self }
    }

    /// Replaces it, with Linux's checks.
    pub fn replace(&mut self, new: Self, pointer: u64) -> Result<(), Errno> {
        if self.holds(pointer) {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !SS_AUTODISARM;
        *self = match mode {
            SS_DISABLE => Self::default(),
            0 | SS_ONSTACK if new.len < SMALLEST => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => Self { flags: new.flags & SS_AUTODISARM, padding: 0, ..new },
            _ => return Err(Errno::EINVAL),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use monitor_sys::Errno;

    use super::{AlternateStack, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK};

    fn stack(flags: u32, len: u64) -> AlternateStack {
        AlternateStack { start: 0x10_0000, flags, padding: 0, len }
    }

    #[test]
    fn a_handler_starts_at_the_top_unless_it_is_there_already() {
        let mut current = AlternateStack::default();
        current.replace(stack(0, 8192), 0).unwrap();

        assert_eq!(current.top_for(0x50_0000), Some(0x10_2000));
        assert_eq!(current.top_for(0x10_1000), None);
        assert_eq!(current.shown(0x10_1000).flags, SS_ONSTACK);
    }

    #[test]
    fn a_frame_below_its_start_is_not_on_it() {
        let mut current = AlternateStack::default();
        current.replace(stack(SS_AUTODISARM, 8192), 0).unwrap();

        assert!(current.reaches(0x10_2000));
        assert!(!current.reaches(0x10_0000));
        assert!(!current.holds(0x10_2000), "it is disarmed while a handler runs on it");
        assert!(!AlternateStack::default().reaches(8));
    }

    #[test]
    fn the_checks_are_linuxs() {
        let mut current = AlternateStack::default();

        assert_eq!(current.replace(stack(0, 2047), 0), Err(Errno::ENOMEM));
        assert_eq!(current.replace(stack(4, 8192), 0), Err(Errno::EINVAL));
        current.replace(stack(0, 8192), 0).unwrap();
        assert_eq!(current.replace(stack(SS_DISABLE, 0), 0x10_1000), Err(Errno::EPERM));
    }
}
