//! `/dev/kkm`: Kontain's kernel module, which runs a program on a copy of the monitor's own first 512 GiB.
//!
//! The requests have KVM's numbers and structures where KVM has them, and numbers from 0xf5 up where it has not. What
//! the guest can reach is not chosen by slots: it is whatever the monitor has mapped below
//! [`GUEST_END`](crate::guest_memory::GUEST_END), with the protections it has there.

use std::{
    arch::asm,
    mem::offset_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_IO, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_fpu,
    kvm_guest_debug, kvm_regs, kvm_run, kvm_sregs, kvm_userspace_memory_region,
};
use nix::errno::Errno;

use crate::{
    descriptors, guest_copy,
    guest_memory::{GuestSpan, PAGE},
    host_call::{self, to_u64},
    kvm::MachineError,
    signals,
};

const CREATE_VM: Request = Request("KKM_CREATE_VM", 0xae01);
const GET_MMAP_SIZE: Request = Request("KKM_GET_VCPU_MMAP_SIZE", 0xae04);
const CREATE_VCPU: Request = Request("KKM_CREATE_VCPU", 0xae41);
const SET_MEMORY: Request = Request("KKM_SET_USER_MEMORY_REGION", 0x4020_ae46);
const RUN: Request = Request("KKM_RUN", 0xae80);
const GET_REGS: Request = Request("KKM_GET_REGS", 0x8090_ae81);
const SET_REGS: Request = Request("KKM_SET_REGS", 0x4090_ae82);
const GET_SREGS: Request = Request("KKM_GET_SREGS", 0x8138_ae83);
const SET_SREGS: Request = Request("KKM_SET_SREGS", 0x4138_ae84);
const GET_FPU: Request = Request("KKM_GET_FPU", 0x81a0_ae8c);
const SET_FPU: Request = Request("KKM_SET_FPU", 0x41a0_ae8d);
const SET_DEBUG: Request = Request("KKM_SET_GUEST_DEBUG", 0x4048_ae9b);
const GET_SAVE_INFO: Request = Request("KKM_GET_SAVE_INFO", 0x8040_aef6);
const GET_XSTATE: Request = Request("KKM_GET_XSTATE", 0x9000_aef8);
const SET_XSTATE: Request = Request("KKM_SET_XSTATE", 0x5000_aef9);
const CPU_SUPPORTED: Request = Request("KKM_CPU_SUPPORTED", 0xaefe);
const GET_IDENTITY: Request = Request("KKM_GET_IDENTITY", 0xaeff);

/// The requests that are made and that KVM has not, or that are not made of it.
pub const REQUESTS: [u32; 9] = [
    0x4090_ae82, // KKM_SET_REGS
    0x81a0_ae8c, // KKM_GET_FPU
    0x41a0_ae8d, // KKM_SET_FPU
    0x4048_ae9b, // KKM_SET_GUEST_DEBUG
    0x8040_aef6, // KKM_GET_SAVE_INFO
    0x9000_aef8, // KKM_GET_XSTATE
    0x5000_aef9, // KKM_SET_XSTATE
    0xaefe,      // KKM_CPU_SUPPORTED
    0xaeff,      // KKM_GET_IDENTITY
];

/// What the device says it is: "kkm".
const IDENTITY: u64 = 0x006b_6b6d;

/// The bytes of the opaque extended state.
pub const XSTATE_LEN: usize = 4096;

/// The pages of a CPU's area: the run page, the private area, and one that is not used here.
const AREA_LEN: u64 = 3 * PAGE;
/// Where the private area lies: `{u32 data, u32 reason}`.
const PRIVATE: usize = 4096;

/// Where fields of the run page lie. Of an exit by a port the details begin `{u8 direction, u8 size, u16 port}`, of a
/// breakpoint or a step with the exception's number.
const EXIT_REASON: usize = offset_of!(kvm_run, exit_reason);
const DETAILS: usize = offset_of!(kvm_run, __bindgen_anon_1);
const VALID: usize = offset_of!(kvm_run, kvm_valid_regs);
const DIRTY: usize = offset_of!(kvm_run, kvm_dirty_regs);
const REASON: usize = PRIVATE + 4;

