//! `/dev/kvm`: a virtual machine, its memory slots and its virtual CPUs.
//!
//! Thin over `kvm-ioctls`. What is added is what makes it safe: slots can only
//! be made of guest memory, of a pool of [`Frames`] or of the vDSO, so the guest
//! can reach nothing else.

use std::{
    ops::Range,
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_MEM_READONLY, Msrs, kvm_device_attr, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_userspace_memory_region, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Error, Kvm, SyncReg, VcpuExit, VcpuFd, VmFd};
use nix::errno::Errno;

use crate::{
    descriptors, frames::Frames, guest_memory::GuestSpan, host_call, host_vdso::HostVdso, signals,
};

/// The structures and numbers of KVM's interface that the platform uses.
pub use kvm_bindings as bindings;

/// `_IOW(KVMIO, 0xe1, struct kvm_device_attr)`; `kvm-ioctls` has it on arm64 only.
const KVM_SET_DEVICE_ATTR: u64 = 0x4018_aee1;

/// `_IO(KVMIO, 0x44)`, which `kvm-ioctls` does not have.
const KVM_SET_NR_MMU_PAGES: u64 = 0xae44;

/// The requests that are made: by this module, and by `kvm-ioctls` for it.
pub const REQUESTS: [u32; 18] = [
    0xae00,      // KVM_GET_API_VERSION
    0xae01,      // KVM_CREATE_VM
    0xae04,      // KVM_GET_VCPU_MMAP_SIZE
    0xc008_ae05, // KVM_GET_SUPPORTED_CPUID
    0xae41,      // KVM_CREATE_VCPU
    0xae44,      // KVM_SET_NR_MMU_PAGES
    0x4020_ae46, // KVM_SET_USER_MEMORY_REGION
    0xae80,      // KVM_RUN
    0x8090_ae81, // KVM_GET_REGS
    0x8138_ae83, // KVM_GET_SREGS
    0x4138_ae84, // KVM_SET_SREGS
    0x4008_ae89, // KVM_SET_MSRS
    0x4008_ae90, // KVM_SET_CPUID2
    0x8040_ae9f, // KVM_GET_VCPU_EVENTS
    0x9000_aea4, // KVM_GET_XSAVE
    0x5000_aea5, // KVM_SET_XSAVE
    0x4188_aea7, // KVM_SET_XCRS
    0x4018_aee1, // KVM_SET_DEVICE_ATTR
];

/// The only version of the interface there is.
const API_VERSION: i32 = 12;

