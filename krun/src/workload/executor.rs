//! The last steps of a container's first process, called back by libcontainer.
//!
//! `validate` runs before `create` returns, `exec` after `start`; both in the container, as
//! process 1, with the workload's user, capabilities and limits, and without an exec
//! between them. A virtual machine belongs to the address space that made it, so none can
//! be made ready in `validate`: it lets the monitor *check* everything in a child, and
//! `exec` becomes the monitor that does the same steps again for good.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hooks::Point;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use monitor_launch::{Action, Descriptors, Device as PassedDevice, LAUNCH_VARIABLE, LaunchRecord};
use nix::fcntl::AtFlags;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::io::{FdFlags, fcntl_setfd};
use spec_compat::{Hook, State};

use super::device::Device;
use super::{environment, launch, program};
use crate::container::start_gate;

/// How much of what the monitor's check says is told.
const TOLD: u64 = 4096;

/// What becomes the container's first process.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) monitor: Rc<OwnedFd>,
    pub(crate) device: Rc<Device>,
    pub(crate) gate: Rc<OwnedFd>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) uid: u32,
    pub(crate) release_suffix: bool,
    /// The seccomp filters for the program's calls.
    pub(crate) filters: Vec<Vec<u8>>,
    /// The name of the session keyring to make; none keeps the caller's.
    pub(crate) keyring: Option<CString>,
    /// The hooks that run between `start` and the program.
    pub(crate) start_hooks: Vec<Hook>,
    /// The state these hooks read.
    pub(crate) state: State,
    /// What `validate` found out for `exec`.
    pub(crate) prepared: OnceCell<Prepared>,
}

/// The program and what it is started with.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    program: PathBuf,
    arguments: Vec<CString>,
    /// The workload's variables as text, for hooks.
    variables: Vec<String>,
    environment: Vec<CString>,
}

impl Executor for Workload {
    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare_and_check().map_err(|fault| {
            start_gate::report_fault(&self.gate, &fault);
            ExecutorValidationError::ArgValidationError(fault)
        })
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment goes to execveat(2) as it is; this process keeps its own.
        Ok(())
    }

    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let fault = self.become_monitor();
        start_gate::report_fault(&self.gate, &fault);
        Err(ExecutorError::Other(fault))
    }
}

impl Workload {
    fn prepare_and_check(&self) -> Result<(), String> {
        // Visible in `docker top` until start. Only a name: no trouble if it fails.
        let _ = rustix::thread::set_name(c"krun:[2:INIT]");
        // Other programs of the container shall not find this one's binary behind /proc/<pid>/exe.
        nix::sys::prctl::set_dumpable(false).map_err(|errno| errno.desc().to_owned())?;
        // `create` blocked them; a program must not inherit that.
        SigSet::all().thread_unblock().map_err(|errno| errno.desc().to_owned())?;
        self.leave_keyring()?;
        let prepared = self.prepare()?;
        self.check(&prepared)?;
        self.prepared.set(prepared).map_err(|_| "validated twice".to_owned())
    }

    fn leave_keyring(&self) -> Result<(), String> {
        let Some(name) = &self.keyring else { return Ok(()) };
        match krun_sys::join_session_keyring(name) {
            // A kernel without keyrings has none to inherit.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(error) => Err(format!("unable to join session keyring: {error}")),
            Ok(()) => Ok(()),
        }
    }

    fn prepare(&self) -> Result<Prepared, String> {
        let passwd = Path::new("/etc/passwd");
        let variables = environment::prepare(&self.environment, self.uid, passwd);
        let name = self.arguments.first().map_or("", String::as_str);
        let program = program::find(name, environment::value_of(&variables, "PATH"))
            .map_err(|error| self.fault(&error))?;
        Ok(Prepared {
            program,
            arguments: c_strings(&self.arguments)?,
            environment: c_strings(&variables)?,
            variables,
        })
    }

    /// A fault of the program, in runc's form.
    fn fault(&self, error: &dyn std::fmt::Display) -> String {
        let name = self.arguments.first().map_or("", String::as_str);
        format!("exec: {name:?}: {error}")
    }

    /// Lets the monitor find out whether the program can be run.
    fn check(&self, prepared: &Prepared) -> Result<(), String> {
        let record = self.record(Action::Check, prepared)?;
        let _inherited = self.inherited(&record)?;
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(host)?;
        let child = with_launch_variable(&record, prepared, |arguments, environment| {
            krun_sys::spawn(self.monitor.as_fd(), arguments, environment, writer.as_fd())
        });
        let child = child.map_err(|error| host(error.to_string()))?;
        drop(writer);
        let mut said = Vec::new();
        File::from(reader)
            .take(TOLD)
            .read_to_end(&mut said)
            .map_err(|error| host(error.to_string()))?;
        let said = String::from_utf8_lossy(&said);
        let first_line = said.lines().next().unwrap_or_default();
        let status = waitpid(child, None).map_err(host)?;
        if status == WaitStatus::Exited(child, 0) {
            return Ok(());
        }
        if let WaitStatus::Signaled(_, signal, _) = status {
            return Err(self.fault(&format!("the monitor was killed by {signal} in its check")));
        }
        Err(self.fault(&first_line))
    }

    /// Becomes the monitor; comes back with a fault.
    fn become_monitor(&self) -> String {
        match self.try_to_become_monitor() {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    fn try_to_become_monitor(&self) -> Result<std::convert::Infallible, String> {
        let prepared = self.prepared.get().ok_or("started before it was validated")?;
        let state = self.state.to_hook_json();
        hooks::run(Point::StartContainer, &self.start_hooks, &state, &prepared.variables)
            .map_err(|error| error.to_string())?;
        let record = self.record(Action::Run, prepared)?;
        let _inherited = self.inherited(&record)?;
        krun_sys::reset_sigpipe().map_err(host)?;
        with_launch_variable(&record, prepared, |arguments, environment| {
            let flags = AtFlags::AT_EMPTY_PATH;
            nix::unistd::execveat(&*self.monitor, c"", arguments, environment, flags)
        })
        .map_err(|errno| self.fault(&errno.desc().to_lowercase()))
    }

    fn record(&self, action: Action, prepared: &Prepared) -> Result<OwnedFd, String> {
        let record = LaunchRecord {
            action,
            program: prepared.program.as_os_str().as_bytes().to_vec(),
            device: PassedDevice { kind: self.device.kind, descriptor: self.device().as_raw_fd() },
            release_suffix: self.release_suffix,
            signal_mask: None,
            filters: self.filters.clone(),
            descriptors: Descriptors {
                monitor: Some(self.monitor.as_raw_fd()),
                ..Descriptors::default()
            },
        };
        launch::sealed(&record).map_err(|error| host(error.to_string()))
    }

    /// What the record names, to be inherited by the monitor.
    fn inherited<'a>(&'a self, record: &'a OwnedFd) -> Result<[Inherited<'a>; 3], String> {
        let monitor = Inherited::new(self.monitor.as_fd())?;
        Ok([Inherited::new(record.as_fd())?, Inherited::new(self.device())?, monitor])
    }

    fn device(&self) -> BorrowedFd<'_> {
        self.device.descriptor.as_fd()
    }
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

fn c_strings(texts: &[String]) -> Result<Vec<CString>, String> {
    let c_string = |text: &String| CString::new(text.as_str()).map_err(|error| error.to_string());
    texts.iter().map(c_string).collect()
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
