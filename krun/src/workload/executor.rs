//! The last steps of a container's first process, called back by libcontainer.
//!
//! `validate` runs before `create` returns, `exec` after `start`; both in the container, as
//! process 1, with the workload's user, capabilities and limits, and without an exec
//! between them. A virtual machine belongs to the address space that made it, so none can
//! be made ready in `validate`: it lets the monitor *check* everything in a child, and
//! `exec` becomes the monitor that does the same steps again for good. Where the host's policy
//! says so, there is no monitor, and `exec` becomes the program.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use caps::{Capability, CapsHashSet};
use hooks::Point;
use krun_policy::Mode;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use monitor_launch::Findings;
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::Value;
use spec_compat::{Config, Hook, State};

use super::agent::Listening;
use super::monitor::{Monitor, OpenError};
use super::native::{self, Native};
use super::open_files::OpenFiles;
use super::profile::Profile;
use super::stdio::Stdio;
use super::{environment, inheritable, program};
use crate::cli::Global;
use crate::container::start_gate;
use crate::selinux::Label;

/// What becomes a program of a container.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) runs_on: RunsOn,
    /// What SELinux is to know it by.
    pub(crate) label: Option<Label>,
    pub(crate) gate: Rc<OwnedFd>,
    /// Has an agent asked about the program's calls.
    pub(crate) listening: Option<Listening>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) uid: u32,
    pub(crate) stdio: Stdio,
    pub(crate) open_files: Option<OpenFiles>,
    /// What was permitted so that it can be inherited, and is not to be.
    pub(crate) surplus: CapsHashSet,
    /// The name of the session keyring to make; none keeps the caller's.
    pub(crate) keyring: Option<CString>,
    /// The hooks that run between `start` and the program.
    pub(crate) start_hooks: Vec<Hook>,
    /// The state these hooks read.
    pub(crate) state: State,
    /// What `validate` found out for `exec`.
    pub(crate) prepared: OnceCell<Prepared>,
}

/// What runs the program.
#[derive(Clone, Debug)]
pub(crate) enum RunsOn {
    Monitor(Monitor),
    /// The host's kernel.
    Host(Native),
}

impl RunsOn {
    /// Opens what `mode` needs, on the host's side. If `programs` are named, natively only one of these
    /// hashes may run.
    pub(crate) fn open(
        mode: Mode,
        programs: Option<Vec<String>>,
        global: &Global,
        config: &Config,
    ) -> Result<Self, OpenError> {
        match mode {
            Mode::Native => Ok(Self::Host(Native::prepare(config, programs)?)),
            Mode::Vm => Monitor::open(config, global).map(Self::Monitor),
        }
    }

    /// Adds to the process section that libcontainer sees what loading the filter needs.
    pub(crate) fn lend_rights(&self, process: &mut Value) {
        if let Some(profile) = self.profile() {
            profile.lend_rights(process);
        }
    }

    /// What is lent until the filter is loaded.
    fn lent(&self) -> &'static [Capability] {
        self.profile().map_or(&[], Profile::lent)
    }

    fn profile(&self) -> Option<&Profile> {
        match self {
            Self::Monitor(monitor) => monitor.profile(),
            Self::Host(native) => native.profile(),
        }
    }
}

/// The program and what it is started with.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<CString>,
    /// The workload's variables as text, for hooks.
    variables: Vec<String>,
    pub(super) environment: Vec<CString>,
    /// The child that has checked it, and may still have to end.
    checking: Option<Pid>,
    /// What that has found out for the monitor.
    pub(super) findings: Findings,
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
        let fault = self.become_program();
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
        // Process 1 would outlive what asks it to end, and `stop` of a container that waits would take long.
        krun_sys::end_when_asked().map_err(|errno| errno.desc().to_owned())?;
        self.stdio.set_up()?;
        // `create` blocked them; a program must not inherit that.
        SigSet::all().thread_unblock().map_err(|errno| errno.desc().to_owned())?;
        inheritable::give_back(&self.surplus, self.runs_on.lent())?;
        self.leave_keyring()?;
        // The monitor's check has it, too, and so have the container's hooks, as with runc.
        self.label.as_ref().map_or(Ok(()), Label::give_to_program)?;
        let mut prepared = self.prepare()?;
        if let RunsOn::Monitor(monitor) = &self.runs_on {
            let passed = monitor.check(&prepared)?.map_err(|fault| self.fault(&fault))?;
            prepared.checking = Some(passed.0);
            prepared.findings = passed.1;
        }
        if let Some(listening) = &self.listening {
            listening.begin()?;
        }
        self.prepared.set(prepared).map_err(|_| "validated twice".to_owned())
    }

    fn leave_keyring(&self) -> Result<(), String> {
        let Some(name) = &self.keyring else { return Ok(()) };
        self.label.as_ref().map_or(Ok(()), Label::give_to_keys)?;
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
            checking: None,
            findings: Findings::default(),
        })
    }

    /// A fault of the program, in runc's form.
    fn fault(&self, error: &dyn std::fmt::Display) -> String {
        let name = self.arguments.first().map_or("", String::as_str);
        format!("exec: {name:?}: {error}")
    }

    /// Becomes the program's process; comes back with a fault.
    fn become_program(&self) -> String {
        match self.try_to_become_program() {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    fn try_to_become_program(&self) -> Result<Infallible, String> {
        let prepared = self.prepared.get().ok_or("started before it was validated")?;
        if let Some(checking) = prepared.checking {
            // Or it would be a child of the program's, which knows nothing of it.
            waitpid(checking, None).map_err(|errno| errno.desc().to_owned())?;
        }
        // The profile may not let them be set later.
        let early = self.open_files.as_ref().filter(|_| self.start_hooks.is_empty());
        match &self.runs_on {
            RunsOn::Monitor(monitor) => {
                monitor.confine_before(|| self.run_start_hooks(prepared))?;
            }
            RunsOn::Host(native) => {
                native.confine(prepared, early)?;
                self.run_start_hooks(prepared)?;
            }
        }
        let executed = match &self.runs_on {
            RunsOn::Monitor(monitor) => monitor.become_it(prepared, self.open_files.as_ref())?,
            RunsOn::Host(_) => {
                let late = self.open_files.as_ref().filter(|_| early.is_none());
                native::become_it(prepared, late)?
            }
        };
        executed.map_err(|fault| self.fault(&fault))
    }

    fn run_start_hooks(&self, prepared: &Prepared) -> Result<(), String> {
        let state = self.state.to_hook_json();
        hooks::run(Point::StartContainer, &self.start_hooks, &state, &prepared.variables)
            .map_err(|error| error.to_string())
    }
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, String> {
    let c_string = |text: &String| CString::new(text.as_str()).map_err(|error| error.to_string());
    texts.iter().map(c_string).collect()
}
