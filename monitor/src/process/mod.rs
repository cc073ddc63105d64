//! A guest process: what its threads share.

pub mod alone;
pub mod aside;
pub mod birth;
pub mod borrow;
pub mod exec;
pub mod fork;
pub mod identity;
mod last_words;
pub mod look;

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use monitor_launch::Exitless;
use monitor_sys::{descriptors, proc_files, process_view::Numbers};

use aside::Aside;

use crate::{
    exitless::{Helper, Stats},
    files::neighbour::Viewer,
    memory::AddressSpace,
    platform::{Machine, PlatformError, Vcpu},
    seccomp::SharedFilters,
    signal::action::Actions,
    thread::Thread,
};

/// What the threads of a guest process share.
#[derive(Debug)]
pub struct Process {
    /// Its memory.
    pub memory: Arc<AddressSpace>,
    /// Its virtual machine.
    pub machine: Arc<dyn Machine>,
    /// What it wants done about signals.
    pub actions: Arc<Actions>,
    /// The program's path, as `/proc/self/exe` showed it at the start.
    pub executable: PathBuf,
    /// Its auxiliary vector, as `/proc/self/auxv` shows it.
    pub auxiliary: Vec<u64>,
    /// What it needs of the host.
    pub host: Arc<Host>,
    /// Filters that one of its threads has given to all.
    pub shared_filters: SharedFilters,
    /// What `prctl(PR_SET_DUMPABLE)` was set to.
    pub dumpable: AtomicU64,
    /// Makes calls for its threads.
    pub helper: Helper,
    /// What became of its calls, if that is counted.
    pub stats: Option<Stats>,
    /// Runs a thread to its end and returns its status; the run loop's, which lies
    /// above.
    pub run: fn(&mut Thread) -> u32,
    /// Whether it has its descriptors in common with another process.
    pub shares_descriptors: AtomicBool,
    /// Whether it may be told of messages by `mq_notify(2)`.
    pub is_notified_of_messages: AtomicBool,
    /// Whether its children may be about to have other numbers than it: another namespace of processes.
    pub numbers_may_differ: AtomicBool,
    /// What opens files that its threads must not find open.
    pub aside: Aside,
    descriptors_differ: AtomicBool,
    /// CPUs of threads that have ended: the device frees none before the machine.
    idle: Mutex<Vec<Box<dyn Vcpu>>>,
    /// Calls without a row that were logged, at most a few.
    unknown: Mutex<Vec<u64>>,
}

/// What a process and its children need of the host.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Host {
    /// `uname(2)` shows the platform's name behind the release.
    pub release_suffix: bool,
    /// An agent outside is asked about the calls that the oldest filter names.
    pub asks_agent: bool,
    /// Whether its calls are made without leaving the guest.
    pub exitless: Exitless,
    /// Whether each process says at its end what became of its calls.
    pub stats: bool,
    /// One of the filters that the kernel counts is the monitor's own.
    pub own_filter: bool,
    /// Where every call is written down, if anywhere.
    pub trace: Option<File>,
    /// Where the monitor says what it must.
    pub log: Option<File>,
    /// The monitor's own program, which `execve(2)` starts anew.
    pub monitor: Option<OwnedFd>,
    /// The program's file, which `/proc/<pid>/exe` is shown to lead to.
    pub program: Option<OwnedFd>,
    /// Procfs's root, as the monitor before this one had it.
    pub procfs: Option<OwnedFd>,
}

/// The status of a monitor that could not go on, as of a shell's or docker's own
/// failures.
pub const MONITOR_FAILED: u32 = 125;

/// The number of a program's standard error.
const STANDARD_ERROR: RawFd = 2;

/// How many different unknown calls are logged.
const UNKNOWN_MAX: usize = 16;

impl Process {
    /// A process without threads.
    pub fn new(
        memory: Arc<AddressSpace>,
        machine: Arc<dyn Machine>,
        actions: Arc<Actions>,
        executable: PathBuf,
        auxiliary: Vec<u64>,
        host: Arc<Host>,
        run: fn(&mut Thread) -> u32,
    ) -> Self {
        let helper = Helper::new(host.exitless);
        let stats = host.stats.then(Stats::default);
        Self {
            memory,
            machine,
            actions,
            executable,
            auxiliary,
            host,
            shared_filters: SharedFilters::default(),
            dumpable: AtomicU64::new(1),
            helper,
            stats,
            run,
            shares_descriptors: AtomicBool::new(false),
            is_notified_of_messages: AtomicBool::new(false),
            numbers_may_differ: AtomicBool::new(false),
            aside: Aside::default(),
            descriptors_differ: AtomicBool::new(false),
            idle: Mutex::default(),
            unknown: Mutex::default(),
        }
    }