/// Why a virtual machine or CPU could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The device does not speak the one version of the interface.
    #[error("the device speaks version {found} of the KVM interface, {API_VERSION} is needed")]
    Version {
        /// What it said, or -1.
        found: i32,
    },
    /// The device is not the module's.
    #[error("the device is not Kontain's module kkm: load that, or use /dev/kvm")]
    NotTheDevice,
    /// The module refuses this processor.
    #[error("the module kkm does not support this processor: use /dev/kvm, or another machine")]
    Processor,
    /// The kernel refused a request.
    #[error("{request}: {errno}")]
    Refused {
        /// The request's name.
        request: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// Puts the request's name to the kernel's answer.
fn named<T>(request: &'static str, result: Result<T, Error>) -> Result<T, MachineError> {
    result.map_err(|error| MachineError::Refused { request, errno: Errno::from_raw(error.errno()) })
}

/// A virtual machine. It belongs to the address space that made it.
#[derive(Debug)]
pub struct Machine {
    device: Kvm,
    vm: VmFd,
    /// The pool stays mapped as long as the guest may use it.
    frames: Arc<Frames>,
    slots: Mutex<u32>,
}

impl Machine {
    /// Makes a machine without memory, from an opened `/dev/kvm`.
    pub fn new(device: OwnedFd, frames: Arc<Frames>) -> Result<Self, MachineError> {
        // SAFETY: the descriptor is owned, and handed over.
        let device = unsafe { Kvm::from_raw_fd(device.into_raw_fd()) };
        let found = device.get_api_version();
        if found != API_VERSION {
            return Err(MachineError::Version { found });
        }
        let vm = named("KVM_CREATE_VM", create_vm(&device))?;
        let high = hide("KVM_CREATE_VM", vm.as_raw_fd())?;
        // SAFETY: `high` is a descriptor of the machine, owned and handed over.
        let vm = named("KVM_CREATE_VM", unsafe { device.create_vmfd_from_rawfd(high) })?;
        Ok(Self { device, vm, frames, slots: Mutex::new(0) })
    }

    /// Another descriptor of the device, for a further machine.
    pub fn device(&self) -> Result<OwnedFd, MachineError> {
        let high = hide("F_DUPFD", self.device.as_raw_fd())?;
        // SAFETY: `hide` just made this descriptor and gave it away.
        Ok(unsafe { OwnedFd::from_raw_fd(high) })
    }

    /// The features a virtual CPU can have here, as `cpuid` shows them.
    pub fn supported_cpuid(&self) -> Result<CpuId, MachineError> {
        let result = self.device.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        named("KVM_GET_SUPPORTED_CPUID", result)
    }

    /// Makes guest memory visible at the guest-physical address it has anyway.
    pub fn add_guest_memory(&self, span: GuestSpan) -> Result<(), MachineError> {
        self.add_slot(span.start(), span.start(), span.len(), 0)
    }

    /// Makes a part of the pool of frames visible. `address` is the guest-physical address of frame 0.
    ///
    /// # Panics
    ///
    /// If the pool has no such part.
    pub fn add_frames(&self, address: u64, frames: Range<usize>) -> Result<(), MachineError> {
        assert!(frames.start < frames.end && frames.end <= self.frames.count(), "{frames:?}");
        let offset = host_call::to_u64(frames.start) * crate::guest_memory::PAGE;
        let len = host_call::to_u64(frames.len()) * crate::guest_memory::PAGE;
        self.add_slot(address + offset, self.frames.host_address() + offset, len, 0)
    }

    /// Lets KVM keep so many tables of its own of what the guest's say, at most; more are made from the oldest.
    /// It keeps those of memory that is unmapped too, and without a limit has more of them the more slots
    /// there are.
    pub fn limit_tables(&self, pages: u64) -> Result<(), MachineError> {
        let descriptor = u64::from(self.vm.as_raw_fd().unsigned_abs());
        let args = [descriptor, KVM_SET_NR_MMU_PAGES, pages, 0, 0, 0];
        // SAFETY: the request takes a number, and changes what KVM caches only.
        let result = unsafe { host_call::raw(libc::SYS_ioctl, args) };
        result
            .map(|_| ())
            .map_err(|errno| MachineError::Refused { request: "KVM_SET_NR_MMU_PAGES", errno })
    }

    /// Makes the host's vDSO visible, read-only, at guest-physical `address`.
    pub fn add_vdso(&self, vdso: HostVdso, address: u64) -> Result<(), MachineError> {
        self.add_slot(address, vdso.start, vdso.len, KVM_MEM_READONLY)
    }

    /// Only for memory the guest may reach: guest memory, the pool of frames that
    /// `self` keeps alive, or the kernel's vDSO, which is never unmapped.
    fn add_slot(&self, guest: u64, host: u64, len: u64, flags: u32) -> Result<(), MachineError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let region = kvm_userspace_memory_region {
            slot: *slots,
            flags,
            guest_phys_addr: guest,
            memory_size: len,
            userspace_addr: host,
        };
        // SAFETY: the three callers above name memory that stays the guest's for
        // as long as the machine lives, and holds no object of Rust's but the
        // atomic words of the frames.
        let result = unsafe { self.vm.set_user_memory_region(region) };
        named("KVM_SET_USER_MEMORY_REGION", result)?;
        *slots += 1;
        Ok(())
    }

    /// Makes virtual CPU number `id`, with the features `cpuid` lists.
    pub fn create_vcpu(&self, id: u64, cpuid: &CpuId) -> Result<Vcpu, MachineError> {
        let vcpu = named("KVM_CREATE_VCPU", self.vm.create_vcpu(id))?;
        let high = hide("KVM_CREATE_VCPU", vcpu.as_raw_fd())?;
        // SAFETY: `high` is a descriptor of this machine's CPU, owned and handed over.
        let vcpu = named("KVM_CREATE_VCPU", unsafe { self.vm.create_vcpu_from_rawfd(high) })?;
        let mut vcpu = Vcpu { fd: vcpu, _frames: Arc::clone(&self.frames) };
        vcpu.fd.set_sync_valid_reg(SyncReg::Register);
        named("KVM_SET_CPUID2", vcpu.fd.set_cpuid2(cpuid))?;
        vcpu.show_host_time()?;
        Ok(vcpu)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        descriptors::forget(&self.vm);
        descriptors::forget(&self.device);
    }
}

/// A stop signal cannot be blocked, and interrupts the making of a machine.
fn create_vm(device: &Kvm) -> Result<VmFd, Error> {
    loop {
        match device.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            made => return made,
        }
    }
}