/// `reason` in the private area.
const EXCEPTION: u32 = 0;
const OUT: u32 = 1;
const SYSCALL: u32 = 2;

/// The bits of a call's number that the port holds.
const NUMBER: u32 = 0x7fff;

/// A request: its name and its number.
#[derive(Clone, Copy)]
struct Request(&'static str, u64);

impl Request {
    fn refused(self, errno: Errno) -> MachineError {
        MachineError::Refused { request: self.0, errno }
    }
}

/// Whether the device behind `device` says that it is the module's.
pub fn is_kkm(device: &OwnedFd) -> bool {
    plain(device.as_raw_fd(), GET_IDENTITY, 0).is_ok_and(|identity| identity == IDENTITY)
}

/// A request with a number for an argument, or none.
fn plain(descriptor: RawFd, request: Request, argument: u64) -> Result<u64, MachineError> {
    let args = [u64::from(descriptor.unsigned_abs()), request.1, argument, 0, 0, 0];
    // SAFETY: the callers name requests that follow no pointer: the device refuses them or reads the number. What
    // they make are descriptors, which nobody has yet.
    unsafe { host_call::raw(libc::SYS_ioctl, args) }.map_err(|errno| request.refused(errno))
}

/// A request that writes a structure.
fn get<T>(descriptor: &OwnedFd, request: Request, value: &mut T) -> Result<(), MachineError> {
    let address = to_u64(std::ptr::from_mut(value).expose_provenance());
    with_structure(descriptor, request, address)
}

/// A request that reads a structure.
fn set<T>(descriptor: &OwnedFd, request: Request, value: &T) -> Result<(), MachineError> {
    let address = to_u64(std::ptr::from_ref(value).expose_provenance());
    with_structure(descriptor, request, address)
}

fn with_structure(descriptor: &OwnedFd, request: Request, at: u64) -> Result<(), MachineError> {
    let args = [u64::from(descriptor.as_raw_fd().unsigned_abs()), request.1, at, 0, 0, 0];
    // SAFETY: the two callers hold a reference to the structure whose size stands in the request's number, as the
    // module's own headers have it; it is plain numbers, of which every value is valid.
    let answer = unsafe { host_call::raw(libc::SYS_ioctl, args) };
    match answer {
        Ok(0) => Ok(()),
        // The module forgets the sign where it refuses an extended state.
        Ok(_) => Err(request.refused(Errno::EINVAL)),
        Err(errno) => Err(request.refused(errno)),
    }
}

/// A virtual machine. It belongs to the address space that made it.
#[derive(Debug)]
pub struct Machine {
    device: OwnedFd,
    vm: OwnedFd,
}

impl Machine {
    /// Makes a machine, from an opened `/dev/kkm`. `room` is guest memory for its own use, of which the first page
    /// stays mapped for its whole life: by that page the guest's copy of the page tables' first entry stays true.
    pub fn new(device: OwnedFd, room: GuestSpan) -> Result<Self, MachineError> {
        if !is_kkm(&device) {
            return Err(MachineError::NotTheDevice);
        }
        if plain(device.as_raw_fd(), CPU_SUPPORTED, 0)? != 0 {
            return Err(MachineError::Processor);
        }
        if plain(device.as_raw_fd(), GET_MMAP_SIZE, 0)? != AREA_LEN {
            return Err(GET_MMAP_SIZE.refused(Errno::EINVAL));
        }
        hold(room).map_err(|errno| MachineError::Refused { request: "mmap", errno })?;
        let made = plain(device.as_raw_fd(), CREATE_VM, 0)?;
        let vm = adopt(made).map_err(|errno| CREATE_VM.refused(errno))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: room.start(),
            memory_size: PAGE,
            userspace_addr: room.start(),
        };
        let machine = Self { device, vm };
        set(&machine.vm, SET_MEMORY, &region)?;
        Ok(machine)
    }

    /// Another descriptor of the device, for a further machine.
    pub fn device(&self) -> Result<OwnedFd, MachineError> {
        let high = descriptors::hide(&self.device);
        high.map_err(|errno| MachineError::Refused { request: "F_DUPFD", errno })
    }

    /// Makes virtual CPU number `id`.
    pub fn create_vcpu(&self, id: u64) -> Result<Vcpu, MachineError> {
        let made = plain(self.vm.as_raw_fd(), CREATE_VCPU, id)?;
        let fd = adopt(made).map_err(|errno| CREATE_VCPU.refused(errno))?;
        let area = map_area(&fd);
        let area = area.map_err(|errno| MachineError::Refused { request: "mmap", errno });
        area.map(|area| Vcpu { fd, area, has_run: false })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        descriptors::forget(&self.vm);
        descriptors::forget(&self.device);
    }
}

