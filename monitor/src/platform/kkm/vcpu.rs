//! One KKM vCPU: how a program gets onto the processor, and what it came back for.
//!
//! The module has a way of its own to give a call its result: the monitor writes it into a record below the program's
//! stack. It is not used. Every exit that could leave something pending is cancelled, and the registers are set: they
//! are in the module, where no other thread of the guest can change them meanwhile.

use std::cell::RefCell;

use monitor_sys::{
    guest_copy,
    guest_memory::PAGE,
    kkm::{self, VcpuReturn},
    kvm::bindings::kvm_regs,
};

use super::{fault::Fault, legacy, sealed::Sealed};
use crate::{
    arch::x86_64::{
        exceptions::{Access, Vector},
        extended_state::ExtendedState,
        registers::{self, FLAG_TRAP, FLAGS_AT_START, Registers, USER_FLAGS},
    },
    platform::{Bases, Exit, PlatformError, Vcpu},
};

/// What the module lowers the stack pointer by at a call: the red zone and its record.
const RECORD: u64 = 184;
/// The same at an exception: `{rax, rbx, rdx, [error code], rip, cs, rflags, rsp, ss}`.
const FRAME: u64 = 64;
/// The length of `out %eax, (%dx)` as far as the module steps over it.
const OUT_LEN: u64 = 1;

/// At each call the module writes a word where the base of GS points to, and lowers it by that word. After so many it
/// is set anew, long before the page ends.
const CALLS: u32 = 500;

/// A CPU on `/dev/kkm`.
#[derive(Debug)]
pub(super) struct KkmVcpu {
    device: kkm::Vcpu,
    registers: Registers,
    fs: u64,
    /// A page of guest memory that nobody else uses, for the base of GS.
    page: u64,
    /// So many calls are left until the bases have to be set; none, if they are not as they should be.
    calls_left: u32,
    /// Whether the module could give the last exit's result in its own way.
    is_pending: bool,
    is_stepping: bool,
    fault: Option<Fault>,
    sealed: RefCell<Sealed>,
}

impl KkmVcpu {
    pub(super) fn new(device: kkm::Vcpu, page: u64) -> Self {
        Self {
            device,
            registers: Registers { rflags: FLAGS_AT_START, ..Registers::default() },
            fs: 0,
            page,
            calls_left: 0,
            is_pending: false,
            is_stepping: false,
            fault: None,
            sealed: RefCell::default(),
        }
    }

    /// Puts the program's registers where the module finds them.
    fn prepare(&mut self) -> Result<(), PlatformError> {
        if std::mem::take(&mut self.is_pending) {
            self.device.cancel()?;
        }
        let steps = self.registers.rflags & FLAG_TRAP != 0;
        if steps != self.is_stepping {
            self.device.set_stepping(steps)?;
            self.is_stepping = steps;
        }
        if self.calls_left == 0 {
            self.device.set_bases(self.fs, self.page + PAGE - 8)?;
            self.calls_left = CALLS;
        }
        let flags = self.registers.rflags & USER_FLAGS | FLAGS_AT_START;
        let registers = Registers { rflags: flags, ..self.registers };
        Ok(self.device.set_registers(&to_device(&registers))?)
    }

    fn react(&mut self, reason: VcpuReturn) -> Result<Exit, PlatformError> {
        let before = self.fault.take();
        let found = self.device.registers()?;
        self.registers = from_device(&found);
        match reason {
            VcpuReturn::Syscall { number } => {
                self.is_pending = true;
                self.calls_left -= 1;
                self.left_by_call(number);
                Ok(Exit::Syscall)
            }
            VcpuReturn::Out => {
                // A `#GP` on Linux.
                self.is_pending = true;
                self.registers.rip = self.registers.rip.wrapping_sub(OUT_LEN);
                Ok(Exit::Exception { vector: Vector::GENERAL_PROTECTION, code: 0 })
            }
            VcpuReturn::Exception => {
                self.is_pending = true;
                self.left_by_exception()
            }
            VcpuReturn::Debug { vector } => {
                if vector == u32::from(Vector::BREAKPOINT.0) {
                    self.registers.rip = self.registers.rip.wrapping_add(1);
                    return Ok(Exit::Exception { vector: Vector::BREAKPOINT, code: 0 });
                }
                Ok(Exit::Exception { vector: Vector::DEBUG, code: 0 })
            }
            VcpuReturn::Fault => {
                let address = self.device.fault_address()?;
                // Sets the address to 0, too: a fault that tells none leaves it as it is.
                self.calls_left = 0;
                let fault = Fault::next(before, address, &self.registers);
                self.fault = Some(fault);
                Ok(fault.exit())
            }
            VcpuReturn::Interrupted => {
                self.fault = before;
                Ok(Exit::Interrupted)
            }
            VcpuReturn::Unexpected { reason } => {
                Err(PlatformError::Stopped { reason, rip: self.registers.rip })
            }
        }
    }

