//! Which calls a thread wants to have as signals: `PR_SET_SYSCALL_USER_DISPATCH`.

/// What a thread said of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Where code lies whose calls are always made.
    pub start: u64,
    /// That code's length in bytes.
    pub len: u64,
    /// Where the guest has the byte that decides about other calls. 0: none of them is made.
    pub selector: u64,
}

impl Dispatch {
    /// Whether a call is made whatever the selector says; `rip` is behind its instruction.
    pub fn always_makes(&self, rip: u64) -> bool {
        rip.wrapping_sub(self.start) < self.len
    }
}

#[cfg(test)]
mod tests {
    use super::Dispatch;

    #[test]
    fn code_of_the_range_makes_its_calls() {
        let dispatch = Dispatch { start: 0x1000, len: 0x10, selector: 0 };

        assert!(dispatch.always_makes(0x1000) && dispatch.always_makes(0x100f));
        assert!(!dispatch.always_makes(0xfff) && !dispatch.always_makes(0x1010));
    }
}