/// Maps guest memory for the machine's use, unless an earlier machine of this process or its parent's has. The first
/// page is written, so that page tables lead to it.
fn hold(room: GuestSpan) -> Result<(), Errno> {
    let protection = u64::from((libc::PROT_READ | libc::PROT_WRITE).cast_unsigned());
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let flags = u64::from(flags.cast_unsigned());
    let args = [room.start(), room.len(), protection, flags, u64::MAX, 0];
    // SAFETY: the mapping is made inside guest memory, where nothing of Rust's lies, and replaces nothing.
    match unsafe { host_call::raw(libc::SYS_mmap, args) } {
        Ok(_) | Err(Errno::EEXIST) => guest_copy::write(room.start(), &0_u64),
        Err(errno) => Err(errno),
    }
}

/// Takes a descriptor that a request has just made out of the guest's reach.
fn adopt(made: u64) -> Result<OwnedFd, Errno> {
    let number = RawFd::try_from(made).map_err(|_| Errno::EBADF)?;
    // SAFETY: the request made this descriptor for its caller, and nobody else has it.
    let low = unsafe { OwnedFd::from_raw_fd(number) };
    descriptors::hide(low)
}

/// Maps the pages that the device and the monitor share about a CPU.
fn map_area(fd: &OwnedFd) -> Result<NonNull<u8>, Errno> {
    let protection = u64::from((libc::PROT_READ | libc::PROT_WRITE).cast_unsigned());
    let flags = u64::from(libc::MAP_SHARED.cast_unsigned());
    let descriptor = u64::from(fd.as_raw_fd().unsigned_abs());
    let args = [0, AREA_LEN, protection, flags, descriptor, 0];
    // SAFETY: a new mapping where Linux has room takes nothing away.
    let base = unsafe { host_call::raw(libc::SYS_mmap, args) }?;
    let base = usize::try_from(base).expect("x86-64 has 64-bit addresses");
    NonNull::new(std::ptr::with_exposed_provenance_mut(base)).ok_or(Errno::ENOMEM)
}

/// Why a virtual CPU came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuReturn {
    /// The guest executed `syscall`. Its stack pointer is lowered by what the record takes.
    Syscall {
        /// The call's number, as far as a port holds it.
        number: u64,
    },
    /// The guest executed `out`, and stands behind it.
    Out,
    /// An exception, whose frame is at the guest's stack pointer.
    Exception,
    /// A breakpoint or a step.
    Debug {
        /// The exception's number.
        vector: u32,
    },
    /// A page that the host denies, or a `#GP`.
    Fault,
    /// A signal, or a request to come back.
    Interrupted,
    /// Something the interface does not have.
    Unexpected {
        /// `kvm_run.exit_reason`.
        reason: u32,
    },
}

/// A virtual CPU.
#[derive(Debug)]
pub struct Vcpu {
    fd: OwnedFd,
    area: NonNull<u8>,
    has_run: bool,
}

// SAFETY: the area is shared with the device only, and is reached through the one owner of the CPU.
unsafe impl Send for Vcpu {}

