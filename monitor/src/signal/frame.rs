//! The signal frame: what Linux puts on the stack for a handler, and takes back
//! in `rt_sigreturn(2)` (`arch/x86/kernel/signal_64.c`).
//!
//! ```text
//!  higher  ┌──────────────────────────┐
//!          │ red zone, 128 bytes      │  below the interrupted stack pointer
//!          ├──────────────────────────┤
//!          │ extended state, 64-aligned, then FP_XSTATE_MAGIC2
//!          ├──────────────────────────┤
//!          │ Frame: return address, ucontext, siginfo
//!   rsp ─▶ └──────────────────────────┘  16-aligned less 8, as after a call
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::stack::AlternateStack;
use crate::arch::x86_64::registers::{FLAGS_AT_START, Registers, USER_FLAGS};

/// `FP_XSTATE_MAGIC1`, in the software-reserved bytes of the state.
pub const MAGIC1: u32 = 0x4650_5853;
/// `FP_XSTATE_MAGIC2`, behind the state.
pub const MAGIC2: u32 = 0x4650_5845;
/// Where the software-reserved bytes lie in the state.
pub const SOFTWARE_BYTES: usize = 464;

/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const CONTEXT_FLAGS: u64 = 7;
/// What programs expect in the saved segment registers: Linux's selectors.
const SEGMENTS: u64 = 0x002b_0000_0000_0033;
/// The bytes below the stack pointer that a program may use.
const RED_ZONE: u64 = 128;

/// `struct sigcontext`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[expect(missing_docs, reason = "the names are Linux's")]
pub struct Context {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    pub segments: u64,
    pub error: u64,
    pub vector: u64,
    pub old_mask: u64,
    pub fault_address: u64,
    pub state: u64,
    pub reserved: [u64; 8],
}

/// `struct ucontext`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct UserContext {
    flags: u64,
    link: u64,
    /// The alternate stack when the signal came.
    pub stack: AlternateStack,
    /// The interrupted registers.
    pub context: Context,
    /// The mask to be restored.
    pub mask: u64,
}

/// `struct rt_sigframe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct Frame {
    /// Where the handler returns to: the restorer.
    pub return_address: u64,
    /// What `rt_sigreturn` restores.
    pub user: UserContext,
    /// `siginfo_t`.
    pub info: [u8; 128],
}

/// Where the parts of a frame go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The [`Frame`], and the handler's stack pointer.
    pub frame: u64,
    /// The extended state.
    pub state: u64,
}

/// Finds the places below `top`, the alternate stack's, or the program's own.
pub fn place(registers: &Registers, top: Option<u64>, state_len: u64) -> Place {
    let below = top.unwrap_or_else(|| registers.rsp.wrapping_sub(RED_ZONE));
    let state = below.wrapping_sub(state_len + 4) & !63;
    let size = u64::try_from(size_of::<Frame>()).expect("a few hundred bytes");
    let frame = (state.wrapping_sub(size) & !15).wrapping_sub(8);
    Place { frame, state }
}

impl UserContext {
    /// The context of interrupted registers.
    pub fn new(registers: &Registers, stack: AlternateStack, mask: u64, state: u64) -> Self {
        let r = registers;
        let context = Context {
            r8: r.r8,
            r9: r.r9,
            r10: r.r10,
            r11: r.r11,
            r12: r.r12,
            r13: r.r13,
            r14: r.r14,
            r15: r.r15,
            rdi: r.rdi,
            rsi: r.rsi,
            rbp: r.rbp,
            rbx: r.rbx,
            rdx: r.rdx,
            rax: r.rax,
            rcx: r.rcx,
            rsp: r.rsp,
            rip: r.rip,
            rflags: r.rflags,
            segments: SEGMENTS,
            error: 0,
            vector: 0,
            old_mask: mask,
            fault_address: 0,
            state,
            reserved: [0; 8],
        };
        Self { flags: CONTEXT_FLAGS, link: 0, stack, context, mask }
    }

    /// The registers to go on with. The guest may have changed them all; of the
    /// flags it sets only its own.
    pub fn registers(&self) -> Registers {
        let c = &self.context;
        Registers {
            rax: c.rax,
            rbx: c.rbx,
            rcx: c.rcx,
            rdx: c.rdx,
            rsi: c.rsi,
            rdi: c.rdi,
            rsp: c.rsp,
            rbp: c.rbp,
            r8: c.r8,
            r9: c.r9,
            r10: c.r10,
            r11: c.r11,
            r12: c.r12,
            r13: c.r13,
            r14: c.r14,
            r15: c.r15,
            rip: c.rip,
            rflags: c.rflags & USER_FLAGS | FLAGS_AT_START,
        }
    }
}

const _: () = {
    assert!(size_of::<Context>() == 256);
    assert!(size_of::<UserContext>() == 304);
    assert!(size_of::<Frame>() == 440);
};

#[cfg(test)]
mod tests {
    use super::{UserContext, place};
    use crate::{arch::x86_64::registers::Registers, signal::stack::AlternateStack};

    #[test]
    fn a_frame_leaves_the_red_zone_and_is_aligned_as_after_a_call() {
        for rsp in 0x7_0000..0x7_0040 {
            let registers = Registers { rsp, ..Registers::default() };

            let place = place(&registers, None, 2696);

            assert_eq!((place.frame + 8) % 16, 0);
            assert_eq!(place.state % 64, 0);
            assert!(place.state + 2696 + 4 <= rsp - 128);
            assert!(place.frame + 440 <= place.state);
        }
    }

    #[test]
    fn privileged_flags_do_not_come_back_from_a_frame() {
        let registers = Registers { rflags: u64::MAX, rip: 5, ..Registers::default() };

        let context = UserContext::new(&registers, AlternateStack::default(), 0, 0);

        assert_eq!(context.registers().rflags, 0x5_0fd7);
        assert_eq!(context.registers().rip, 5);
    }
}
