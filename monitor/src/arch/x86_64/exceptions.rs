//! Exceptions: how they leave the guest, and what they mean.
//!
//! Each vector has a stub of 16 bytes, `out %al, $0x20+vector`; the CPU has put
//! a frame on the vCPU's exception stack before.

use super::segments::KERNEL_CODE;

/// The port of vector 0; vector `n` uses the `n`-th behind it.
pub const FIRST_PORT: u16 = 0x20;
/// The number of exceptions the architecture has.
pub const VECTORS: u8 = 32;

/// Bytes between two stubs.
const STUB_LEN: usize = 16;

/// An exception's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u8);

#[expect(missing_docs, reason = "the names are the processor's")]
impl Vector {
    pub const DIVIDE_ERROR: Self = Self(0);
    pub const DEBUG: Self = Self(1);
    pub const BREAKPOINT: Self = Self(3);
    pub const OVERFLOW: Self = Self(4);
    pub const BOUND: Self = Self(5);
    pub const INVALID_OPCODE: Self = Self(6);
    pub const DEVICE_NOT_AVAILABLE: Self = Self(7);
    pub const DOUBLE_FAULT: Self = Self(8);
    pub const STACK_SEGMENT: Self = Self(12);
    pub const GENERAL_PROTECTION: Self = Self(13);
    pub const PAGE_FAULT: Self = Self(14);
    pub const FLOATING_POINT: Self = Self(16);
    pub const ALIGNMENT_CHECK: Self = Self(17);
    pub const SIMD: Self = Self(19);

    /// The vector a port belongs to.
    pub fn from_port(port: u16) -> Option<Self> {
        let number = u8::try_from(port.checked_sub(FIRST_PORT)?).ok()?;
        (number < VECTORS).then_some(Self(number))
    }

    /// Whether the CPU puts an error code on the stack.
    pub fn has_error_code(self) -> bool {
        matches!(self.0, 8 | 10..=14 | 17 | 21)
    }

    /// Whether a program may cause it with `int n`.
    fn is_for_programs(self) -> bool {
        matches!(self, Self::BREAKPOINT | Self::OVERFLOW)
    }
}

/// What the guest wanted of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To write to it.
    Write,
    /// To execute what is there.
    Execute,
}

impl Access {
    /// Reads a page fault's error code (Intel SDM volume 3, 4.7).
    pub fn from_error_code(code: u64) -> Self {
        match code {
            code if code & 0x10 != 0 => Self::Execute,
            code if code & 2 != 0 => Self::Write,
            _ => Self::Read,
        }
    }
}

/// The stubs' code, for the page that holds them.
pub fn stubs() -> Vec<u8> {
    let mut code = Vec::new();
    for vector in 0..VECTORS {
        let port = u8::try_from(FIRST_PORT).expect("0x20") + vector;
        let mut stub = [0x90; STUB_LEN];
        stub[..3].copy_from_slice(&[0xe6, port, 0xf4]); // out %al, $port; hlt
        code.extend(stub);
    }
    code
}

/// The interrupt descriptors' words, given where the stubs lie.
pub fn descriptors(stubs: u64) -> Vec<u64> {
    let gate = |vector: u8| {
        let target = stubs + u64::from(vector) * 16;
        let level = if Vector(vector).is_for_programs() { 0xee } else { 0x8e };
        let low = (target & 0xffff)
            | (u64::from(KERNEL_CODE) << 16)
            | (level << 40)
            | ((target >> 16 & 0xffff) << 48);
        [low, target >> 32]
    };
    (0..VECTORS).flat_map(gate).collect()
}

/// The limit of the descriptor table, in bytes less one.
pub const IDT_LIMIT: u16 = 32 * 16 - 1;

/// The gate's code: `out %al, $0x80; sysretq`. The second instruction is only
/// reached where `syscall` leads to level 0.
pub const GATE_CODE: [u8; 5] = [0xe6, super::segments::GATE_PORT, 0x48, 0x0f, 0x07];

/// The length of the gate's `out`.
pub const GATE_OUT_LEN: u64 = 2;

#[cfg(test)]
mod tests {
    use super::{Access, Vector, descriptors, stubs};

    #[test]
    fn each_port_finds_its_vector() {
        assert_eq!(Vector::from_port(0x20), Some(Vector::DIVIDE_ERROR));
        assert_eq!(Vector::from_port(0x2e), Some(Vector::PAGE_FAULT));
        assert_eq!(Vector::from_port(0x40), None);
        assert_eq!(Vector::from_port(0x1f), None);
    }

    #[test]
    fn a_descriptor_leads_to_its_stub() {
        let words = descriptors(0xffff_ffff_8000_3000);

        assert_eq!(words[28] & 0xffff, 0x30e0);
        assert_eq!(words[29], 0xffff_ffff);
        assert_eq!(stubs()[14 * 16..14 * 16 + 2], [0xe6, 0x2e]);
    }

    #[test]
    fn error_codes_tell_the_access() {
        assert_eq!(Access::from_error_code(4), Access::Read);
        assert_eq!(Access::from_error_code(7), Access::Write);
        assert_eq!(Access::from_error_code(0x15), Access::Execute);
    }
}
