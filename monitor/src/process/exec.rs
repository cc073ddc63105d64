//! `execve(2)`: all that can fail is found out here, then the monitor executes
//! itself anew, with the new program's arguments and environment.
//!
//! A fresh address space is what `execve` is about, and only the kernel gives
//! one. Process number, descriptors, mask, limits and working directory stay, as
//! they are the host's own; other threads end; a parent that waits in `vfork`
//! goes on.

use std::{
    ffi::CString,
    io::Write,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use monitor_launch::{Action, Descriptors, Device, LAUNCH_VARIABLE, LaunchRecord};
use monitor_sys::{
    Errno,
    descriptors::{self, Passed},
    proc_files,
    process::{self, ExecStrings},
    signals,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

use super::look;
use crate::{
    exitless, files::proc_list::has_kernels_threads, platform::PlatformError, thread::Thread,
};

/// What is told of [`can_have_no_machine`].
const NO_MACHINE: &str = "execute a program after unshare(CLONE_NEWPID) or its like: no machine can be made before a fork";

/// What an `execve` is made with. Kept by the thread, so that the parent of a
/// child that borrows its memory can free it.
#[derive(Debug)]
pub struct Execution {
    strings: ExecStrings,
    _program: PathBuf,
}

/// Executes a program. Returns only if that fails, or if a signal came first
/// (`None`). `file` is the program's, if its name leads there only until then.
pub fn execute(
    thread: &mut Thread,
    program: PathBuf,
    file: Option<Passed>,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
) -> Option<Errno> {
    if thread.process.shares_descriptors.load(Ordering::Relaxed) {
        // Below it gets descriptors of its own, and may go on with them.
        exitless::part(thread);
    }
    let room = descriptors::make_room();
    let opened = file.as_ref().map(own_link);
    if let Err(errno) = look::look(thread, opened.as_ref().unwrap_or(&program), arguments.clone()) {
        return Some(errno);
    }
    if thread.process.numbers_may_differ.load(Ordering::Relaxed) && can_have_no_machine(thread) {
        thread.process.log(NO_MACHINE);
        return Some(Errno::ENOMEM);
    }
    let mask = signals::block_all()?;
    // Linux does so too. What is opened here for the next monitor must not stay open
    // in a process that goes on.
    if thread.process.shares_descriptors.load(Ordering::Relaxed)
        && let Err(errno) = process::unshare_descriptors()
    {
        signals::set_mask(mask);
        return Some(errno);
    }
    let errno = match Successor::prepare(thread, &program, file, mask) {
        Ok(successor) => {
            let strings = with_record(&successor, arguments, environment);
            let execution = thread.execution.insert(Execution { strings, _program: program });
            // The next program has the guest's limits.
            drop(room);
            thread.process.tell_stats();
            execution.strings.execute(successor.monitor.as_fd())
        }
        Err(errno) => errno,
    };
    thread.execution = None;
    signals::set_mask(mask);
    Some(errno)
}

/// Whether the next program could have no machine: where the kernel needs a thread in its process for that, and lets none
/// begin there, since its children are to have other numbers than it (`pid_namespaces(7)`).
fn can_have_no_machine(thread: &Thread) -> bool {
    let own = proc_files::link("thread-self/ns/pid");
    // One without a process has no name.
    let of_children = proc_files::link("thread-self/ns/pid_for_children");
    own.is_ok() && own != of_children && has_kernels_threads(&thread.viewer())
}

/// The name of an open file that a thread finds even after the first has ended.
fn own_link<T: AsRawFd>(file: &T) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
}

/// The descriptors the next monitor gets. They live on the stack of a child that
/// borrows its parent's memory, so that the parent never closes their numbers.
struct Successor {
    monitor: Passed,
    record: Passed,
    _device: Passed,
    _log: Option<Passed>,
    _trace: Option<Passed>,
    _program: Option<Passed>,
    _procfs: Option<Passed>,
}

impl Successor {
    fn prepare(
        thread: &Thread,
        program: &Path,
        file: Option<Passed>,
        mask: u64,
    ) -> Result<Self, Errno> {
        let process = &thread.process;
        let monitor = process.host.monitor.as_ref().ok_or(Errno::ENOSYS)?;
        let monitor = descriptors::pass_on(monitor)?;
        let (kind, device) = process.machine.device().map_err(|error| refused(thread, &error))?;
        let passed = descriptors::pass_on(&device);
        descriptors::close(device);
        let device = passed?;
        let pass =
            |file: &Option<std::fs::File>| file.as_ref().map(descriptors::pass_on).transpose();
        let (log, trace) = (pass(&process.host.log)?, pass(&process.host.trace)?);
        let procfs = proc_files::root().map(descriptors::pass_on).transpose()?;
        let number = |descriptor: &Option<Passed>| descriptor.as_ref().map(AsRawFd::as_raw_fd);
        let record = LaunchRecord {
            action: Action::Run,
            program: program.as_os_str().as_bytes().to_vec(),
            device: Device { kind, descriptor: device.as_raw_fd() },
            release_suffix: process.host.release_suffix,
            signal_mask: Some(mask),
            ignored: ignored(thread),
            filters: thread.filters.encode(),
            asks_agent: process.host.asks_agent,
            exitless: process.host.exitless,
            findings: process.machine.findings(),
            stats: process.host.stats,
            own_filter: process.host.own_filter,
            descriptors: Descriptors {
                monitor: Some(monitor.as_raw_fd()),
                log: number(&log),
                trace: number(&trace),
                program: number(&file),
                procfs: number(&procfs),
            },
        };
        let record = write_record(&record)?;
        Ok(Self {
            monitor,
            record,
            _device: device,
            _log: log,
            _trace: trace,
            _program: file,
            _procfs: procfs,
        })
    }
}

/// The signals that are ignored, if no other thread can change that any more.
fn ignored(thread: &Thread) -> Option<u64> {
    let process = &thread.process;
    let is_alone = Arc::strong_count(process) == 1 && Arc::strong_count(&process.actions) == 1;
    is_alone.then(|| process.actions.ignored())
}

/// The record in a sealed file: it carries the filters, and other threads of the
/// guest's run until the kernel ends them.
fn write_record(record: &LaunchRecord) -> Result<Passed, Errno> {
    let host = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create("km-launch", flags).map_err(host)?);
    file.write_all(&record.encode()).map_err(|_| Errno::ENOMEM)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(host)?;
    let passed = descriptors::pass_on(&file)?;
    // Until here another thread could write to it, or put another file at its number.
    if is_sealed(&passed, seals, &record.encode()) { Ok(passed) } else { Err(Errno::EAGAIN) }
}

/// Whether a file out of the guest's reach has this content for ever.
fn is_sealed(file: &Passed, seals: SealFlags, content: &[u8]) -> bool {
    let mut found = vec![0; content.len() + 1];
    let read = rustix::io::pread(file, found.as_mut_slice(), 0);
    fcntl_get_seals(file).is_ok_and(|found| found.contains(seals))
        && read == Ok(content.len())
        && found.starts_with(content)
}

fn refused(thread: &Thread, error: &PlatformError) -> Errno {
    thread.process.log(&format!("execute a program: {error}"));
    Errno::ENOMEM
}

/// The vectors for `execve`, with the record in front of the environment.
fn with_record(
    successor: &Successor,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
) -> ExecStrings {
    let record = format!("{LAUNCH_VARIABLE}={}", successor.record.as_raw_fd()).into_bytes();
    let string = |bytes: Vec<u8>| CString::new(bytes).expect("read up to its NUL");
    let environment = std::iter::once(record).chain(environment).map(string).collect();
    ExecStrings::new(arguments.into_iter().map(string).collect(), environment)
}