/// Duplicates a descriptor out of the guest's reach.
fn hide(request: &'static str, low: RawFd) -> Result<RawFd, MachineError> {
    // SAFETY: the caller's object keeps the descriptor open during this borrow.
    let low = unsafe { std::os::fd::BorrowedFd::borrow_raw(low) };
    let high = descriptors::hide(low.as_fd());
    high.map(IntoRawFd::into_raw_fd).map_err(|errno| MachineError::Refused { request, errno })
}

/// Why a virtual CPU came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuReturn {
    /// The guest executed `out` on this port.
    Out {
        /// The port's number.
        port: u16,
    },
    /// The guest executed `in`.
    In,
    /// The guest touched a guest-physical address without a slot.
    Hole {
        /// The address.
        address: u64,
    },
    /// The host's memory denied what the guest wanted; nobody says where.
    Denied,
    /// A signal, or a request to come back.
    Interrupted,
    /// Something a guest at CPL3 should not be able to cause.
    Unexpected {
        /// `kvm_run.exit_reason`.
        reason: u32,
    },
}

/// A virtual CPU.
#[derive(Debug)]
pub struct Vcpu {
    fd: VcpuFd,
    _frames: Arc<Frames>,
}

impl Vcpu {
    /// Runs the guest until something happens. A signal caught by this thread
    /// before or during the run makes it return.
    pub fn run(&mut self) -> Result<VcpuReturn, Errno> {
        let immediate_exit = &raw mut self.fd.get_kvm_run().immediate_exit;
        // SAFETY: the byte lies in the run page, which lives as long as `self`;
        // it is withdrawn below, before this borrow of `self` ends.
        let byte = unsafe { AtomicU8::from_ptr(immediate_exit) };
        // SAFETY: as above.
        unsafe { signals::set_immediate_exit(byte) };
        if signals::has_caught() {
            byte.store(1, Ordering::Relaxed);
        }
        let result = self.run_on();
        // SAFETY: null needs to stay valid for nobody.
        unsafe { signals::set_immediate_exit(std::ptr::null()) };
        result
    }

    /// Runs the guest although a caught signal waits: to leave a place where it
    /// cannot be delivered.
    pub fn run_on(&mut self) -> Result<VcpuReturn, Errno> {
        let result = self.fd.run().map(|exit| describe(&exit));
        let mut result = result.map_err(|error| Errno::from_raw(error.errno()));
        if result == Err(Errno::EAGAIN) {
            // A machine's first run makes a thread of KVM's own, which the guest's
            // limit of processes must not prevent.
            let _room = crate::process::make_room_for_threads();
            result = self
                .fd
                .run()
                .map(|exit| describe(&exit))
                .map_err(|error| Errno::from_raw(error.errno()));
        }
        match result {
            Ok(VcpuReturn::Unexpected { .. }) => {
                Ok(VcpuReturn::Unexpected { reason: self.fd.get_kvm_run().exit_reason })
            }
            Err(Errno::EINTR) => {
                self.fd.set_kvm_immediate_exit(0);
                self.refresh_registers()?;
                Ok(VcpuReturn::Interrupted)
            }
            Err(Errno::EFAULT) => {
                self.refresh_registers()?;
                Ok(VcpuReturn::Denied)
            }
            other => other,
        }
    }

    /// Has a first run do what it does for the whole machine, and come back before the guest goes on.
    pub fn begin(&mut self) -> Result<(), Errno> {
        self.fd.set_kvm_immediate_exit(1);
        let result = self.run_on();
        self.fd.set_kvm_immediate_exit(0);
        result.map(drop)
    }

    /// Completes an access to a hole or a port without letting the guest go on, so
    /// that it can be put back to where it was.
    pub fn complete_access(&mut self) {
        self.fd.set_kvm_immediate_exit(1);
        // It answers `EINTR`, having done what was left to do.
        _ = self.fd.run();
        self.fd.set_kvm_immediate_exit(0);
    }

    /// Whether an exception is on its way to the guest: it comes with the next run,
    /// wherever the registers are set to until then.
    pub fn has_exception(&self) -> Result<bool, Errno> {
        let events = self.fd.get_vcpu_events().map_err(|error| Errno::from_raw(error.errno()))?;
        Ok(events.exception.injected != 0 || events.exception.pending != 0)
    }

    /// The general registers as of the last return.
    pub fn registers(&self) -> kvm_regs {
        self.fd.sync_regs().regs
    }

