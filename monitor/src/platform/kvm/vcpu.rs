//! One KVM vCPU: how it leaves the guest, and how it gets back in.
//!
//! The monitor only ever sees the program's registers. Where the CPU really
//! stands (in the gate, in an exception's stub) is [`Standing`]'s to know.
//!
//! Faults that the host's mappings cause come without an address. Then the CPU
//! gets a strict table, runs the instruction again, and every page it touches is
//! asked for by name.

use std::sync::Arc;

use monitor_sys::{
    gate, guest_copy,
    guest_memory::PAGE,
    kvm::{self, VcpuReturn, bindings::kvm_regs},
};

use super::{machine::Shared, state};
use crate::{
    arch::x86_64::{
        GATE, KERNEL_BASE, VCPU_PAGES,
        exceptions::{Access, GATE_OUT_LEN, Vector},
        extended_state::{AREA_LEN, ExtendedState},
        gate::{GATE_STRIDE, GATES, Gate},
        paging::USER,
        registers::{self, FLAGS_AT_START, Registers, USER_FLAGS},
        segments::{FMASK, GATE_PORT, MSR_FMASK, MSR_LSTAR, MSR_STAR, STAR},
    },
    layout::{self, VDSO},
    platform::{Bases, Exit, PlatformError, Vcpu},
};

/// The instruction `int3`.
const BREAKPOINT: u8 = 0xcc;

/// After so many admitted pages a strict table has done its duty: the fault was
/// a passing one, and single pages are a slow way to run.
const STRICT_PAGES: u32 = 64;

/// A CPU on `/dev/kvm`.
#[derive(Debug)]
pub(super) struct KvmVcpu {
    device: kvm::Vcpu,
    shared: Arc<Shared>,
    /// The frame with its task state and exception stack.
    frame: usize,
    /// Where the program's CPU finds that frame.
    page: u64,
    registers: Registers,
    standing: Standing,
    gate: Option<OwnGate>,
    strict: Option<Strict>,
    last_fault: Option<(u64, u64)>,
}

/// Where the CPU stands, which decides how the program is continued.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// At level 3, in the program or where the program's registers say.
    Program,
    /// At level 0 behind the gate's `out`, with these registers. `sysretq` leads
    /// back, unless the monitor wants the program to continue elsewhere.
    Gate(Registers),
    /// At level 0, in an exception's stub, to be abandoned.
    Stub,
}

/// The privilege level `syscall` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As the manuals say.
    Kernel,
    /// Under PVM, `syscall` reaches the gate without a change of level.
    Program,
}

impl Level {
    /// The level's number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Kernel => 0,
            Self::Program => 3,
        }
    }

    /// The level of this number, if `syscall` can lead there.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Kernel),
            3 => Some(Self::Program),
            _ => None,
        }
    }
}

/// A gate of this CPU's own.
#[derive(Debug)]
struct OwnGate {
    gate: Arc<Gate>,
    address: u64,
    /// Whether the CPU was told to leave.
    wanted_out: bool,
}

#[derive(Clone, Copy, Debug)]
struct Strict {
    root: usize,
    /// The address that was admitted last.
    last: u64,
    admitted: u32,
}

impl KvmVcpu {
    pub(super) fn new(
        device: kvm::Vcpu,
        shared: Arc<Shared>,
        frame: usize,
        page: u64,
    ) -> Result<Self, PlatformError> {
        let root = {
            let tables = shared.tables();
            tables.paging.physical(tables.paging.root())
        };
        let mut special = device.special_registers()?;
        state::set_up(&mut special, root, page);
        device.set_special_registers(&special)?;
        device.set_xcr0(shared.xcr0)?;
        device.set_msrs(&[(MSR_STAR, STAR), (MSR_LSTAR, GATE), (MSR_FMASK, FMASK)])?;
        let registers = Registers { rflags: FLAGS_AT_START, ..Registers::default() };
        Ok(Self {
            device,
            shared,
            frame,
            page,
            registers,
            standing: Standing::Program,
            gate: None,
            strict: None,
            last_fault: None,
        })
    }

