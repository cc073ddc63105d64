//! The requests of the three kinds of descriptors, but for the one that runs a guest.

use anyhow::{Context, Result};

use crate::{
    state::{EINVAL, FileId, Module},
    vcpu::{AREA_LEN, FPU_LEN, SAVE_LEN, SREGS_LEN, XSTATE_LEN},
};

/// `EFAULT`.
pub(crate) const EFAULT: i64 = 14;
/// `EOPNOTSUPP`: what the module answers to what it does not know.
const REFUSED: i64 = -95;
/// `KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS`, of extension 74; there is no other.
const SYNC_REGS: (u64, i64) = (74, 3);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has a value, or a negative error number.
    Value(i64),
    /// A machine is made.
    NewMachine,
    /// A CPU of the machine is made.
    NewCpu(FileId),
    /// The guest of the CPU runs.
    Run(FileId),
    /// The descriptor is none of the module's.
    NotOurs,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) process: i32,
    /// Whose memory the process has.
    pub(crate) memory: u64,
    pub(crate) file: FileId,
    pub(crate) number: u64,
    pub(crate) argument: u64,
}

/// Answers a request.
pub(crate) fn answer(module: &mut Module, device: FileId, request: Request) -> Result<Answer> {
    if request.file == device {
        return Ok(of_device(request));
    }
    if let Some(machine) = module.machines.get_mut(&request.file) {
        return Ok(match request.number {
            // A CPU belongs to the memory of its machine's maker.
            0xae41 if machine.memory != request.memory => Answer::Value(-EINVAL),
            0xae41 => Answer::NewCpu(request.file),
            0x4020_ae46 => {
                let mut bytes = [0; 32];
                let read = integration_sys::read(request.process, request.argument, &mut bytes);
                Answer::Value(match read {
                    Ok(()) => machine.set_slot(words(&bytes)),
                    Err(_) => -EFAULT,
                })
            }
            // KVM_SET_IDENTITY_MAP_ADDR is ignored.
            0x4008_ae48 => Answer::Value(0),
            _ => Answer::Value(REFUSED),
        });
    }
    if module.cpus.contains_key(&request.file) {
        return of_cpu(module, request);
    }
    Ok(Answer::NotOurs)
}

/// A slot's structure: number and flags are halves of its first word.
fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    [word(0), word(8), word(16), word(24)]
}

fn of_device(request: Request) -> Answer {
    let (extension, value) = SYNC_REGS;
    Answer::Value(match request.number {
        0xae00 => 12,
        0xae01 => return Answer::NewMachine,
        0xae03 if request.argument == extension => value,
        0xae04 => AREA_LEN.cast_signed(),
        0xae03 | 0xaefe => 0,
        0xaeff => 0x006b_6b6d,
        _ => REFUSED,
    })
}

fn of_cpu(module: &mut Module, request: Request) -> Result<Answer> {
    if request.number == 0xae80 {
        return Ok(Answer::Run(request.file));
    }
    let cpu = module.cpus.get_mut(&request.file).context("a CPU")?;
    let write = |bytes: &[u8]| {
        let written = integration_sys::write(request.process, request.argument, bytes);
        if written.is_ok() { 0 } else { -EFAULT }
    };
    let read = |len: usize| {
        let mut bytes = vec![0; len];
        let read = integration_sys::read(request.process, request.argument, &mut bytes);
        read.ok().map(|()| bytes)
    };
    let value = match request.number {
        0x8090_ae81 => write(&cpu.registers.map(u64::to_le_bytes).concat()),
        0x4090_ae82 => read(144).map_or(-EFAULT, |bytes| {
            for (register, word) in cpu.registers.iter_mut().zip(bytes.chunks_exact(8)) {
                *register = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            }
            0
        }),
        0x8138_ae83 => write(&cpu.special),
        0x4138_ae84 => read(SREGS_LEN).map_or(-EFAULT, |bytes| {
            cpu.set_special(&bytes);
            0
        }),
        0x81a0_ae8c => write(&cpu.fpu()),
        0x41a0_ae8d => read(FPU_LEN).map_or(-EFAULT, |bytes| {
            cpu.set_fpu(&bytes);
            0
        }),
        0x4048_ae9b => read(72).map_or(-EFAULT, |bytes| {
            // KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
            cpu.is_stepping = bytes[0] & 3 == 3;
            0
        }),
        0xaef5 => {
            cpu.is_new = true;
            cpu.pending.record = None;
            0
        }
        // Read or not: what was pending is gone.
        0x8040_aef6 => write(&cpu.take_saved()),
        0x4040_aef7 => read(SAVE_LEN).map_or(-EFAULT, |bytes| {
            cpu.put_saved(&bytes);
            0
        }),
        0x9000_aef8 => write(&cpu.sealed()?),
        0x5000_aef9 => match read(XSTATE_LEN) {
            Some(bytes) => cpu.unseal(&bytes)?,
            None => -EFAULT,
        },
        // MSRS, CPUID2, XCRS and VCPU_EVENTS do nothing.
        0x4008_ae89 | 0x4008_ae90 | 0x4188_aea7 | 0x8040_ae9f => 0,
        _ => REFUSED,
    };
    Ok(Answer::Value(value))
}