    /// Sets the general registers, with effect from the next run.
    pub fn set_registers(&mut self, registers: &kvm_regs) {
        self.fd.sync_regs_mut().regs = *registers;
        self.fd.set_sync_dirty_reg(SyncReg::Register);
    }

    /// An interrupted run does not bring the registers along.
    fn refresh_registers(&mut self) -> Result<(), Errno> {
        let registers = self.fd.get_regs().map_err(|error| Errno::from_raw(error.errno()))?;
        self.fd.sync_regs_mut().regs = registers;
        self.fd.clear_sync_dirty_reg(SyncReg::Register);
        Ok(())
    }

    /// `KVM_GET_SREGS`: segments, control registers, bases.
    pub fn special_registers(&self) -> Result<kvm_sregs, MachineError> {
        named("KVM_GET_SREGS", self.fd.get_sregs())
    }

    /// `KVM_SET_SREGS`.
    pub fn set_special_registers(&self, registers: &kvm_sregs) -> Result<(), MachineError> {
        named("KVM_SET_SREGS", self.fd.set_sregs(registers))
    }

    /// `KVM_SET_MSRS`: pairs of index and value.
    pub fn set_msrs(&self, values: &[(u32, u64)]) -> Result<(), MachineError> {
        let entry =
            |&(index, data): &(u32, u64)| kvm_msr_entry { index, data, ..Default::default() };
        let entries: Vec<_> = values.iter().map(entry).collect();
        let refused = MachineError::Refused { request: "KVM_SET_MSRS", errno: Errno::EINVAL };
        let Ok(msrs) = Msrs::from_entries(&entries) else {
            return Err(refused);
        };
        let set = named("KVM_SET_MSRS", self.fd.set_msrs(&msrs))?;
        if set == entries.len() { Ok(()) } else { Err(refused) }
    }

    /// `KVM_SET_XCRS`: which extended states the guest uses.
    pub fn set_xcr0(&self, value: u64) -> Result<(), MachineError> {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0].value = value;
        named("KVM_SET_XCRS", self.fd.set_xcrs(&xcrs))
    }

    /// `KVM_GET_XSAVE`: the extended state in the standard format.
    pub fn extended_state(&self) -> Result<kvm_xsave, MachineError> {
        named("KVM_GET_XSAVE", self.fd.get_xsave())
    }

    /// `KVM_SET_XSAVE`.
    pub fn set_extended_state(&self, state: &kvm_xsave) -> Result<(), MachineError> {
        // SAFETY: XCR0 never holds a state of dynamic size (the platform masks it
        // with 0xe7), so the kernel reads no more than the structure's 4096 bytes.
        named("KVM_SET_XSAVE", unsafe { self.fd.set_xsave(state) })
    }

    /// Makes the guest's time stamp counter the host's, on which the vDSO counts.
    fn show_host_time(&self) -> Result<(), MachineError> {
        let offset = 0_u64;
        let attribute = kvm_device_attr {
            group: kvm_bindings::KVM_VCPU_TSC_CTRL,
            attr: u64::from(kvm_bindings::KVM_VCPU_TSC_OFFSET),
            addr: host_call::to_u64((&raw const offset).addr()),
            flags: 0,
        };
        let attribute = host_call::to_u64((&raw const attribute).addr());
        let descriptor = u64::from(self.fd.as_raw_fd().unsigned_abs());
        let args = [descriptor, KVM_SET_DEVICE_ATTR, attribute, 0, 0, 0];
        // SAFETY: the request reads the attribute, which lives on this stack, and the word it names, which does too.
        match unsafe { host_call::raw(libc::SYS_ioctl, args) } {
            // Without the attribute, or in a kernel that knows of none, guest and host share the counter.
            Ok(_) | Err(Errno::ENXIO | Errno::EINVAL | Errno::ENOTTY) => Ok(()),
            Err(errno) => Err(MachineError::Refused { request: "KVM_VCPU_TSC_OFFSET", errno }),
        }
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        descriptors::forget(&self.fd);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most of the library's exits cannot occur")]
fn describe(exit: &VcpuExit<'_>) -> VcpuReturn {
    match *exit {
        VcpuExit::IoOut(port, _) => VcpuReturn::Out { port },
        VcpuExit::IoIn(..) => VcpuReturn::In,
        VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _) => {
            VcpuReturn::Hole { address }
        }
        VcpuExit::Intr => VcpuReturn::Interrupted,
        _ => VcpuReturn::Unexpected { reason: 0 },
    }
}
