//! What runs the guest: three small traits and one small enum.
//!
//! [`Exit`] is what the monitor must react to, not what a device reports. A
//! platform keeps its own tables of guest memory up to date from [`Machine`]'s
//! calls, and hands every doubt about an address back as [`Exit::PageFault`].

pub mod absent;
pub mod kkm;
pub mod kvm;
pub mod scripted;

use std::{fmt::Debug, os::fd::OwnedFd, sync::Arc};

use monitor_launch::{DeviceKind, Findings};
use monitor_sys::guest_memory::GuestSpan;

use crate::arch::x86_64::{
    exceptions::{Access, Vector},
    extended_state::ExtendedState,
    gate::{Gate, Posting},
    registers::Registers,
};

/// The platform could not do its part. Never caused by what a guest does.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A request to the device failed.
    #[error("{0}")]
    Device(#[from] monitor_sys::kvm::MachineError),
    /// The guest's page tables are full.
    #[error(transparent)]
    Tables(#[from] crate::arch::x86_64::paging::NoFrame),
    /// The kernel refused to run the CPU.
    #[error("run the virtual CPU: {0}")]
    Run(monitor_sys::Errno),
    /// The CPU stopped for a reason it should not have.
    #[error("the virtual CPU stopped for reason {reason} at {rip:#x}")]
    Stopped {
        /// The device's number for it.
        reason: u32,
        /// Where the guest was.
        rip: u64,
    },
    /// The process has no machine for now.
    #[error("there is no machine")]
    Absent,
    /// The platform runs no program that sets the base of GS: it needs that register itself.
    #[error("the base of GS cannot be set on this device")]
    BaseOfGs,
    /// Host memory for the platform's own tables.
    #[error("reserve memory for the platform's tables: {0}")]
    Memory(monitor_sys::Errno),
}

/// What a virtual CPU stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The program executed `syscall`; the registers are as behind it, and the
    /// number is in `rax`.
    Syscall,
    /// The same, but the call was meant to be made without leaving; see [`Vcpu::equip`].
    Posted(Posting),
    /// The program touched a page that the platform does not let through. To be
    /// answered with [`Vcpu::permit`] or [`Vcpu::deny`].
    PageFault {
        /// The address it touched.
        address: u64,
        /// What it wanted there.
        access: Access,
    },
    /// The page was permitted, but the host has nothing behind it: a mapped file
    /// ends before it. `SIGBUS`.
    NothingBehind {
        /// The address the program touched.
        address: u64,
    },
    /// Any other exception; the registers are the program's.
    Exception {
        /// Which one.
        vector: Vector,
        /// The CPU's error code, 0 where it has none.
        code: u64,
    },
    /// A signal was caught, or there was no reason at all.
    Interrupted,
}

/// What kind of device an opened one is, by its own word.
pub fn kind_of(device: &OwnedFd) -> DeviceKind {
    if monitor_sys::kkm::is_kkm(device) { DeviceKind::Kkm } else { DeviceKind::Kvm }
}

/// Makes a machine without guest memory, from an opened device. What `findings` say is not asked again.
pub fn open(
    kind: DeviceKind,
    device: OwnedFd,
    findings: &Findings,
) -> Result<Arc<dyn Machine>, PlatformError> {
    Ok(match kind {
        DeviceKind::Kvm => Arc::new(kvm::KvmMachine::new(device, findings)?),
        DeviceKind::Kkm => Arc::new(kkm::KkmMachine::new(device)?),
    })
}

/// A virtual machine: what all threads of one guest process share.
pub trait Machine: Send + Sync + Debug {
    /// The platform's name, as it stands behind the guest's kernel release.
    fn name(&self) -> &'static str;

    /// Makes a CPU with all registers zero, but for those a program relies on.
    fn create_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError>;

    /// Lets the guest reach `span`, as far as the host's mappings allow.
    fn cover(&self, span: GuestSpan) -> Result<(), PlatformError>;

    /// Says whether `span` may be executed. To be said before the host's
    /// mapping becomes stricter.
    fn set_executable(&self, span: GuestSpan, executable: bool) -> Result<(), PlatformError>;

    /// Has the guest's first touch of these 2 MiB told as [`Exit::PageFault`], where the platform can. The
    /// guest may have touched them already.
    fn watch(&self, _region: GuestSpan) -> Result<(), PlatformError> {
        Ok(())
    }

    /// Ends that.
    fn let_through(&self, _region: GuestSpan) {}

    /// Where the guest finds the vDSO's ELF header, if there is one.
    fn vdso(&self) -> Option<u64>;

    /// Whether programs may read and write the bases of FS and GS without a call, if the processor lets them.
    fn keeps_bases(&self) -> bool {
        true
    }

    /// The extended states that are switched on.
    fn xcr0(&self) -> u64;

    /// What it has found out, for machines that other monitors make.
    fn findings(&self) -> Findings {
        Findings::default()
    }

    /// A new machine of the same kind, for a forked child: a machine belongs to
    /// the address space that made it.
    fn another(&self) -> Result<Arc<dyn Machine>, PlatformError> {
        self.successor()?()
    }

    /// What makes such a machine later, when this one may be gone.
    fn successor(&self) -> Result<Successor, PlatformError>;

    /// The device, for the monitor that the guest's `execve(2)` starts.
    fn device(&self) -> Result<(DeviceKind, OwnedFd), PlatformError>;
}

/// Makes a machine.
pub type Successor = Box<dyn FnOnce() -> Result<Arc<dyn Machine>, PlatformError>>;

/// A virtual CPU: one guest thread's.
pub trait Vcpu: Send + Debug {
    /// Runs the program until something happens.
    fn run(&mut self) -> Result<Exit, PlatformError>;

    /// Has the kernel do what it does when a machine is run for the first time, without running the program.
    fn begin(&mut self) -> Result<(), PlatformError> {
        Ok(())
    }

    /// The program's registers.
    fn registers(&self) -> &Registers;

    /// The same, to be changed before the next run.
    fn registers_mut(&mut self) -> &mut Registers;

    /// Gives the CPU a gate of its own, by which calls need not leave the guest. `None` where the platform
    /// has none, or does not know yet how programs reach it.
    fn equip(&mut self) -> Result<Option<Arc<Gate>>, PlatformError> {
        Ok(None)
    }

    /// Allows the access that [`Exit::PageFault`] told of.
    fn permit(&mut self, address: u64, access: Access) -> Result<(), PlatformError>;

    /// The access is forbidden: a signal follows.
    fn deny(&mut self) -> Result<(), PlatformError>;

    /// The bases of FS and GS.
    fn bases(&self) -> Result<Bases, PlatformError>;

    /// Sets the bases of FS and GS.
    fn set_bases(&mut self, bases: Bases) -> Result<(), PlatformError>;

    /// The x87, SSE, AVX and AVX-512 state.
    fn extended_state(&self) -> Result<ExtendedState, PlatformError>;

    /// Sets that state. It has been checked against [`Machine::xcr0`].
    fn set_extended_state(&mut self, state: &ExtendedState) -> Result<(), PlatformError>;
}

/// Where the segments FS and GS begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// The thread pointer.
    pub fs: u64,
    /// Free for the program's use.
    pub gs: u64,
}
