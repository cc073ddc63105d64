//! What a fault was, of which the module tells an address and nothing else.
//!
//! It tells neither a read from a write nor a page fault at address 0 from a `#GP`. So the possible reasons are told
//! one after the other, the next one when the program has come to the same fault again although the one before was
//! allowed: to execute, to read, to write, and at last that the host has nothing there. A program is only ever told
//! of a fault that its memory map confirms.

use crate::{
    arch::x86_64::{
        exceptions::{Access, Vector},
        registers::{Registers, is_canonical},
    },
    platform::Exit,
};

/// The longest instruction, in bytes.
const LONGEST: u64 = 15;

/// A fault, and what it has been taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    address: u64,
    rip: u64,
    told: Exit,
}

impl Fault {
    /// The fault at `address`, given the one before it.
    pub(super) fn next(before: Option<Self>, address: u64, registers: &Registers) -> Self {
        let rip = registers.rip;
        let again = before.filter(|before| before.address == address && before.rip == rip);
        let told = match again {
            Some(before) => after(before.told, address, registers),
            None => first(address, rip),
        };
        Self { address, rip, told }
    }

    /// What it is taken for.
    pub(super) fn exit(self) -> Exit {
        self.told
    }
}

fn page_fault(address: u64, access: Access) -> Exit {
    Exit::PageFault { address, access }
}

fn first(address: u64, rip: u64) -> Exit {
    match address.wrapping_sub(rip) {
        0..LONGEST => page_fault(address, Access::Execute),
        // Code that must not be executed comes without its address, too.
        _ if address == 0 => page_fault(rip, Access::Execute),
        _ => page_fault(address, Access::Read),
    }
}

fn after(told: Exit, address: u64, registers: &Registers) -> Exit {
    match told {
        Exit::PageFault { access: Access::Execute, .. }
            if address == 0 && is_general(registers) =>
        {
            Exit::Exception { vector: Vector::GENERAL_PROTECTION, code: 0 }
        }
        Exit::PageFault { access: Access::Execute, .. } => page_fault(address, Access::Read),
        Exit::PageFault { access: Access::Read, .. } => page_fault(address, Access::Write),
        Exit::PageFault { access: Access::Write, .. }
        | Exit::NothingBehind { .. }
        | Exit::Exception { .. }
        | Exit::Syscall
        | Exit::Posted(_)
        | Exit::Interrupted => Exit::NothingBehind { address },
    }
}

/// Whether a fault at no address is a `#GP`: the instruction is not a program's, or a pointer is none.
fn is_general(registers: &Registers) -> bool {
    is_privileged(&code_at(registers.rip)) || has_wild_pointer(registers)
}

/// The bytes of the instruction, as far as they can be read.
fn code_at(rip: u64) -> Vec<u8> {
    let byte = |at: u64| monitor_sys::guest_copy::read::<u8>(rip.wrapping_add(at)).ok();
    (0..LONGEST).map_while(byte).collect()
}

/// Whether the bytes begin an instruction that a program may not execute: of ports and interrupts, of descriptor
/// tables, control and model-specific registers.
fn is_privileged(code: &[u8]) -> bool {
    match code {
        // Prefixes: of segments, sizes, repetition, and REX.
        [0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3, rest @ ..] => {
            is_privileged(rest)
        }
        [0x6c..=0x6f | 0xcd | 0xcf | 0xe4..=0xe7 | 0xec..=0xef | 0xf4 | 0xfa | 0xfb, ..] => true,
        [0x0f, second, ..] => {
            matches!(second, 0x00 | 0x01 | 0x06..=0x09 | 0x20..=0x23 | 0x30 | 0x32 | 0x33 | 0x35)
        }
        _ => false,
    }
}

/// Whether a register holds what has the form of no address.
fn has_wild_pointer(registers: &Registers) -> bool {
    let Registers { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, .. } = *registers;
    let Registers { r11, r12, r13, r14, r15, .. } = *registers;
    [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15]
        .into_iter()
        .any(|value| !is_canonical(value))
}

#[cfg(test)]
mod tests {
    use super::{Fault, is_privileged, page_fault};
    use crate::{
        arch::x86_64::{
            exceptions::{Access, Vector},
            registers::Registers,
        },
        platform::Exit,
    };

    fn at(rip: u64) -> Registers {
        Registers { rip, ..Registers::default() }
    }

    /// The reasons that are told of a fault that comes again and again.
    fn reasons(address: u64, registers: &Registers, count: usize) -> Vec<Exit> {
        let mut fault = None;
        let told = |_| {
            let next = Fault::next(fault, address, registers);
            fault = Some(next);
            next.exit()
        };
        (0..count).map(told).collect()
    }

    #[test]
    fn an_access_is_a_read_until_that_was_allowed() {
        let read = page_fault(0x5000, Access::Read);
        let write = page_fault(0x5000, Access::Write);
        let nothing = Exit::NothingBehind { address: 0x5000 };

        assert_eq!(reasons(0x5000, &at(0x1000), 4), [read, write, nothing, nothing]);
    }

    #[test]
    fn a_fault_at_the_instruction_is_its_own_first() {
        let told = reasons(0x1004, &at(0x1000), 2);

        assert_eq!(told, [page_fault(0x1004, Access::Execute), page_fault(0x1004, Access::Read)]);
    }

    #[test]
    fn another_fault_begins_anew() {
        let first = Fault::next(None, 0x5000, &at(0x1000));

        let other = Fault::next(Some(first), 0x6000, &at(0x1000));
        let elsewhere = Fault::next(Some(first), 0x5000, &at(0x1008));

        assert_eq!(other.exit(), page_fault(0x6000, Access::Read));
        assert_eq!(elsewhere.exit(), page_fault(0x5000, Access::Read));
    }

    #[test]
    fn without_an_address_a_wild_pointer_tells_a_general_protection_fault() {
        let wild = Registers { rbx: 1 << 62, ..at(0x1000) };

        let null = reasons(0, &at(0x1000), 2);
        let general = reasons(0, &wild, 2);

        assert_eq!(null[1], page_fault(0, Access::Read));
        let vector = Vector::GENERAL_PROTECTION;
        assert_eq!(general[1], Exit::Exception { vector, code: 0 });
    }

    #[test]
    fn instructions_of_ports_and_kernels_are_privileged() {
        // hlt; out %ax,%dx; int $3's longer form; mov %rax,%cr3; rdmsr.
        let all = [&[0xf4][..], &[0x66, 0xef], &[0xcd, 3], &[0x0f, 0x22], &[0x0f, 0x32]];
        assert!(all.into_iter().all(is_privileged));
        // mov (%rax),%al; movups.
        assert!(![&[0x8a, 0][..], &[0x0f, 0x10], &[0x48]].into_iter().any(is_privileged));
    }
}