    /// Puts the program's registers where the CPU will find them.
    fn prepare(&mut self) -> Result<(), PlatformError> {
        match self.standing {
            Standing::Program => {}
            Standing::Gate(gate) if self.returns_as_called() => {
                let registers = Registers { rip: gate.rip, rflags: gate.rflags, ..self.registers };
                self.device.set_registers(&state::to_device(&registers));
                return Ok(());
            }
            Standing::Gate(_) | Standing::Stub => self.leave_kernel()?,
        }
        self.standing = Standing::Program;
        self.device.set_registers(&state::to_device(&self.registers));
        Ok(())
    }

    /// Whether `sysretq` leads to where the program shall go on.
    fn returns_as_called(&self) -> bool {
        self.registers.rip == self.registers.rcx && self.registers.rflags == self.registers.r11
    }

    fn leave_kernel(&self) -> Result<(), PlatformError> {
        let mut special = self.device.special_registers()?;
        state::enter_user(&mut special);
        Ok(self.device.set_special_registers(&special)?)
    }

    fn react(&mut self, reason: VcpuReturn) -> Result<Option<Exit>, PlatformError> {
        let found = self.device.registers();
        match reason {
            VcpuReturn::Denied | VcpuReturn::Hole { .. } if self.copies_in_gate(found.rip) => {
                if reason != VcpuReturn::Denied {
                    self.device.complete_access();
                }
                self.registers = state::from_device(&found);
                self.standing = Standing::Program;
                self.leave_by_class()
            }
            VcpuReturn::Out { .. } | VcpuReturn::In if found.rip < KERNEL_BASE => {
                Ok(Some(self.forbid_port(&found)))
            }
            VcpuReturn::Out { port } if port == u16::from(GATE_PORT) => self.left_by_gate(&found),
            VcpuReturn::Out { port } => match Vector::from_port(port) {
                Some(vector) => self.left_by_exception(vector, &found),
                None => Err(stopped(u32::from(port), &found)),
            },
            VcpuReturn::In => Err(stopped(0, &found)),
            VcpuReturn::Hole { address } => {
                self.device.complete_access();
                self.registers = state::from_device(&found);
                self.standing = Standing::Program;
                Ok(Some(Exit::PageFault { address, access: Access::Read }))
            }
            VcpuReturn::Denied => self.denied(&found),
            VcpuReturn::Interrupted => self.interrupted(&found),
            VcpuReturn::Unexpected { reason } => Err(stopped(reason, &found)),
        }
    }

    /// The program used a port, which is a `#GP` on Linux. Here not every CPU says
    /// so: under PVM no port is closed to the program.
    fn forbid_port(&mut self, found: &kvm_regs) -> Exit {
        self.device.complete_access();
        self.registers = state::from_device(found);
        self.standing = Standing::Program;
        Exit::Exception { vector: Vector::GENERAL_PROTECTION, code: 0 }
    }

    /// `syscall`: the CPU stands in the gate.
    fn left_by_gate(&mut self, found: &kvm_regs) -> Result<Option<Exit>, PlatformError> {
        let registers = state::from_device(found);
        self.leave_strict()?;
        let level = self.level_of_gate()?;
        self.registers = Registers {
            rip: registers.rcx,
            rflags: registers.r11 & USER_FLAGS | FLAGS_AT_START,
            ..registers
        };
        self.registers.r11 = self.registers.rflags;
        self.standing = match level {
            Level::Kernel => Standing::Gate(registers),
            Level::Program => Standing::Program,
        };
        Ok(Some(self.why_left()))
    }

    /// What the CPU has left for, as its own gate says.
    fn why_left(&mut self) -> Exit {
        let Some(own) = &mut self.gate else { return Exit::Syscall };
        if std::mem::take(&mut own.wanted_out) {
            own.gate.want_out(false);
        }
        match own.gate.why() {
            None => Exit::Interrupted,
            Some(None) => Exit::Syscall,
            Some(Some(posting)) => Exit::Posted(posting),
        }
    }

