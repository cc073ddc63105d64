//! One virtual CPU as the module keeps it: registers, extended state, the area it shares with the monitor, and what
//! is pending for the next run.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, Result, ensure};

use crate::state::{EINVAL, FileId};

/// The area's pages: the run page, the private area, one more.
pub(crate) const AREA_LEN: u64 = 3 * 4096;
/// Bytes of `kvm_sregs`, `kvm_fpu`, the saved information and the extended state.
pub(crate) const SREGS_LEN: usize = 312;
pub(crate) const FPU_LEN: usize = 416;
pub(crate) const SAVE_LEN: usize = 64;
pub(crate) const XSTATE_LEN: usize = 4096;
/// Where in `kvm_sregs` the bases of FS and GS and CR2 are.
const FS: usize = 72;
const GS: usize = 96;
const CR2: usize = 232;
/// Where the extended state's checks are: whether it is valid, its length, its sum.
const VALID: usize = XSTATE_LEN - 24;
const LEN: usize = XSTATE_LEN - 16;
const SUM: usize = XSTATE_LEN - 8;
/// `kvm_run`'s fields.
const IMMEDIATE_EXIT: u64 = 1;
const EXIT_REASON: u64 = 8;
const DETAILS: u64 = 32;
const PRIVATE: u64 = 4096;

/// What the next run has to finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Where the record of a call is, whose first word becomes the result.
    pub(crate) record: Option<u64>,
    /// What an exception's number stands in the place of.
    pub(crate) rbx: Option<u64>,
}

/// A virtual CPU.
#[derive(Debug)]
pub(crate) struct Cpu {
    pub(crate) machine: FileId,
    area: File,
    /// In the order of `kvm_regs`: `rax rbx rcx rdx rsi rdi rsp rbp r8 … r15 rip rflags`.
    pub(crate) registers: [u64; 18],
    pub(crate) special: [u8; SREGS_LEN],
    /// The guest's extended state, once it has one.
    pub(crate) extended: Option<Vec<u8>>,
    pub(crate) pending: Pending,
    pub(crate) is_first: bool,
    pub(crate) is_new: bool,
    pub(crate) is_stepping: bool,
}

/// The places of registers in [`Cpu::registers`].
pub(crate) const RAX: usize = 0;
pub(crate) const RBX: usize = 1;
pub(crate) const RDX: usize = 3;
pub(crate) const RSP: usize = 6;
pub(crate) const RIP: usize = 16;
pub(crate) const RFLAGS: usize = 17;

