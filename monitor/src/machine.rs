//! Puts the parts together: a device, a program, a process, its first thread.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use monitor_launch::{DeviceKind, Findings};
use monitor_sys::{
    Errno, asking, descriptors,
    guest_memory::GuestMemory,
    proc_files, process as own,
    process_view::{self, View},
    signals,
};
use rustix::{
    process::{Resource, getegid, geteuid, getgid, getrlimit, getuid},
    rand::{GetRandomFlags, getrandom},
};

use crate::{
    exitless::first,
    layout::GIB,
    loader::{
        LoadError,
        image::{Executable, Image},
        stack::{self, Identity, Stack, Strings},
    },
    memory::{AddressSpace, limits},
    platform::{self, PlatformError},
    process::{Host, Process},
    run_loop,
    seccomp::Filters,
    signal::action::Actions,
    thread::Thread,
};

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program, or what it needs, cannot be run.
    #[error(transparent)]
    Program(#[from] LoadError),
    /// The device cannot make the virtual machine.
    #[error("make a virtual machine: {0}")]
    Platform(#[from] PlatformError),
    /// This build of the monitor cannot hold guests.
    #[error(transparent)]
    Memory(#[from] monitor_sys::guest_memory::NotOurs),
    /// The host refused something every host grants.
    #[error("{step}: {errno}")]
    Host {
        /// What was asked for.
        step: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl StartError {
    /// What a shell would exit with: 126 or 127 for the program's fault, 125 for
    /// the host's.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Program(error) => error.exit_status(),
            Self::Platform(_) | Self::Memory(_) | Self::Host { .. } => 125,
        }
    }
}

/// What to run.
#[derive(Debug)]
pub struct Invocation {
    /// The program's path, as it was called by.
    pub program: PathBuf,
    /// Where its file is found instead, if it was executed by descriptor.
    pub file: Option<PathBuf>,
    /// Its arguments, its name among them.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment.
    pub environment: Vec<Vec<u8>>,
    /// The signals it starts with blocked, or `None` for the monitor's own.
    pub signal_mask: Option<u64>,
    /// The signals it starts with ignored, or `None` for those that the kernel says.
    pub ignored: Option<u64>,
    /// The seccomp filters its calls have to pass.
    pub filters: Filters,
    /// What the machine before this one has found out.
    pub findings: Findings,
    /// What kind of device makes the machine.
    pub kind: DeviceKind,
}

impl Invocation {
    fn place(&self) -> &Path {
        self.file.as_ref().unwrap_or(&self.program)
    }
}

/// Finds out whether a program could run with this device, and runs nothing. If it could, calls `passed`
/// with what else it has found out, before it takes anything apart.
pub fn check(
    device: OwnedFd,
    invocation: &Invocation,
    passed: impl FnOnce(&Findings),
) -> Result<(), StartError> {
    GuestMemory::claim()?;
    Executable::open(invocation.place(), invocation.arguments.clone())?;
    let machine = platform::open(invocation.kind, device, &invocation.findings)?;
    let _vcpu = machine.create_vcpu()?;
    passed(&machine.findings());
    Ok(())
}

/// Becomes the program. Returns only if it cannot be started.
pub fn run(device: OwnedFd, invocation: &Invocation, host: Host) -> StartError {
    match start(device, invocation, host) {
        Ok(thread) => {
            thread.run_here();
            StartError::Host { step: "run the first thread", errno: Errno::ECHILD }
        }
        Err(error) => error,
    }
}

fn start(device: OwnedFd, invocation: &Invocation, mut host: Host) -> Result<Thread, StartError> {
    let memory = GuestMemory::claim()?;
    limits::adopt();
    let _room = descriptors::make_room();
    proc_files::prepare(host.procfs.take());
    if host.asks_agent {
        let made = asking::prepare(monitor_launch::ASKING_PAGE);
        made.map_err(|errno| host_error("make the page that an agent is asked from", errno))?;
    }
    let executable = Executable::open(invocation.place(), invocation.arguments.clone())?;
    let machine = platform::open(invocation.kind, device, &invocation.findings)?;
    let [mapping_slide, program_slide, heap_slide] = random_slides()?;
    let memory = Arc::new(AddressSpace::new(memory, Arc::clone(&machine), mapping_slide));
    let identity = Identity {
        users: [getuid().as_raw(), geteuid().as_raw()],
        groups: [getgid().as_raw(), getegid().as_raw()],
        vdso: machine.vdso(),
        keeps_bases: machine.keeps_bases(),
    };
    let image = executable.map(&memory, program_slide, heap_slide)?;
    memory.start_heap(image.heap + heap_slide);
    let name = std::os::unix::ffi::OsStrExt::as_bytes(invocation.program.as_os_str());
    let strings =
        Strings { arguments: &executable.arguments, environment: &invocation.environment, name };
    let limit = getrlimit(Resource::Stack).current.unwrap_or(GIB);
    let stack = stack::build(&memory, limit, &image, &strings, identity)?;
    let path = name_of(executable.file()).unwrap_or_else(|_| executable.path.clone());
    let file = descriptors::hide(executable.file());
    let file = file.map_err(|errno| host_error("keep the program's file", errno))?;
    if let Some(opened) = host.program.replace(file) {
        descriptors::close(opened);
    }
    show(&image, &stack, &host);
    // By the name it was called by: that of a script or link, not what it leads to.
    let called = invocation.program.file_name();
    own::set_name(called.map_or(b"", std::os::unix::ffi::OsStrExt::as_bytes));
    let actions =
        prepare_signals(invocation.ignored).map_err(|errno| host_error("set up signals", errno))?;
    let process = Process::new(
        memory,
        machine,
        Arc::new(actions),
        path,
        stack.auxiliary,
        Arc::new(host),
        run_loop::run_to_end,
    );
    let mut cpu = process.take_vcpu()?;
    cpu.registers_mut().rip = image.start;
    cpu.registers_mut().rsp = stack.pointer;
    descriptors::close_stand_ins();
    if let Some(mask) = invocation.signal_mask {
        signals::set_mask(mask);
    }
    let mut thread = Thread::new(Arc::new(process), cpu, true);
    thread.filters = invocation.filters.clone();
    first::expect(&mut thread);
    Ok(thread)
}

fn host_error(step: &'static str, errno: Errno) -> StartError {
    StartError::Host { step, errno }
}

fn prepare_signals(ignored: Option<u64>) -> Result<Actions, Errno> {
    signals::undo_runtime_setup()?;
    ignored.map_or_else(Actions::inherited, |ignored| Ok(Actions::ignoring(ignored)))
}

/// How many pages the mappings and the program are moved by, and how many bytes
/// the heap.
fn random_slides() -> Result<[u64; 3], StartError> {
    let mut bytes = [0_u8; 24];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty());
    filled.map_err(|error| host_error("getrandom", Errno::from_raw(error.raw_os_error())))?;
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    // 16 GiB for programs and mappings, 32 MiB for the heap, as Linux has it.
    Ok([word(0) & 0x3f_ffff, word(8) & 0x3f_ffff, word(16) & 0x1ff_f000])
}

/// Lets the host see the guest's part of the process. A kernel that cannot only
/// shows more of the monitor.
fn show(image: &Image, stack: &Stack, host: &Host) {
    let view = View {
        code: image.code,
        data: image.data,
        stack: stack.pointer,
        arguments: stack.arguments,
        environment: stack.environment,
        auxiliary: stack.auxiliary.clone(),
        descriptors: host.shown(),
    };
    _ = process_view::show(&view);
}

fn name_of(file: &File) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
}

/// A file for the monitor's own words that the guest cannot close.
pub fn hidden_copy<T: AsFd>(file: T) -> Option<File> {
    descriptors::hide(file).ok().map(File::from)
}