    /// Whether the CPU stands where its gate follows the program's pointers.
    fn copies_in_gate(&self, rip: u64) -> bool {
        let own = self.gate.as_ref();
        own.is_some_and(|own| gate::copy().contains(&rip.wrapping_sub(own.address)))
    }

    /// A pointer of the program's has faulted in the gate: the call leaves after all.
    fn leave_by_class(&mut self) -> Result<Option<Exit>, PlatformError> {
        self.leave_strict()?;
        if let Some(own) = &self.gate {
            self.registers.rip = own.address + gate::by_class();
        }
        self.prepare()?;
        Ok(None)
    }

    /// Where the CPU left by `out`, given where it stands.
    fn is_behind_out(&self, rip: u64) -> bool {
        let own = self.gate.as_ref().map(|own| own.address + gate::out());
        [Some(GATE), own].into_iter().flatten().any(|out| rip == out + GATE_OUT_LEN)
    }

    /// Has a CPU that stands in its own gate leave before it goes on with the program.
    fn want_out(&mut self, found: &kvm_regs) {
        let Some(own) = &mut self.gate else { return };
        if !(own.address..own.address + PAGE).contains(&found.rip) {
            return;
        }
        own.wanted_out = true;
        own.gate.want_out(true);
        let tail = gate::tail();
        if tail.contains(&(found.rip - own.address)) {
            self.device.set_registers(&kvm_regs { rip: own.address + tail.start, ..*found });
        }
    }

    fn level_of_gate(&self) -> Result<Level, PlatformError> {
        if let Some(level) = self.shared.gate_level() {
            return Ok(level);
        }
        let selector = self.device.special_registers()?.cs.selector;
        let level = if selector & 3 == 3 { Level::Program } else { Level::Kernel };
        self.shared.note_gate_level(level);
        Ok(level)
    }

    /// Reads the CPU's frame: `[error code], rip, cs, rflags, rsp, ss`.
    fn left_by_exception(
        &mut self,
        vector: Vector,
        found: &kvm_regs,
    ) -> Result<Option<Exit>, PlatformError> {
        let first = usize::try_from(found.rsp % PAGE / 8).expect("a page has 512 words");
        let word = |at: usize| self.shared.frames.load(self.frame, (first + at) % 512);
        let skip = usize::from(vector.has_error_code());
        let code = if vector.has_error_code() { word(0) } else { 0 };
        self.registers = Registers {
            rip: word(skip),
            rflags: word(skip + 2),
            rsp: word(skip + 3),
            ..state::from_device(found)
        };
        self.standing = Standing::Stub;
        if self.copies_in_gate(self.registers.rip) {
            return self.leave_by_class();
        }
        if vector == Vector::INVALID_OPCODE && self.is_at_software_interrupt() {
            let vector = Vector::GENERAL_PROTECTION;
            return Ok(Some(Exit::Exception { vector, code: 0 }));
        }
        if vector != Vector::PAGE_FAULT {
            return Ok(Some(Exit::Exception { vector, code }));
        }
        let address = self.device.special_registers()?.cr2;
        Ok(Some(Exit::PageFault { address, access: Access::from_error_code(code) }))
    }

    /// Whether the program stands at `int n`. One that leads nowhere is a `#GP`, of
    /// which PVM makes a `#UD`.
    fn is_at_software_interrupt(&self) -> bool {
        const INT: u8 = 0xcd;
        guest_copy::read::<u8>(self.registers.rip) == Ok(INT)
    }

    /// The host's mappings denied something under the normal table: find out
    /// what. Under the strict one it was the page admitted last.
    fn denied(&mut self, found: &kvm_regs) -> Result<Option<Exit>, PlatformError> {
        self.registers = state::from_device(found);
        self.standing = Standing::Program;
        if let Some(strict) = self.strict {
            self.leave_strict()?;
            return Ok(Some(Exit::NothingBehind { address: strict.last }));
        }
        self.enter_strict()?;
        Ok(None)
    }

