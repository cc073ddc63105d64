//! Stands in for a machine while a process has none: nothing runs on it.

use std::os::fd::OwnedFd;

use monitor_launch::DeviceKind;
use monitor_sys::guest_memory::GuestSpan;

use super::{Bases, Exit, Machine, PlatformError, Successor, Vcpu};
use crate::arch::x86_64::{
    exceptions::Access, extended_state::ExtendedState, registers::Registers,
};

/// No machine, and no CPU of it.
#[derive(Debug, Default)]
pub struct Absent(Registers);

impl Machine for Absent {
    fn name(&self) -> &'static str {
        "none"
    }

    fn create_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError> {
        Err(PlatformError::Absent)
    }

    fn cover(&self, _span: GuestSpan) -> Result<(), PlatformError> {
        Ok(())
    }

    fn set_executable(&self, _span: GuestSpan, _executable: bool) -> Result<(), PlatformError> {
        Ok(())
    }

    fn vdso(&self) -> Option<u64> {
        None
    }

    fn xcr0(&self) -> u64 {
        0
    }

    fn successor(&self) -> Result<Successor, PlatformError> {
        Err(PlatformError::Absent)
    }

    fn device(&self) -> Result<(DeviceKind, OwnedFd), PlatformError> {
        Err(PlatformError::Absent)
    }
}

impl Vcpu for Absent {
    fn run(&mut self) -> Result<Exit, PlatformError> {
        Err(PlatformError::Absent)
    }

    fn registers(&self) -> &Registers {
        &self.0
    }

    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.0
    }

    fn permit(&mut self, _address: u64, _access: Access) -> Result<(), PlatformError> {
        Err(PlatformError::Absent)
    }

    fn deny(&mut self) -> Result<(), PlatformError> {
        Err(PlatformError::Absent)
    }

    fn bases(&self) -> Result<Bases, PlatformError> {
        Err(PlatformError::Absent)
    }

    fn set_bases(&mut self, _bases: Bases) -> Result<(), PlatformError> {
        Err(PlatformError::Absent)
    }

    fn extended_state(&self) -> Result<ExtendedState, PlatformError> {
        Err(PlatformError::Absent)
    }

    fn set_extended_state(&mut self, _state: &ExtendedState) -> Result<(), PlatformError> {
        Err(PlatformError::Absent)
    }
}