    /// `syscall`: the module has its record's address in `rax`, and the stack pointer there.
    fn left_by_call(&mut self, number: u64) {
        let registers = &mut self.registers;
        registers.rax = number;
        registers.rsp = registers.rsp.wrapping_add(RECORD);
        registers.rcx = registers.rip;
        registers.rflags = registers.rflags & USER_FLAGS | FLAGS_AT_START;
        registers.r11 = registers.rflags;
    }

    /// `rbx` holds the exception's number, and the stack pointer leads to its frame, which holds what the program had
    /// in the registers that the module uses.
    fn left_by_exception(&mut self) -> Result<Exit, PlatformError> {
        let (frame, number) = (self.registers.rsp, self.registers.rbx);
        let stopped = PlatformError::Stopped { reason: 0, rip: self.registers.rip };
        let vector = u8::try_from(number).map(Vector).map_err(|_| stopped)?;
        let word =
            |at: u64| guest_copy::read::<u64>(frame.wrapping_add(8 * at)).unwrap_or_default();
        let code = if vector.has_error_code() { word(3) } else { 0 };
        self.registers.rax = word(0);
        self.registers.rbx = word(1);
        let len = FRAME + if vector.has_error_code() { 8 } else { 0 };
        self.registers.rsp = frame.wrapping_add(len);
        Ok(Exit::Exception { vector, code })
    }
}

impl Vcpu for KkmVcpu {
    fn run(&mut self) -> Result<Exit, PlatformError> {
        if !registers::is_canonical(self.registers.rip) {
            return Ok(Exit::Exception { vector: Vector::GENERAL_PROTECTION, code: 0 });
        }
        self.prepare()?;
        let reason = self.device.run().map_err(PlatformError::Run)?;
        self.react(reason)
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    /// The host's mappings are the guest's: all there is to do is to let the program try again.
    fn permit(&mut self, _address: u64, _access: Access) -> Result<(), PlatformError> {
        Ok(())
    }

    fn deny(&mut self) -> Result<(), PlatformError> {
        self.fault = None;
        Ok(())
    }

    fn bases(&self) -> Result<Bases, PlatformError> {
        Ok(Bases { fs: self.fs, gs: 0 })
    }

    fn set_bases(&mut self, bases: Bases) -> Result<(), PlatformError> {
        if bases.gs != 0 {
            return Err(PlatformError::BaseOfGs);
        }
        self.fs = bases.fs;
        self.calls_left = 0;
        Ok(())
    }

    fn extended_state(&self) -> Result<ExtendedState, PlatformError> {
        if !self.device.has_run() {
            return Ok(ExtendedState::initial());
        }
        let sealed = self.device.xstate()?.into();
        let state = legacy::to_area(&self.device.fpu()?);
        Ok(self.sealed.borrow_mut().keep(&state, &sealed))
    }

    fn set_extended_state(&mut self, state: &ExtendedState) -> Result<(), PlatformError> {
        let sealed = self.sealed.borrow().find(state);
        if let Some(sealed) = sealed {
            self.device.set_xstate(&sealed)?;
        }
        Ok(self.device.set_fpu(&legacy::to_device(state))?)
    }
}

macro_rules! same_fields {
    ($($field:ident),*) => {
        /// The device's registers as the monitor's.
        fn from_device(registers: &kvm_regs) -> Registers {
            Registers { $($field: registers.$field),* }
        }

        /// The monitor's registers as the device's.
        fn to_device(registers: &Registers) -> kvm_regs {
            kvm_regs { $($field: registers.$field),* }
        }
    };
}

same_fields!(
    rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags
);
