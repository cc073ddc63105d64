//! Into the guest and out of it: what a run begins with, and what its end leaves in the CPU, on the guest's stack and
//! in the area.

use anyhow::{Result, bail};
use integration_sys::{Registers, SignalInfo};

use crate::{
    device::EFAULT,
    vcpu::{Cpu, Pending, RAX, RBX, RDX, RFLAGS, RIP, RSP},
};

/// What the module lowers the stack pointer by at a call: 128 bytes red zone and its record.
const RED_ZONE_AND_RECORD: u64 = 184;
/// The first address that is not the guest's.
const GUEST_END: u64 = 1 << 39;
/// `RFLAGS.TF`.
const TRAP: u64 = 1 << 8;
/// The port of exceptions, less the bit that all ports have.
const EXCEPTION_PORT: u16 = 0x01fd;
/// `reason` in the private area.
const EXCEPTION: u32 = 0;
const OUT: u32 = 1;
const CALL: u32 = 2;
/// `out %eax, (%dx)`.
const OUT_CODE: u8 = 0xef;
/// `siginfo_t`: sent by the kernel, for no place in particular.
const SI_KERNEL: i32 = 0x80;

/// What a run begins with, or the error it ends with at once.
pub(crate) fn enter(cpu: &mut Cpu, process: i32) -> Result<Result<(), i64>> {
    if cpu.is_new && !cpu.is_first && cpu.private_reason()? == CALL {
        cpu.registers[RSP] += RED_ZONE_AND_RECORD;
    }
    cpu.is_new = false;
    let Pending { record, rbx } = std::mem::take(&mut cpu.pending);
    if let Some(record) = record {
        let mut result = [0; 8];
        if integration_sys::read(process, record, &mut result).is_err() {
            return Ok(Err(-EFAULT));
        }
        cpu.registers[RAX] = u64::from_le_bytes(result);
        cpu.registers[RSP] += RED_ZONE_AND_RECORD;
    }
    if let Some(rbx) = rbx {
        cpu.registers[RBX] = rbx;
    }
    Ok(Ok(()))
}

/// The thread's registers with the guest's in them.
pub(crate) fn registers_to_run(cpu: &Cpu, of_monitor: &Registers) -> Registers {
    let [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, flags] =
        cpu.registers;
    let [fs_base, gs_base] = cpu.bases();
    let trap = if cpu.is_stepping { TRAP } else { 0 };
    Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        eflags: flags & !TRAP | trap,
        orig_rax: u64::MAX,
        fs_base,
        gs_base,
        ..*of_monitor
    }
}

/// The guest's registers as the thread has them.
pub(crate) fn registers_of(thread: &Registers) -> [u64; 18] {
    let Registers { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, .. } = *thread;
    let Registers { r11, r12, r13, r14, r15, rip, eflags, .. } = *thread;
    [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, eflags]
}

/// The guest made a call: the exit, a record of it, and its place in three places. The answer of the run.
pub(crate) fn left_by_call(cpu: &mut Cpu, process: i32, number: u64) -> Result<i64> {
    let registers = cpu.registers;
    let record = registers[RSP].wrapping_sub(RED_ZONE_AND_RECORD);
    let [rdx, rsi, rdi, r8, r9, r10] = [3, 4, 5, 8, 9, 10].map(|at| registers[at]);
    let bytes = [0, rdi, rsi, rdx, r10, r8, r9].map(u64::to_le_bytes).concat();
    let port = u16::try_from(number & 0x7fff)?;
    cpu.set_port(port, u32::try_from(record & 0xffff_ffff)?, CALL)?;
    cpu.registers[RSP] = record;
    if !write(process, record, &bytes) {
        return Ok(-EFAULT);
    }
    let place = cpu.lower_gs();
    if !write(process, place, &record.to_le_bytes()) {
        return Ok(-EFAULT);
    }
    cpu.registers[RAX] = record;
    cpu.pending.record = Some(record);
    Ok(0)
}

/// A signal that the guest's own instruction has caused. The answer of the run.
pub(crate) fn left_by_fault(
    cpu: &mut Cpu,
    process: i32,
    signal: i32,
    info: SignalInfo,
) -> Result<i64> {
    cpu.set_exit_reason(0)?;
    let vector = match (signal, info.code) {
        (11, SI_KERNEL) => return general_protection(cpu, process),
        (11, _) | (7, 2..=5) => {
            cpu.set_fault_address(info.address);
            return Ok(-EFAULT);
        }
        (7, _) => return exception(cpu, process, 17, Some(0)),
        (8, 1) => 0,
        // Which of the two it was, the CPU's own words tell; the tests have none of the other.
        (8, _) => 19,
        (4, _) => 6,
        (5, SI_KERNEL) => 3,
        (5, _) => 1,
        _ => bail!("signal {signal} with code {} is no fault", info.code),
    };
    exception(cpu, process, vector, None)
}

fn general_protection(cpu: &mut Cpu, process: i32) -> Result<i64> {
    let mut code = [0];
    let is_read = integration_sys::read(process, cpu.registers[RIP], &mut code).is_ok();
    if !is_read || code != [OUT_CODE] {
        cpu.set_fault_address(0);
        return Ok(-EFAULT);
    }
    let port = u16::try_from(cpu.registers[RDX] & 0xffff)?;
    cpu.set_port(port, u32::try_from(cpu.registers[RAX] & 0xffff_ffff)?, OUT)?;
    cpu.registers[RIP] += 1;
    Ok(0)
}

/// The frame goes right below the stack pointer, red zone or not.
fn exception(cpu: &mut Cpu, process: i32, vector: u64, code: Option<u64>) -> Result<i64> {
    const SEGMENTS: [u64; 2] = [0x33, 0x2b];
    let registers = cpu.registers;
    let [cs, ss] = SEGMENTS;
    let mut frame = vec![registers[RAX], registers[RBX], registers[RDX]];
    frame.extend(code);
    frame.extend([registers[RIP], cs, registers[RFLAGS], registers[RSP], ss]);
    let bytes = frame.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let place = registers[RSP].wrapping_sub(u64::try_from(bytes.len())?);
    cpu.registers[RSP] = place;
    if !write(process, place, &bytes) {
        return Ok(-EFAULT);
    }
    cpu.set_port(EXCEPTION_PORT, u32::try_from(place & 0xffff_ffff)?, EXCEPTION)?;
    cpu.registers[RAX] = place;
    cpu.registers[RBX] = vector;
    cpu.pending.rbx = Some(registers[RBX]);
    Ok(0)
}

/// Writes what the guest itself could.
fn write(process: i32, address: u64, bytes: &[u8]) -> bool {
    address < GUEST_END && integration_sys::write(process, address, bytes).is_ok()
}