impl Vcpu {
    /// Runs the guest until something happens. A signal caught by this thread before or during the run makes it
    /// return.
    pub fn run(&mut self) -> Result<VcpuReturn, Errno> {
        self.clear();
        // SAFETY: the byte lies within the mapping.
        let byte = unsafe { self.area.add(offset_of!(kvm_run, immediate_exit)) };
        // SAFETY: it lives as long as `self` and is accessed atomically only; it is withdrawn below, before this
        // borrow of `self` ends.
        let byte = unsafe { AtomicU8::from_ptr(byte.as_ptr()) };
        // SAFETY: as above.
        unsafe { signals::set_immediate_exit(byte) };
        if signals::has_caught() {
            byte.store(1, Ordering::Relaxed);
        }
        let result = self.enter();
        // SAFETY: null needs to stay valid for nobody.
        unsafe { signals::set_immediate_exit(std::ptr::null()) };
        byte.store(0, Ordering::Relaxed);
        let result = result.map(|_| self.describe());
        // Interrupted before it began, the next run may be the first.
        self.has_run |= !matches!(result, Ok(VcpuReturn::Interrupted) | Err(Errno::EINTR));
        match result {
            Ok(reason) => Ok(reason),
            Err(Errno::EINTR) => Ok(VcpuReturn::Interrupted),
            // Where the record of a call cannot be written, the rest of the exit is told all the same.
            Err(Errno::EFAULT) => match self.describe() {
                call @ VcpuReturn::Syscall { .. } => Ok(call),
                VcpuReturn::Out
                | VcpuReturn::Exception
                | VcpuReturn::Debug { .. }
                | VcpuReturn::Fault
                | VcpuReturn::Interrupted
                | VcpuReturn::Unexpected { .. } => Ok(VcpuReturn::Fault),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Takes out of the area what an earlier run or thread has left there: the device would believe some of it.
    fn clear(&mut self) {
        for offset in [EXIT_REASON, VALID, VALID + 4, DIRTY, DIRTY + 4, REASON] {
            self.word(offset).store(0, Ordering::Relaxed);
        }
    }

    /// A word of the area.
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset < PRIVATE + 4096 && offset.is_multiple_of(4), "{offset}");
        // SAFETY: the word lies within the mapping.
        let word = unsafe { self.area.add(offset) };
        // SAFETY: it is aligned, lives as long as `self`, and is accessed atomically only.
        unsafe { AtomicU32::from_ptr(word.cast().as_ptr()) }
    }

    fn enter(&self) -> Result<u64, Errno> {
        let descriptor = u64::from(self.fd.as_raw_fd().unsigned_abs());
        if self.has_run {
            let args = [descriptor, RUN.1, 0, 0, 0, 0];
            // SAFETY: the guest runs on guest memory, which holds nothing of Rust's, and with registers of its own.
            return unsafe { host_call::raw(libc::SYS_ioctl, args) };
        }
        enter_cleanly(descriptor)
    }

    fn describe(&self) -> VcpuReturn {
        let load = |offset| self.word(offset).load(Ordering::Relaxed);
        let (reason, details) = (load(EXIT_REASON), load(DETAILS));
        match (reason, load(REASON)) {
            (KVM_EXIT_IO, SYSCALL) => {
                VcpuReturn::Syscall { number: u64::from(details >> 16 & NUMBER) }
            }
            (KVM_EXIT_IO, OUT) => VcpuReturn::Out,
            (KVM_EXIT_IO, EXCEPTION) => VcpuReturn::Exception,
            (KVM_EXIT_DEBUG, _) => VcpuReturn::Debug { vector: details },
            (0, _) => VcpuReturn::Interrupted,
            _ => VcpuReturn::Unexpected { reason },
        }
    }

    /// Whether the guest has run on this CPU, or has been given a whole state.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// `KKM_GET_SAVE_INFO`, for what it does besides: it cancels the call that the last run came back with, so that
    /// [`Self::set_registers`] decides how the guest goes on.
    pub fn cancel(&mut self) -> Result<(), MachineError> {
        let mut info = [0_u64; 8];
        get(&self.fd, GET_SAVE_INFO, &mut info)
    }

    /// The general registers.
    pub fn registers(&self) -> Result<kvm_regs, MachineError> {
        let mut registers = kvm_regs::default();
        get(&self.fd, GET_REGS, &mut registers)?;
        Ok(registers)
    }

    /// Sets the general registers.
    pub fn set_registers(&mut self, registers: &kvm_regs) -> Result<(), MachineError> {
        set(&self.fd, SET_REGS, registers)
    }

    /// The address of the last fault, 0 for a `#GP`.
    pub fn fault_address(&self) -> Result<u64, MachineError> {
        let mut special = kvm_sregs::default();
        get(&self.fd, GET_SREGS, &mut special)?;
        Ok(special.cr2)
    }

    /// Sets the bases of FS and GS.
    pub fn set_bases(&mut self, fs: u64, gs: u64) -> Result<(), MachineError> {
        let mut special = kvm_sregs::default();
        special.fs.base = fs;
        special.gs.base = gs;
        set(&self.fd, SET_SREGS, &special)
    }

    /// Has the guest stop behind each instruction, or not.
    pub fn set_stepping(&mut self, steps: bool) -> Result<(), MachineError> {
        let control = if steps { KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP } else { 0 };
        set(&self.fd, SET_DEBUG, &kvm_guest_debug { control, ..kvm_guest_debug::default() })
    }

    /// The x87 and SSE state.
    pub fn fpu(&self) -> Result<kvm_fpu, MachineError> {
        let mut fpu = kvm_fpu::default();
        get(&self.fd, GET_FPU, &mut fpu)?;
        Ok(fpu)
    }

    /// Sets the x87 and SSE state.
    pub fn set_fpu(&mut self, fpu: &kvm_fpu) -> Result<(), MachineError> {
        set(&self.fd, SET_FPU, fpu)
    }

    /// The whole extended state, in a form that only the module knows.
    pub fn xstate(&self) -> Result<Box<[u8; XSTATE_LEN]>, MachineError> {
        let mut state = Box::new([0; XSTATE_LEN]);
        get(&self.fd, GET_XSTATE, &mut *state)?;
        Ok(state)
    }

    /// Sets the whole extended state to one that [`Self::xstate`] gave. It must never come from a guest: the host's
    /// kernel loads it as it is.
    pub fn set_xstate(&mut self, state: &[u8; XSTATE_LEN]) -> Result<(), MachineError> {
        self.has_run = true;
        set(&self.fd, SET_XSTATE, state)
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        let base = to_u64(self.area.as_ptr().expose_provenance());
        // SAFETY: the mapping is this CPU's own, and nobody has a reference into it any more.
        _ = unsafe { host_call::raw(libc::SYS_munmap, [base, AREA_LEN, 0, 0, 0, 0]) };
        descriptors::forget(&self.fd);
    }
}

/// An area for `xrstor` by which every state becomes what it is at a processor's start.
#[repr(C, align(64))]
struct Initial([u32; 144]);

/// `KKM_RUN` with no state of the monitor's in the registers that the module leaves as they are at a first run.
fn enter_cleanly(descriptor: u64) -> Result<u64, Errno> {
    const MXCSR: u32 = 0x1f80;
    let mut initial = Initial([0; 144]);
    initial.0[6] = MXCSR;
    let answer: i64;
    // SAFETY: `xrstor` reads the aligned 576 bytes of `initial`, whose header is all zero, and puts x87, SSE, AVX and
    // AVX-512 into their initial states, which compiled code takes for lost. The guest runs on guest memory, which
    // holds nothing of Rust's. `rcx` and `r11` are lost to `syscall`.
    unsafe {
        asm!(
            "xrstor64 [r8]",
            "mov eax, 16", // ioctl
            "syscall",
            in("r8") &raw const initial,
            inlateout("rax") 0xe7_i64 => answer,
            in("rdi") descriptor,
            in("rsi") RUN.1,
            in("rdx") 0_u64,
            clobber_abi("sysv64"),
        );
    }
    match answer {
        -4095..0 => Err(Errno::from_raw(i32::try_from(-answer).expect("error numbers are small"))),
        value => Ok(value.cast_unsigned()),
    }
}