    /// A signal must not be delivered while the CPU stands in the gate or in a
    /// stub: there it first runs on, to the exit that is one instruction away.
    /// Behind the gate's `out`, the program is as good as continued; it must not
    /// come by the `out` again, which would be another system call.
    /// So does a program whose exception is on its way: it would come to where the
    /// signal's handler begins, or never.
    fn interrupted(&mut self, found: &kvm_regs) -> Result<Option<Exit>, PlatformError> {
        let is_behind_out = self.is_behind_out(found.rip);
        if let Standing::Gate(gate) = &mut self.standing
            && is_behind_out
        {
            gate.rip = found.rip;
            return Ok(Some(Exit::Interrupted));
        }
        self.want_out(found);
        if found.rip >= KERNEL_BASE || self.device.has_exception().map_err(PlatformError::Run)? {
            return Ok(None);
        }
        self.registers = state::from_device(found);
        self.standing = Standing::Program;
        if guest_copy::read::<u8>(found.rip.wrapping_sub(1)) == Ok(BREAKPOINT) {
            return self.await_breakpoint(found.rip);
        }
        Ok(Some(Exit::Interrupted))
    }

    /// Behind a breakpoint KVM does not say whether its exception is still to come.
    /// With nothing mapped the CPU gets no further than to tell: either it comes,
    /// or the next instruction cannot be fetched.
    fn await_breakpoint(&mut self, rip: u64) -> Result<Option<Exit>, PlatformError> {
        self.leave_strict()?;
        self.enter_strict()?;
        let mut reason = VcpuReturn::Interrupted;
        while reason == VcpuReturn::Interrupted {
            reason = self.device.run_on().map_err(PlatformError::Run)?;
        }
        let exit = self.react(reason)?;
        self.leave_strict()?;
        Ok(match exit {
            Some(Exit::PageFault { address, .. }) if address == rip => Some(Exit::Interrupted),
            other => other,
        })
    }

    /// Gives the CPU a table under which every access tells its address.
    fn enter_strict(&mut self) -> Result<(), PlatformError> {
        let root = self.shared.tables_to_grow()?.paging.take_strict_root(VDSO)?;
        self.strict = Some(Strict { root, last: 0, admitted: 0 });
        self.use_root(root)
    }

    /// Whether the CPU stands where no signal can be delivered.
    fn must_run_on(&self) -> Result<bool, PlatformError> {
        let in_kernel = self.device.registers().rip >= KERNEL_BASE;
        Ok(in_kernel || self.device.has_exception().map_err(PlatformError::Run)?)
    }

    fn leave_strict(&mut self) -> Result<(), PlatformError> {
        let Some(strict) = self.strict.take() else {
            return Ok(());
        };
        let root = self.shared.tables().paging.root();
        self.use_root(root)?;
        self.shared.tables().paging.free_strict_root(strict.root, VDSO);
        Ok(())
    }

    fn use_root(&self, root: usize) -> Result<(), PlatformError> {
        let mut special = self.device.special_registers()?;
        special.cr3 = self.shared.tables().paging.physical(root);
        Ok(self.device.set_special_registers(&special)?)
    }

    /// Makes sure that the normal table lets an allowed access through.
    fn permit_normally(&mut self, address: u64, access: Access) -> Result<(), PlatformError> {
        if layout::chunk_of(address).is_none() {
            return Ok(());
        }
        if self.shared.cover_at(address)? && access != Access::Execute {
            return Ok(());
        }
        let page = address / PAGE * PAGE;
        let page = monitor_sys::guest_memory::GuestSpan::new(page, PAGE);
        if let (Access::Execute, Some(page)) = (access, page) {
            self.shared.tables_to_grow()?.paging.set_executable(page, true)?;
        }
        // The same fault twice in a row: the CPU keeps an entry that is out of
        // date, and loading the root anew makes it forget.
        let fault = (address, self.registers.rip);
        if self.last_fault.replace(fault) == Some(fault) {
            let root = self.shared.tables().paging.root();
            self.use_root(root)?;
        }
        Ok(())
    }
}

