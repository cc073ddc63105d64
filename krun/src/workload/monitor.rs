//! The monitor as what runs a program: it checks everything before `create` returns, and becomes the
//! program's process after `start`.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use krun_seccomp::{self as filter, FilterError};
use libcontainer::oci_spec::runtime::{LinuxSchedulerFlag, LinuxSchedulerPolicy};
use monitor_launch::{
    Action, Descriptors, Device as PassedDevice, Exitless, Findings, LAUNCH_VARIABLE, LaunchRecord,
};
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use rustix::io::{FdFlags, fcntl_setfd};
use spec_compat::Config;

use crate::cli::Global;

use super::agent;
use super::device::{self, Device, DeviceError};
use super::executor::Prepared;
use super::launch;
use super::monitor_binary::{self, MonitorError};
use super::open_files::OpenFiles;
use super::profile::Profile;

/// How much of what the monitor's check says is told.
const TOLD: u64 = 16 << 10;

/// The monitor and what it is started with.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Monitor {
    binary: Rc<OwnedFd>,
    device: Rc<Device>,
    release_suffix: bool,
    /// The seccomp filters for the program's calls.
    filters: Vec<Vec<u8>>,
    /// What the kernel has for its process.
    profile: Option<Profile>,
    /// Whether that is one more than there are for the program.
    own_filter: bool,
    /// What holds for the container's hooks, which are no guests.
    profile_of_hooks: Option<Profile>,
    /// Whether there is an agent to be asked, as a filter may want.
    asks_agent: bool,
    exitless: Exitless,
    stats: bool,
}

/// Why there is no monitor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is no device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no binary.
    #[error(transparent)]
    Binary(#[from] MonitorError),
    /// The seccomp profile cannot be enforced.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The kernel would let the monitor start neither threads nor processes.
    #[error(
        "process.scheduler: found SCHED_DEADLINE, expected SCHED_FLAG_RESET_ON_FORK with it: without, \
         Linux lets a program start no thread and no process, and a virtual machine needs some"
    )]
    Deadline,
    /// The monitor could open nothing.
    #[error(
        "process.rlimits: found {0} as the hard limit of RLIMIT_NOFILE, expected at least 12: a virtual \
         machine needs some descriptors"
    )]
    Descriptors(u64),
}

impl Monitor {
    /// Opens all of it on the host's side.
    pub(crate) fn open(config: &Config, global: &Global) -> Result<Self, OpenError> {
        if must_stay_alone(config) {
            return Err(OpenError::Deadline);
        }
        if let Some(found) = OpenFiles::of(config).and_then(|files| files.too_few()) {
            return Err(OpenError::Descriptors(found));
        }
        let device = Rc::new(device::open()?);
        let binary = Rc::new(monitor_binary::open_monitor(global.km.as_deref())?);
        let profile = config.seccomp_profile();
        let filters = profile.map(filter::compile).transpose()?.into_iter().collect();
        let asks_agent = agent::is_asked(config);
        let confines = *global.settings.monitor_filter;
        let profile = Profile::of_monitor(config, confines);
        let profile_of_hooks = Profile::of_start_hooks(config, confines)?;
        let own_filter = confines && (config.seccomp_profile().is_none() || asks_agent);
        Ok(Self {
            binary,
            device,
            release_suffix: *global.settings.release_suffix,
            filters,
            profile,
            own_filter,
            profile_of_hooks,
            asks_agent,
            exitless: *global.settings.exitless,
            stats: *global.settings.stats,
        })
    }

    /// What is put on the monitor's process.
    pub(super) fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// Gives this process the program's rights and no more.
    pub(super) fn confine(&self) -> Result<(), String> {
        self.profile.as_ref().map_or(Ok(()), Profile::load).map_err(host)
    }

    /// The same before `run`, which runs hooks in the container.
    ///
    /// What the kernel is to hold them to the monitor must not have, so they run in a child. They may have rights
    /// over this process, and the child does not begin until there is nothing here for them to take.
    pub(super) fn confine_before(
        &self,
        run: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(profile) = &self.profile_of_hooks else {
            self.confine()?;
            return run();
        };
        let (gate, open_gate) = pipe2(OFlag::O_CLOEXEC).map_err(host)?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(host)?;
        let mut ours = Some((open_gate, reader));
        let mut theirs = Some((gate, writer, run));
        let child = krun_sys::fork_to(|| {
            drop(ours.take());
            let Some((gate, writer, run)) = theirs.take() else { return };
            let run = || if is_opened(gate)? { run() } else { Ok(()) };
            if let Err(fault) = profile.load().map_err(host).and_then(|()| run()) {
                // If nobody listens, the parent has gone.
                _ = File::from(writer).write_all(fault.as_bytes());
            }
        });
        drop(theirs);
        let child = child.map_err(|error| host(error.to_string()))?;
        let Some((open_gate, reader)) = ours else { return Ok(()) };
        let confined = self.confine();
        if confined.is_ok() {
            _ = File::from(open_gate).write_all(b"x");
        } else {
            drop(open_gate);
        }
        let mut said = String::new();
        let listened = File::from(reader).take(TOLD).read_to_string(&mut said);
        let ended = waitpid(child, None).map_err(host)?;
        confined?;
        listened.map_err(|error| host(error.to_string()))?;
        if !said.is_empty() {
            return Err(said);
        }
        let is_done = matches!(ended, WaitStatus::Exited(_, 0));
        is_done.then_some(()).ok_or_else(|| host(format!("who runs hooks died: {ended:?}")))
    }

