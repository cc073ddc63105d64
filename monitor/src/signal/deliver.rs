//! From a caught signal, or a fault, to the guest's handler, and back.

use monitor_sys::{
    Errno, guest_copy,
    signals::{self, Caught},
};
use zerocopy::IntoBytes;

use super::{
    Fault,
    action::{self, Action, Actions, SA_NODEFER, SA_ONSTACK},
    frame::{self, Frame, MAGIC1, MAGIC2, Place, SOFTWARE_BYTES, UserContext},
    stack::{AlternateStack, SS_AUTODISARM},
};
use crate::{
    arch::x86_64::{
        extended_state::{ExtendedState, area_len},
        registers::{FLAG_DIRECTION, FLAG_RESUME, FLAG_TRAP},
    },
    memory::AddressSpace,
    platform::{PlatformError, Vcpu},
};

/// The thread that a signal is for.
#[derive(Debug)]
pub struct Receiver<'a> {
    /// Its CPU.
    pub cpu: &'a mut dyn Vcpu,
    /// Its process's actions.
    pub actions: &'a Actions,
    /// Where its stacks are.
    pub memory: &'a AddressSpace,
    /// Its alternate stack.
    pub stack: &'a mut AlternateStack,
    /// The extended states that are switched on.
    pub xcr0: u64,
}

/// Why a frame could not be made.
enum FrameError {
    /// The guest's stack cannot take it.
    Stack,
    /// The platform did not give the state.
    Platform(PlatformError),
}

impl From<PlatformError> for FrameError {
    fn from(error: PlatformError) -> Self {
        Self::Platform(error)
    }
}

impl From<Errno> for FrameError {
    fn from(_: Errno) -> Self {
        Self::Stack
    }
}