fn word_of(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn sum(bytes: &[u8]) -> u64 {
    // FNV-1a, in the place of the module's own: its form is nobody else's business.
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Cpu {
    pub(crate) fn new(machine: FileId, area: File, is_first: bool) -> Result<Self> {
        area.set_len(AREA_LEN).context("size the area")?;
        Ok(Self {
            machine,
            area,
            registers: [0; 18],
            special: [0; SREGS_LEN],
            extended: None,
            pending: Pending::default(),
            is_first,
            is_new: true,
            is_stepping: false,
        })
    }

    pub(crate) fn bases(&self) -> [u64; 2] {
        [word_of(&self.special, FS), word_of(&self.special, GS)]
    }

    pub(crate) fn lower_gs(&mut self) -> u64 {
        let lower = word_of(&self.special, GS).wrapping_sub(8);
        self.special[GS..GS + 8].copy_from_slice(&lower.to_le_bytes());
        lower
    }

    pub(crate) fn set_fault_address(&mut self, address: u64) {
        self.special[CR2..CR2 + 8].copy_from_slice(&address.to_le_bytes());
    }

    /// `SET_SREGS`: only three fields of it count.
    pub(crate) fn set_special(&mut self, bytes: &[u8]) {
        for at in [FS, GS, CR2] {
            self.special[at..at + 8].copy_from_slice(&bytes[at..at + 8]);
        }
    }

    pub(crate) fn wants_out(&self) -> Result<bool> {
        let mut byte = [0];
        self.area.read_exact_at(&mut byte, IMMEDIATE_EXIT)?;
        Ok(byte != [0])
    }

    /// The reason of the exit that the private area tells of.
    pub(crate) fn private_reason(&self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.area.read_exact_at(&mut bytes, PRIVATE + 4)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn set_exit_reason(&self, reason: u32) -> Result<()> {
        Ok(self.area.write_all_at(&reason.to_le_bytes(), EXIT_REASON)?)
    }

    /// An exit by a port: `KVM_EXIT_IO`, four bytes out, their place, and what is told there.
    pub(crate) fn set_port(&self, port: u16, data: u32, reason: u32) -> Result<()> {
        self.set_exit_reason(2)?;
        let [low, high] = (port | 0x8000).to_le_bytes();
        self.area.write_all_at(&[1, 4, low, high, 1, 0, 0, 0], DETAILS)?;
        self.area.write_all_at(&PRIVATE.to_le_bytes(), DETAILS + 8)?;
        self.area.write_all_at(&data.to_le_bytes(), PRIVATE)?;
        Ok(self.area.write_all_at(&reason.to_le_bytes(), PRIVATE + 4)?)
    }

    /// `GET_SAVE_INFO`: what is pending, which is pending no more.
    pub(crate) fn take_saved(&mut self) -> [u8; SAVE_LEN] {
        let Pending { record, rbx } = std::mem::take(&mut self.pending);
        let words = [
            u64::from(record.is_some()),
            record.unwrap_or(0),
            u64::from(rbx.is_some()),
            rbx.unwrap_or(0),
        ];
        let mut bytes = [0; SAVE_LEN];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `SET_SAVE_INFO`.
    pub(crate) fn put_saved(&mut self, bytes: &[u8]) {
        let word = |at: usize| word_of(bytes, at * 8);
        self.pending = Pending {
            record: (word(0) != 0).then(|| word(1)),
            rbx: (word(2) != 0).then(|| word(3)),
        };
    }

    /// `GET_XSTATE`.
    pub(crate) fn sealed(&self) -> Result<Vec<u8>> {
        let state = self.extended.as_deref().unwrap_or_default();
        ensure!(
            state.len() <= VALID,
            "this processor's state of {} bytes has no room",
            state.len()
        );
        let mut bytes = vec![0; XSTATE_LEN];
        bytes[..state.len()].copy_from_slice(state);
        bytes[VALID..VALID + 8].copy_from_slice(&u64::from(self.extended.is_some()).to_le_bytes());
        bytes[LEN..LEN + 8].copy_from_slice(&u64::try_from(state.len())?.to_le_bytes());
        let sum = sum(&bytes[..SUM]);
        bytes[SUM..].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }

    /// `SET_XSTATE`. A wrong sum is refused, with the sign forgotten.
    pub(crate) fn unseal(&mut self, bytes: &[u8]) -> Result<i64> {
        if word_of(bytes, SUM) != sum(&bytes[..SUM]) {
            return Ok(EINVAL);
        }
        let len = usize::try_from(word_of(bytes, LEN))?;
        self.extended = (word_of(bytes, VALID) != 0).then(|| bytes[..len].to_vec());
        Ok(0)
    }

    /// `GET_FPU`: the legacy region in `kvm_fpu`'s order.
    pub(crate) fn fpu(&self) -> [u8; FPU_LEN] {
        let mut fpu = [0; FPU_LEN];
        let Some(state) = &self.extended else { return fpu };
        for register in 0..8 {
            fpu[register * 16..register * 16 + 16]
                .copy_from_slice(&state[32 + register * 16..][..16]);
        }
        // Control, status and tag words lie alike, opcode and the two pointers too.
        fpu[128..133].copy_from_slice(&state[..5]);
        fpu[134..152].copy_from_slice(&state[6..24]);
        fpu[152..408].copy_from_slice(&state[160..416]);
        fpu[408..412].copy_from_slice(&state[24..28]);
        fpu
    }

    /// `SET_FPU`. A CPU that has no state yet does not get one by it.
    pub(crate) fn set_fpu(&mut self, fpu: &[u8]) {
        let Some(state) = &mut self.extended else { return };
        for register in 0..8 {
            state[32 + register * 16..][..16].copy_from_slice(&fpu[register * 16..][..16]);
        }
        state[..5].copy_from_slice(&fpu[128..133]);
        state[6..24].copy_from_slice(&fpu[134..152]);
        state[160..416].copy_from_slice(&fpu[152..408]);
        state[24..28].copy_from_slice(&fpu[408..412]);
        state[512] |= 3;
    }
}
