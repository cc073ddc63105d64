//! What a new process starts with: what it was asked for, and the state of its
//! parent's CPU.

use monitor_sys::{Errno, clone::NewProcess};

use crate::{
    arch::x86_64::{extended_state::ExtendedState, registers::Registers},
    platform::{Bases, PlatformError},
    thread::Thread,
};

/// `CLONE_VM`.
pub const VM: u64 = 0x100;
/// `CLONE_FILES`.
pub const FILES: u64 = 0x400;
/// `CLONE_SIGHAND`.
pub const HANDLERS: u64 = 0x800;
/// `CLONE_VFORK`.
pub const VFORK: u64 = 0x4000;
/// `CLONE_PARENT_SETTID`.
pub const PARENT_SET_TID: u64 = 0x10_0000;
/// `CLONE_CHILD_CLEARTID`.
pub const CHILD_CLEAR_TID: u64 = 0x20_0000;
/// `CLONE_CLEAR_SIGHAND`: handlers become default actions.
pub const CLEAR_HANDLERS: u64 = 1 << 32;

/// What a new process starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Birth {
    /// `CLONE_*`, without the exit signal.
    pub flags: u64,
    /// What its parent gets when it ends.
    pub exit_signal: u64,
    /// The child's stack pointer, or 0 for the parent's.
    pub stack: u64,
    /// Its thread pointer, if the flags set one.
    pub tls: Option<u64>,
    /// Where the parent wants the child's number.
    pub parent_tid: u64,
    /// Where the child wants its number.
    pub child_tid: u64,
    /// Where the parent wants a descriptor of the child.
    pub pidfd: u64,
    /// The numbers it shall have, by process namespace, the innermost first.
    pub set_tid: Vec<i32>,
    /// The descriptor of the cgroup it starts in, if the flags say so.
    pub cgroup: u64,
}

impl Birth {
    /// The process as the host makes it, but for what is done `here`.
    pub(super) fn on_host(&self, here: u64) -> NewProcess<'_> {
        NewProcess {
            flags: self.flags & !(here | CLEAR_HANDLERS),
            exit_signal: self.exit_signal,
            pidfd: self.pidfd,
            parent_tid: self.parent_tid,
            child_tid: self.child_tid,
            set_tid: &self.set_tid,
            cgroup: self.cgroup,
        }
    }

    pub(super) fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Handlers cannot be shared and cleared, and can be shared with memory only.
    pub(super) fn check(&self) -> Result<(), Errno> {
        let alone = self.has(HANDLERS) && (self.has(CLEAR_HANDLERS) || !self.has(VM));
        if alone { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// The state of the parent's CPU, which the child continues with.
pub(super) struct Snapshot {
    registers: Registers,
    bases: Bases,
    state: ExtendedState,
}

impl Snapshot {
    pub(super) fn take(parent: &Thread, birth: &Birth) -> Result<Self, PlatformError> {
        let mut registers = *parent.cpu.registers();
        registers.rax = 0;
        if birth.stack != 0 {
            registers.rsp = birth.stack;
        }
        let mut bases = parent.cpu.bases()?;
        bases.fs = birth.tls.unwrap_or(bases.fs);
        Ok(Self { registers, bases, state: parent.cpu.extended_state()? })
    }

    pub(super) fn apply(&self, child: &mut Thread) -> Result<(), PlatformError> {
        *child.cpu.registers_mut() = self.registers;
        child.cpu.set_bases(self.bases)?;
        child.cpu.set_extended_state(&self.state)
    }
}