impl Vcpu for KvmVcpu {
    fn run(&mut self) -> Result<Exit, PlatformError> {
        // VMX does not enter a guest there at all, and `sysretq` faults at level 0.
        if !registers::is_canonical(self.registers.rip) {
            return Ok(Exit::Exception { vector: Vector::GENERAL_PROTECTION, code: 0 });
        }
        self.prepare()?;
        loop {
            let reason = self.device.run().map_err(PlatformError::Run)?;
            if let Some(exit) = self.react(reason)? {
                return Ok(exit);
            }
            while self.must_run_on()? {
                let reason = self.device.run_on().map_err(PlatformError::Run)?;
                if let Some(exit) = self.react(reason)? {
                    return Ok(exit);
                }
            }
        }
    }

    fn begin(&mut self) -> Result<(), PlatformError> {
        self.device.begin().map_err(PlatformError::Run)
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }

    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    fn equip(&mut self) -> Result<Option<Arc<Gate>>, PlatformError> {
        if let Some(own) = &self.gate {
            return Ok(Some(Arc::clone(&own.gate)));
        }
        let Some(level) = self.shared.gate_level() else { return Ok(None) };
        let address = GATES + (self.page - VCPU_PAGES) / PAGE * GATE_STRIDE;
        let user = if level == Level::Program { USER } else { 0 };
        let pages = self.shared.add_gate(address, user)?;
        let frames = Arc::clone(&self.shared.frames);
        let gate = Arc::new(Gate::new(frames, pages, level == Level::Kernel));
        self.device.set_msrs(&[(MSR_LSTAR, address)])?;
        self.gate = Some(OwnGate { gate: Arc::clone(&gate), address, wanted_out: false });
        Ok(Some(gate))
    }

    fn permit(&mut self, address: u64, access: Access) -> Result<(), PlatformError> {
        let Some(mut strict) = self.strict else {
            return self.permit_normally(address, access);
        };
        if strict.admitted == STRICT_PAGES {
            return self.leave_strict();
        }
        self.shared.cover_at(address)?;
        self.shared.tables_to_grow()?.paging.admit(strict.root, address, access)?;
        strict.last = address;
        strict.admitted += 1;
        self.strict = Some(strict);
        Ok(())
    }

    fn deny(&mut self) -> Result<(), PlatformError> {
        self.leave_strict()
    }

    fn bases(&self) -> Result<Bases, PlatformError> {
        let special = self.device.special_registers()?;
        Ok(Bases { fs: special.fs.base, gs: special.gs.base })
    }

    fn set_bases(&mut self, bases: Bases) -> Result<(), PlatformError> {
        let mut special = self.device.special_registers()?;
        special.fs.base = bases.fs;
        special.gs.base = bases.gs;
        Ok(self.device.set_special_registers(&special)?)
    }

    fn extended_state(&self) -> Result<ExtendedState, PlatformError> {
        let state = self.device.extended_state()?;
        let mut area = Box::new([0; AREA_LEN]);
        for (bytes, word) in area.chunks_exact_mut(4).zip(state.region) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Ok(ExtendedState::from_area(area))
    }

    fn set_extended_state(&mut self, state: &ExtendedState) -> Result<(), PlatformError> {
        let mut device = kvm::bindings::kvm_xsave::default();
        for (word, bytes) in device.region.iter_mut().zip(state.area().chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        Ok(self.device.set_extended_state(&device)?)
    }
}

fn stopped(reason: u32, found: &kvm_regs) -> PlatformError {
    PlatformError::Stopped { reason, rip: found.rip }
}
