//! A platform without a device: it plays back a script of exits, and writes down
//! what it was told. For tests of everything above it.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use monitor_launch::DeviceKind;
use monitor_sys::{Errno, guest_memory::GuestSpan};

use crate::{
    arch::x86_64::{
        exceptions::Access,
        extended_state::{AREA_LEN, ExtendedState},
        registers::Registers,
    },
    platform::{Bases, Exit, Machine, PlatformError, Successor, Vcpu},
};

/// One step of a script: registers to be seen, then the exit.
pub type Step = (Registers, Exit);

/// What the platform was told, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// [`Machine::set_executable`].
    Executable(GuestSpan, bool),
    /// [`Vcpu::run`], with these registers.
    Run(Registers),
    /// [`Vcpu::permit`].
    Permit(u64, Access),
    /// [`Vcpu::deny`].
    Deny,
}

/// A machine whose CPUs share one script.
#[derive(Clone, Debug, Default)]
pub struct ScriptedMachine {
    script: Arc<Mutex<VecDeque<Step>>>,
    told: Arc<Mutex<Vec<Told>>>,
}

impl ScriptedMachine {
    /// Adds what the guest does next.
    pub fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).extend(steps);
    }

    /// What the machine and its CPUs were told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, told: Told) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

impl Machine for ScriptedMachine {
    fn name(&self) -> &'static str {
        "SCRIPTED"
    }

    fn create_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError> {
        Ok(Box::new(ScriptedVcpu {
            machine: self.clone(),
            registers: Registers::default(),
            bases: Bases::default(),
            state: ExtendedState::from_area(Box::new([0; AREA_LEN])),
        }))
    }

    fn cover(&self, _span: GuestSpan) -> Result<(), PlatformError> {
        Ok(())
    }

    fn set_executable(&self, span: GuestSpan, executable: bool) -> Result<(), PlatformError> {
        self.note(Told::Executable(span, executable));
        Ok(())
    }

    fn vdso(&self) -> Option<u64> {
        None
    }

    fn xcr0(&self) -> u64 {
        7
    }

    fn successor(&self) -> Result<Successor, PlatformError> {
        let same = self.clone();
        Ok(Box::new(move || Ok(Arc::new(same))))
    }

    fn device(&self) -> Result<(DeviceKind, OwnedFd), PlatformError> {
        Err(PlatformError::Memory(Errno::ENODEV))
    }
}

#[derive(Debug)]
struct ScriptedVcpu {
    machine: ScriptedMachine,
    registers: Registers,
    bases: Bases,
    state: ExtendedState,
}

impl Vcpu for ScriptedVcpu {
    fn run(&mut self) -> Result<Exit, PlatformError> {
        self.machine.note(Told::Run(self.registers));
        let mut script = self.machine.script.lock().unwrap_or_else(PoisonError::into_inner);
        let end = PlatformError::Stopped { reason: 0, rip: self.registers.rip };
        let (registers, exit) = script.pop_front().ok_or(end)?;
        self.registers = registers;
        Ok(exit)
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    fn permit(&mut self, address: u64, access: Access) -> Result<(), PlatformError> {
        self.machine.note(Told::Permit(address, access));
        Ok(())
    }

    fn deny(&mut self) -> Result<(), PlatformError> {
        self.machine.note(Told::Deny);
        Ok(())
    }

    fn bases(&self) -> Result<Bases, PlatformError> {
        Ok(self.bases)
    }

    fn set_bases(&mut self, bases: Bases) -> Result<(), PlatformError> {
        self.bases = bases;
        Ok(())
    }

    fn extended_state(&self) -> Result<ExtendedState, PlatformError> {
        Ok(self.state.clone())
    }

    fn set_extended_state(&mut self, state: &ExtendedState) -> Result<(), PlatformError> {
        self.state = state.clone();
        Ok(())
    }
}