impl Receiver<'_> {
    /// Delivers a signal that was caught. `temporary` is the mask of a call like
    /// `sigsuspend(2)` that the signal ended.
    pub fn deliver(
        &mut self,
        caught: &Caught,
        temporary: Option<u64>,
    ) -> Result<(), PlatformError> {
        let signal = caught.signal();
        let action = self.actions.take_for_delivery(signal).unwrap_or_default();
        if !action.has_handler() {
            if action.handler == action::DEFAULT {
                signals::send_to_self(signal);
            }
            signals::set_mask(caught.mask);
            return Ok(());
        }
        let blocked = temporary.unwrap_or(caught.mask);
        match self.call_handler(&action, caught, None) {
            Ok(()) => {}
            Err(FrameError::Platform(error)) => return Err(error),
            Err(FrameError::Stack) => {
                signals::set_mask(caught.mask);
                return self.frame_fault(signal);
            }
        }
        signals::set_mask(blocked | mask_during(&action, signal));
        Ok(())
    }

    /// Whether a fault that raises this signal ends the program.
    pub fn is_deadly(&self, signal: u32) -> bool {
        let has_handler = self.actions.get(signal).is_ok_and(|action| action.has_handler());
        !has_handler || signals::guest_mask() & bit(signal) != 0
    }

    /// Delivers a fault. As on Linux, one that the program blocks, ignores or
    /// does not handle ends it.
    pub fn raise(&mut self, fault: &Fault) -> Result<(), PlatformError> {
        let mask = signals::guest_mask();
        let action = self.actions.take_for_delivery(fault.signal).unwrap_or_default();
        if !action.has_handler() || mask & bit(fault.signal) != 0 {
            signals::die_by(fault.signal);
        }
        let caught = Caught { info: information(fault), mask };
        match self.call_handler(&action, &caught, Some(fault)) {
            Ok(()) => {}
            Err(FrameError::Platform(error)) => return Err(error),
            Err(FrameError::Stack) => return self.frame_fault(fault.signal),
        }
        signals::set_guest_mask(mask | mask_during(&action, fault.signal));
        Ok(())
    }

    /// A frame for `signal` could not be made. That is a `SIGSEGV`, whose handler may
    /// have a stack of its own; if the frame was for that one, there is no way on.
    fn frame_fault(&mut self, signal: u32) -> Result<(), PlatformError> {
        let fault = Fault {
            signal: libc::SIGSEGV.cast_unsigned(),
            code: 0x80, // SI_KERNEL
            ..Fault::default()
        };
        if signal == fault.signal {
            signals::die_by(signal);
        }
        self.raise(&fault)
    }

    fn call_handler(
        &mut self,
        action: &Action,
        caught: &Caught,
        fault: Option<&Fault>,
    ) -> Result<(), FrameError> {
        let registers = *self.cpu.registers();
        let on_stack = action.flags & SA_ONSTACK != 0;
        let top = if on_stack { self.stack.top_for(registers.rsp) } else { None };
        let len = area_len(self.xcr0);
        let place = frame::place(&registers, top, monitor_sys::host_call::to_u64(len));
        let on_alternate = top.is_some() || self.stack.holds(registers.rsp);
        if on_alternate && !self.stack.reaches(place.frame) {
            return Err(FrameError::Stack);
        }
        self.memory.reach(place.frame);
        self.save_state(place, len)?;
        let mut user = UserContext::new(&registers, *self.stack, caught.mask, place.state);
        if let Some(fault) = fault {
            user.context.error = fault.error;
            user.context.vector = u64::from(fault.vector);
            user.context.fault_address = fault.address;
        }
        let frame = Frame { return_address: action.restorer, user, info: caught.info };
        guest_copy::write(place.frame, &frame)?;
        self.cpu.set_extended_state(&ExtendedState::initial())?;
        if self.stack.flags & SS_AUTODISARM != 0 {
            *self.stack = AlternateStack::default();
        }
        self.enter(action, caught.signal(), place);
        Ok(())
    }

    fn enter(&mut self, action: &Action, signal: u32, place: Place) {
        let context = place.frame + 8;
        let information = context + monitor_sys::host_call::to_u64(size_of::<UserContext>());
        let registers = self.cpu.registers_mut();
        registers.rip = action.handler;
        registers.rsp = place.frame;
        registers.rdi = u64::from(signal);
        registers.rsi = information;
        registers.rdx = context;
        registers.rax = 0;
        registers.rflags &= !(FLAG_DIRECTION | FLAG_RESUME | FLAG_TRAP);
    }

    /// Writes the extended state, with the marks by which programs know its size.
    fn save_state(&self, place: Place, len: usize) -> Result<(), FrameError> {
        let state = self.cpu.extended_state()?;
        let mut bytes = state.area()[..len].to_vec();
        let size = u32::try_from(len).expect("at most a page");
        bytes[SOFTWARE_BYTES..SOFTWARE_BYTES + 4].copy_from_slice(&MAGIC1.to_le_bytes());
        bytes[SOFTWARE_BYTES + 4..SOFTWARE_BYTES + 8].copy_from_slice(&(size + 4).to_le_bytes());
        bytes[SOFTWARE_BYTES + 8..SOFTWARE_BYTES + 16].copy_from_slice(&self.xcr0.to_le_bytes());
        bytes[SOFTWARE_BYTES + 16..SOFTWARE_BYTES + 20].copy_from_slice(&size.to_le_bytes());
        bytes.extend(MAGIC2.to_le_bytes());
        Ok(guest_copy::write_bytes(place.state, &bytes)?)
    }

    /// `rt_sigreturn(2)`: goes back to what a handler interrupted. A frame that
    /// makes no sense is a `SIGSEGV`.
    pub fn return_from_handler(&mut self) -> Result<(), PlatformError> {
        let at = self.cpu.registers().rsp;
        let restored = guest_copy::read::<UserContext>(at).map_err(FrameError::from);
        match restored.and_then(|user| self.restore(&user)) {
            Ok(()) => Ok(()),
            Err(FrameError::Platform(error)) => Err(error),
            Err(FrameError::Stack) => self.raise(&Fault {
                signal: libc::SIGSEGV.cast_unsigned(),
                code: 0x80, // SI_KERNEL
                ..Fault::default()
            }),
        }
    }

    fn restore(&mut self, user: &UserContext) -> Result<(), FrameError> {
        let state = match user.context.state {
            0 => ExtendedState::initial(),
            at => self.read_state(at)?,
        };
        self.cpu.set_extended_state(&state)?;
        *self.cpu.registers_mut() = user.registers();
        *self.stack = AlternateStack { padding: 0, ..user.stack };
        signals::set_guest_mask(user.mask);
        Ok(())
    }

    /// Reads the state a handler may have changed. Without the marks, only the
    /// legacy region counts, as on Linux.
    fn read_state(&self, at: u64) -> Result<ExtendedState, FrameError> {
        let len = area_len(self.xcr0);
        let mut bytes = vec![0; len];
        guest_copy::read_bytes(at, &mut bytes)?;
        let marked = bytes[SOFTWARE_BYTES..SOFTWARE_BYTES + 4] == MAGIC1.to_le_bytes();
        bytes[SOFTWARE_BYTES..512].fill(0);
        if !marked {
            bytes[512..].fill(0);
            bytes[512] = 3;
        }
        ExtendedState::from_guest(bytes.as_bytes(), self.xcr0).ok_or(FrameError::Stack)
    }
}

/// What is blocked while a handler runs, besides what was.
fn mask_during(action: &Action, signal: u32) -> u64 {
    let own = if action.flags & SA_NODEFER == 0 { bit(signal) } else { 0 };
    action.mask | own
}

fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The `siginfo_t` of a fault.
fn information(fault: &Fault) -> [u8; 128] {
    let mut info = [0; 128];
    info[..4].copy_from_slice(&fault.signal.to_le_bytes());
    info[4..8].copy_from_slice(&fault.errno.to_le_bytes());
    info[8..12].copy_from_slice(&fault.code.to_le_bytes());
    info[16..24].copy_from_slice(&fault.address.to_le_bytes());
    info[24..32].copy_from_slice(&fault.detail.to_le_bytes());
    info
}