    /// The same process as its child has it, in other memory or another machine.
    #[must_use]
    pub fn child(&self, memory: Arc<AddressSpace>, machine: Arc<dyn Machine>) -> Self {
        let host = Arc::clone(&self.host);
        let executable = self.executable.clone();
        let (actions, auxiliary) = (Arc::new(self.actions.copied()), self.auxiliary.clone());
        let helper = self.helper.of_child(host.exitless);
        let mut child = Self::new(memory, machine, actions, executable, auxiliary, host, self.run);
        child.helper = helper;
        child.dumpable.store(self.dumpable(), Ordering::Relaxed);
        child
    }

    /// A CPU for a new thread. A thread with descriptors of its own could not use
    /// one that another thread has made.
    pub fn take_vcpu(&self) -> Result<Box<dyn Vcpu>, PlatformError> {
        let create = || {
            let _room = descriptors::make_room();
            self.machine.create_vcpu()
        };
        if self.descriptors_differ.load(Ordering::Relaxed) {
            return create();
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(create, Ok)
    }

    /// Gives the CPU of an ended thread back.
    pub fn give_vcpu(&self, cpu: Box<dyn Vcpu>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(cpu);
    }

    /// Replaces its machine, with the CPUs that no thread uses.
    fn put_machine(&mut self, machine: Arc<dyn Machine>) {
        self.machine = machine;
        self.idle = Mutex::default();
    }

    /// Notes that not all of its threads have the same descriptors any more.
    pub fn descriptors_differ(&self) {
        self.descriptors_differ.store(true, Ordering::Relaxed);
    }

    /// The process as one that looks at others, and at itself.
    pub fn viewer(&self) -> Viewer<'_> {
        Viewer {
            monitor: self.host.monitor.as_ref().map(AsFd::as_fd),
            program: self.host.program.as_ref().map(AsFd::as_fd),
            auxiliary: &self.auxiliary,
            heap: self.memory.heap(),
            own_filter: self.host.own_filter,
            apart: None,
        }
    }

    /// Says once that a call has no row.
    pub fn note_unknown_call(&self, number: u64) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() < UNKNOWN_MAX && !unknown.contains(&number) {
            unknown.push(number);
            self.log(&format!("system call {number} is unknown: ENOSYS"));
        }
    }

    /// Writes a line for the operator. A log that cannot be written is no reason
    /// to stop the guest.
    pub fn log(&self, line: &str) {
        use std::io::Write;
        if let Some(mut log) = self.host.log.as_ref() {
            _ = writeln!(log, "km: {line}");
        }
    }

    /// The program's standard error may be another one now, or none: the log is where it is. Whoever waits
    /// for the end of the earlier one shall not wait for the monitor.
    pub fn follow_standard_error(&self) {
        if self.stats.is_some() || self.host.trace.is_some() {
            // Whoever asked for more than messages waits for it to its end.
            return;
        }
        let (Some(log), Some(program)) = (&self.host.log, &self.host.program) else { return };
        let standard_error = descriptors::borrow(self.memory.guest_memory(), STANDARD_ERROR);
        let followed = standard_error.and_then(|file| descriptors::lead_elsewhere(log, file));
        if followed.is_err() {
            // It cannot be written to.
            _ = descriptors::lead_elsewhere(log, program.as_fd());
        }
    }

    /// Says what became of its calls, if that was counted: before its end, or before it executes a program. Goes
    /// on as it would have without: who cannot be told is not.
    pub fn tell_stats(&self) {
        if let (Some(stats), Some(log)) = (&self.stats, self.host.log.as_ref()) {
            last_words::write(log, &stats.lines(&self.helper));
        }
    }

    /// The value of `PR_GET_DUMPABLE`.
    pub fn dumpable(&self) -> u64 {
        self.dumpable.load(Ordering::Relaxed)
    }
}

impl Host {
    /// The descriptors that a forked child keeps.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let files = [&self.trace, &self.log].into_iter().flatten().map(AsRawFd::as_raw_fd);
        let others = [&self.monitor, &self.program].into_iter().flatten();
        files.chain(others.map(AsRawFd::as_raw_fd)).collect()
    }

    /// The numbers by which neighbours know what they must not show, the program's
    /// first.
    pub fn shown(&self) -> Numbers {
        let number = |file: BorrowedFd<'_>| u64::from(file.as_raw_fd().unsigned_abs());
        [
            self.program.as_ref().map(AsFd::as_fd).map(number),
            self.log.as_ref().map(AsFd::as_fd).map(number),
            self.trace.as_ref().map(AsFd::as_fd).map(number),
            proc_files::root().map(number),
        ]
    }
}
