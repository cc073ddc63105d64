//! A decision as a program that Linux runs whenever a process of the cgroup opens or makes a device.
//!
//! The program gets a `struct bpf_cgroup_dev_ctx`: what is asked for, the device's major number and
//! its minor number, of 32 bits each. It ends with 1 in register 0 to allow that, or 0 to deny.
//!
//! ```text
//!        r2 = kind, r3 = accesses, r4 = major, r5 = minor
//!   ┌─▶  is it not of this exception's kind, major, minor? ───────┐
//!   │    allow list: is an access asked for that it has not? ─────┤
//!   │    deny list:  is no access asked for that it has? ─────────┤
//!   │    end with the exception's answer                          │
//!   └──────────────────────── next exception ◀────────────────────┘
//!        end with the default
//! ```
//!
//! So to be allowed all accesses must be in one exception, and to be denied one is enough, as in
//! version 1.

use super::decision::Decision;
use super::rules::{Access, Devices};

/// The parts of an instruction's code, by the names of `linux/bpf.h` and `linux/bpf_common.h`.
const LDX_MEM_W: u8 = 0x61;
const ALU_AND_K: u8 = 0x54;
const ALU_RSH_K: u8 = 0x74;
const ALU_MOV_K: u8 = 0xb4;
const ALU_MOV_X: u8 = 0xbc;
const JMP_JEQ_K: u8 = 0x15;
const JMP_JNE_K: u8 = 0x55;
const JMP_EXIT: u8 = 0x95;

/// Registers: the answer, which is free until then; the argument; and what is read of it.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Where the context has what is asked for, with the kind in the lower half, and the numbers.
const AT_ACCESS_AND_KIND: i16 = 0;
const AT_MAJOR: i16 = 4;
const AT_MINOR: i16 = 8;

/// One instruction, before it is put into 64 bits.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    target: u8,
    source: u8,
    offset: i16,
    value: i32,
}

impl Instruction {
    fn with_value(code: u8, target: u8, value: i32) -> Self {
        Self { code, target, source: 0, offset: 0, value }
    }

    fn load(target: u8, offset: i16) -> Self {
        Self { code: LDX_MEM_W, target, source: CONTEXT, offset, value: 0 }
    }

    /// A `struct bpf_insn`, whose fields these are from the lowest bit on.
    fn encode(self) -> u64 {
        u64::from(self.code)
            | u64::from(self.target) << 8
            | u64::from(self.source) << 12
            | u64::from(self.offset.cast_unsigned()) << 16
            | u64::from(self.value.cast_unsigned()) << 32
    }
}

/// The program that enforces `decision`.
pub(super) fn instructions(decision: &Decision) -> Vec<u64> {
    let mut program = vec![
        Instruction::load(KIND, AT_ACCESS_AND_KIND),
        Instruction::with_value(ALU_AND_K, KIND, 0xffff),
        Instruction::load(ACCESS, AT_ACCESS_AND_KIND),
        Instruction::with_value(ALU_RSH_K, ACCESS, 16),
        Instruction::load(MAJOR, AT_MAJOR),
        Instruction::load(MINOR, AT_MINOR),
    ];
    for (devices, access) in &decision.exceptions {
        program.extend(exception(devices, *access, !decision.allow_by_default));
    }
    program.extend(end_with(decision.allow_by_default));
    program.into_iter().map(Instruction::encode).collect()
}

fn exception(devices: &Devices, access: Access, allow: bool) -> Vec<Instruction> {
    let mut block = vec![Instruction::with_value(JMP_JNE_K, KIND, devices.kind as i32)];
    for (register, number) in [(MAJOR, devices.major), (MINOR, devices.minor)] {
        if let Some(number) = number {
            // From 2^31 on the value is negative and equals no register: no device has such a number.
            block.push(Instruction::with_value(JMP_JNE_K, register, number.cast_signed()));
        }
    }
    let bits = i32::from(access.bits());
    let (counted, leave) = if allow { (!bits, JMP_JNE_K) } else { (bits, JMP_JEQ_K) };
    block.extend([
        Instruction { source: ACCESS, ..Instruction::with_value(ALU_MOV_X, ANSWER, 0) },
        Instruction::with_value(ALU_AND_K, ANSWER, counted),
        Instruction::with_value(leave, ANSWER, 0),
    ]);
    block.extend(end_with(allow));
    // A jump counts from the instruction after it.
    let behind = block.len();
    for (instruction, rest) in block.iter_mut().zip((0..behind).rev()) {
        if matches!(instruction.code, JMP_JNE_K | JMP_JEQ_K) {
            instruction.offset =
                i16::try_from(rest).expect("a block has nine instructions at most");
        }
    }
    block
}

fn end_with(allow: bool) -> [Instruction; 2] {
    [
        Instruction::with_value(ALU_MOV_K, ANSWER, i32::from(allow)),
        Instruction::with_value(JMP_EXIT, 0, 0),
    ]
}