    /// Finds out whether the program can be run. The outer fault is the host's, the inner one the
    /// program's.
    ///
    /// What checks it may end after that, and is to be waited for. It tells what it has found out.
    pub(super) fn check(
        &self,
        prepared: &Prepared,
    ) -> Result<Result<(Pid, Findings), String>, String> {
        let record = self.record(Action::Check, prepared)?;
        let _inherited = self.inherited(&record)?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(host)?;
        let child = with_launch_variable(&record, prepared, |arguments, environment| {
            let (monitor, writer) = (self.binary.as_fd(), writer.as_fd());
            // It reads what the image has, and is held to what holds for who runs it.
            krun_sys::spawn(monitor, arguments, environment, writer, || self.confine())
        });
        let child = child.map_err(|error| host(error.to_string()))?;
        drop(writer);
        let said = first_line(reader).map_err(|error| host(error.to_string()))?;
        if let Some(findings) = Findings::from_line(&said) {
            return Ok(Ok((child, findings)));
        }
        if let WaitStatus::Signaled(_, signal, _) = waitpid(child, None).map_err(host)? {
            return Ok(Err(format!("the monitor was killed by {signal} in its check")));
        }
        Ok(Err(said))
    }

    /// Becomes the monitor; comes back with an error like those of `check`.
    pub(super) fn become_it(
        &self,
        prepared: &Prepared,
        files: Option<&OpenFiles>,
    ) -> Result<Result<Infallible, String>, String> {
        let record = self.record(Action::Run, prepared)?;
        let _inherited = self.inherited(&record)?;
        files.map_or(Ok(()), OpenFiles::set)?;
        krun_sys::reset_sigpipe().map_err(host)?;
        let executed = with_launch_variable(&record, prepared, |arguments, environment| {
            let flags = AtFlags::AT_EMPTY_PATH;
            nix::unistd::execveat(&*self.binary, c"", arguments, environment, flags)
        });
        Ok(executed.map_err(|errno| errno.desc().to_lowercase()))
    }

    fn record(&self, action: Action, prepared: &Prepared) -> Result<OwnedFd, String> {
        let record = LaunchRecord {
            action,
            program: prepared.program.as_os_str().as_bytes().to_vec(),
            device: PassedDevice { kind: self.device.kind, descriptor: self.device().as_raw_fd() },
            release_suffix: self.release_suffix,
            signal_mask: None,
            ignored: None,
            filters: self.filters.clone(),
            asks_agent: self.asks_agent,
            exitless: self.exitless,
            findings: prepared.findings.clone(),
            stats: self.stats,
            own_filter: self.own_filter,
            descriptors: Descriptors {
                monitor: Some(self.binary.as_raw_fd()),
                ..Descriptors::default()
            },
        };
        launch::sealed(&record).map_err(|error| host(error.to_string()))
    }

    /// What the record names, to be inherited by the monitor.
    fn inherited<'a>(&'a self, record: &'a OwnedFd) -> Result<[Inherited<'a>; 3], String> {
        let monitor = Inherited::new(self.binary.as_fd())?;
        Ok([Inherited::new(record.as_fd())?, Inherited::new(self.device())?, monitor])
    }

    fn device(&self) -> BorrowedFd<'_> {
        self.device.descriptor.as_fd()
    }
}

/// Whether the program's scheduler forbids it threads and children, as `sched(7)` says.
fn must_stay_alone(config: &Config) -> bool {
    let Some(scheduler) = config.process().scheduler() else { return false };
    let flags = scheduler.flags().as_deref().unwrap_or_default();
    *scheduler.policy() == LinuxSchedulerPolicy::SchedDeadline
        && !flags.contains(&LinuxSchedulerFlag::SchedResetOnFork)
}

/// Calls `start` with the program's arguments and the environment the monitor wants: the
/// launch record's number first, then the workload's variables.
fn with_launch_variable<T>(
    record: &OwnedFd,
    prepared: &Prepared,
    start: impl FnOnce(&[&CStr], &[&CStr]) -> T,
) -> T {
    let variable = format!("{LAUNCH_VARIABLE}={}\0", record.as_raw_fd());
    let variable = CStr::from_bytes_until_nul(variable.as_bytes()).unwrap_or_default();
    let arguments: Vec<&CStr> = prepared.arguments.iter().map(CString::as_c_str).collect();
    let mut environment = vec![variable];
    environment.extend(prepared.environment.iter().map(CString::as_c_str));
    start(&arguments, &environment)
}

/// Whether a gate is opened, and not closed.
fn is_opened(gate: OwnedFd) -> Result<bool, String> {
    File::from(gate).read(&mut [0]).map(|bytes| bytes != 0).map_err(|error| host(error.to_string()))
}

/// What is said up to the end of the line, or of the process that says it.
fn first_line(reader: OwnedFd) -> io::Result<String> {
    let mut said = Vec::new();
    BufReader::new(File::from(reader).take(TOLD)).read_until(b'\n', &mut said)?;
    Ok(String::from_utf8_lossy(&said).trim_end_matches('\n').to_owned())
}

/// A fault that is not the program's.
fn host(reason: impl std::fmt::Display) -> String {
    format!("prepare the monitor: {reason}")
}

/// A descriptor that the next program inherits, as long as this lives.
struct Inherited<'a>(BorrowedFd<'a>);

impl<'a> Inherited<'a> {
    fn new(descriptor: BorrowedFd<'a>) -> Result<Self, String> {
        fcntl_setfd(descriptor, FdFlags::empty()).map_err(host)?;
        Ok(Self(descriptor))
    }
}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        // It was possible to clear the flag, so it is possible to set it.
        let _ = fcntl_setfd(self.0, FdFlags::CLOEXEC);
    }
}
