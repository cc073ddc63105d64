//! One KKM machine: a device, and a little guest memory that the module needs.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use monitor_launch::DeviceKind;
use monitor_sys::{
    guest_memory::{GuestSpan, PAGE},
    kkm,
};

use super::vcpu::KkmVcpu;
use crate::{
    layout::PLATFORM_ROOM,
    platform::{Machine, PlatformError, Successor, Vcpu},
};

/// Pages for the module's use: the one that stays for the machine's whole life, and one for each CPU. More CPUs than
/// the module makes.
const ROOM: GuestSpan = match GuestSpan::new(PLATFORM_ROOM, (1 + CPUS) * PAGE) {
    Some(room) => room,
    None => panic!("the layout has room"),
};
const CPUS: u64 = 1023;

/// x87 and SSE: what the device tells of a CPU in a form that others know.
const LEGACY: u64 = 3;

/// A machine on `/dev/kkm`.
#[derive(Debug)]
pub struct KkmMachine {
    machine: kkm::Machine,
    next_id: AtomicU64,
}

impl KkmMachine {
    /// Makes a machine, from an opened `/dev/kkm`.
    pub fn new(device: OwnedFd) -> Result<Self, PlatformError> {
        let machine = kkm::Machine::new(device, ROOM)?;
        Ok(Self { machine, next_id: AtomicU64::new(0) })
    }
}

impl Machine for KkmMachine {
    fn name(&self) -> &'static str {
        "KKM"
    }

    fn create_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let device = self.machine.create_vcpu(id)?;
        let page = ROOM.start() + (1 + id % CPUS) * PAGE;
        Ok(Box::new(KkmVcpu::new(device, page)))
    }

    fn cover(&self, _span: GuestSpan) -> Result<(), PlatformError> {
        Ok(())
    }

    fn set_executable(&self, _span: GuestSpan, _executable: bool) -> Result<(), PlatformError> {
        Ok(())
    }

    /// The host's vDSO lies where no guest can reach it.
    fn vdso(&self) -> Option<u64> {
        None
    }

    /// The module forgets at an exit what `wrfsbase` has written.
    fn keeps_bases(&self) -> bool {
        false
    }

    fn xcr0(&self) -> u64 {
        LEGACY
    }

    fn successor(&self) -> Result<Successor, PlatformError> {
        let device = self.machine.device()?;
        Ok(Box::new(move || Ok(Arc::new(Self::new(device)?))))
    }

    fn device(&self) -> Result<(DeviceKind, OwnedFd), PlatformError> {
        Ok((DeviceKind::Kkm, self.machine.device()?))
    }
}
