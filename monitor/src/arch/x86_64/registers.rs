//! The general registers, as the guest's program sees them.

/// The registers of one guest thread at a boundary of its instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the processor's")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// `RFLAGS` of a program at its start: interrupts on, and the bit that is always
/// set.
pub const FLAGS_AT_START: u64 = 0x202;

/// The flags a program can set for itself: CF PF AF ZF SF TF DF OF RF AC.
/// (`FIX_EFLAGS` in Linux's `arch/x86/kernel/signal.c`.)
pub const USER_FLAGS: u64 = 0x5_0dd5;

/// The trap flag: a `#DB` after each instruction.
pub const FLAG_TRAP: u64 = 1 << 8;
/// The direction flag.
pub const FLAG_DIRECTION: u64 = 1 << 10;
/// The resume flag.
pub const FLAG_RESUME: u64 = 1 << 16;

/// The length of `syscall`, in bytes.
pub const SYSCALL_LEN: u64 = 2;

/// Whether an address has the form that code can be at: its upper 17 bits are
/// all the same.
pub fn is_canonical(address: u64) -> bool {
    matches!(address >> 47, 0 | 0x1_ffff)
}

impl Registers {
    /// The six arguments of a system call.
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }
}

#[cfg(test)]
mod tests {
    use super::is_canonical;

    #[test]
    fn what_lies_between_the_halves_is_not_canonical() {
        assert!([0, (1 << 47) - 1, u64::MAX << 47, u64::MAX].into_iter().all(is_canonical));
        assert!(![1 << 47, 1 << 63, (u64::MAX << 47) - 1].into_iter().any(is_canonical));
    }
}
