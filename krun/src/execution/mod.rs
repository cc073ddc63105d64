//! `exec`: another program in a container that runs, in a virtual machine of its own if the container
//! is one of virtual machines.
//!
//! libcontainer joins the container's namespaces and cgroup; what then becomes the program
//! is the same [`Workload`] that a container's first program comes from.

mod elsewhere;
mod error;
mod request;
mod sub_cgroup;

use std::cell::OnceCell;
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;

use krun_policy::Mode;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{ContainerStatus, State as LibcontainerState};
use libcontainer::syscall::syscall::SyscallType;
use procfs::process::MountInfo;
use serde_json::Value;
use spec_compat::{Config, Status};
use tempfile::TempDir;

pub(crate) use self::error::ExecError;
use self::sub_cgroup::SubCgroup;
use crate::cli::{Exec, Global};
use crate::container::cgroups;
use crate::container::forerunner::Forerunner;
use crate::container::memberships::Visit;
use crate::container::pidfd_socket::{self, PidfdSocket};
use crate::container::process::{self, ProcessName};
use crate::container::record::Record;
use crate::container::start_gate::{self, Reports};
use crate::container::store::{Entry, StoreError, replace_file};
use crate::creation::{
    Console, demand_open, init_words, leave_out_user_namespace, leave_room_for_monitor,
    process_for_libcontainer, reap_children,
};
use crate::error_chain;
use crate::log::Log;
use crate::rootless::HiddenCgroups;
use crate::selinux::Label;
use crate::signals::SignalNumber;
use crate::steps;
use crate::workload::agent::{self, Agent, Messenger};
use crate::workload::executor::{RunsOn, Workload};
use crate::workload::inheritable;
use crate::workload::monitor::OpenError;
use crate::workload::open_files::OpenFiles;
use crate::workload::stdio::Stdio;

/// What is ready before anything is made.
#[derive(Debug)]
struct Plan<'a> {
    arguments: &'a Exec,
    record: &'a Record,
    hierarchies: Vec<MountInfo>,
    config: Config,
    runs_on: RunsOn,
    label: Option<Label>,
    agent: Option<Agent>,
    init: ProcessName,
}

/// Starts the program in the container and gives its process, a child of this one.
pub(crate) fn execute(
    global: &Global,
    log: &Log,
    entry: &Entry,
    arguments: &Exec,
    console: Console<'_>,
) -> Result<ProcessName, ExecError> {
    let record = entry.load()?;
    let init = demand_running(entry, &record, arguments)?;
    let begun = begin(global, log, entry, arguments, console, &record, init);
    begun.map_err(|error| {
        if init.is_alive() {
            return error;
        }
        // libcontainer makes a cgroup that is not there any more. Whoever removes the container has the lock.
        if matches!(entry.lock(), Err(StoreError::NotFound)) {
            cgroups::remove_empty(&record.cgroups);
        }
        // Whatever went wrong, it is what comes of a container that ended meanwhile.
        ExecError::Stopped
    })
}

fn begin(
    global: &Global,
    log: &Log,
    entry: &Entry,
    arguments: &Exec,
    console: Console<'_>,
    record: &Record,
    init: ProcessName,
) -> Result<ProcessName, ExecError> {
    let hierarchies = cgroups::hierarchies()?;
    let _forerunner = Forerunner::send(&hierarchies);
    let config = request::config(entry, arguments)?;
    let label = Label::of(&config)?;
    console.demand_right(&config)?;
    demand_open(arguments.preserve_fds)?;
    let socket = PidfdSocket::connect(arguments.pidfd_socket.as_deref(), pidfd_socket::FURTHER)
        .map_err(ExecError::PidfdSocket)?;
    let runs_on = RunsOn::open(record.mode, None, global, &config)?;
    let agent = Agent::connect(&config, record.mode).map_err(OpenError::from)?;
    if record.unit.is_some() {
        record.systemd.let_in()?;
    }
    let plan = Plan { arguments, record, hierarchies, config, runs_on, label, agent, init };
    let started = plan.carry_out(log, entry.directory(), console);
    started.and_then(|process| tell(socket, process)).inspect_err(|_| reap_children())
}

/// Sends the process to the caller's socket. Of a program that nobody is told of nothing is left.
fn tell(socket: Option<PidfdSocket>, process: ProcessName) -> Result<ProcessName, ExecError> {
    let told = socket.map_or(Ok(()), |socket| socket.send(process));
    told.map(|()| process).map_err(|error| {
        // It may have ended by itself.
        _ = process.signal(SignalNumber::KILL);
        ExecError::PidfdSocket(error)
    })
}

/// The container's first process, if the container can take another program.
fn demand_running(
    entry: &Entry,
    record: &Record,
    arguments: &Exec,
) -> Result<ProcessName, ExecError> {
    match (entry.status(record), record.process) {
        (Status::Paused, _) if !arguments.ignore_paused => Err(ExecError::Paused),
        (Status::Created | Status::Running | Status::Paused, Some(process)) => Ok(process),
        _ => Err(ExecError::Stopped),
    }
}

impl Plan<'_> {
    fn carry_out(
        mut self,
        log: &Log,
        container: &Path,
        console: Console<'_>,
    ) -> Result<ProcessName, ExecError> {
        let user_namespace = self.config.has_user_namespace().then_some(self.init);
        let sub_cgroup = SubCgroup::of(&self.arguments.cgroup, self.record, &self.hierarchies)?;
        let place = self.place(container, &sub_cgroup).map_err(ExecError::Place)?;
        let directory = place.directory.path().to_path_buf();
        let socket = console.path(&self.config, &directory).map_err(ExecError::Console)?;
        let process_file = directory.join("process.json");
        self.write_process(&process_file)?;
        let gate = Rc::new(start_gate::create(&directory).map_err(ExecError::Place)?);

        let id = self.record.id.clone();
        let cwd = self.config.process().cwd().clone();
        let preserved = i32::from(self.arguments.preserve_fds);
        let ignore_paused = self.arguments.ignore_paused;
        // In the user namespace the answer would be another one.
        let leaves_groups = rustix::process::geteuid().is_root();
        let hides_cgroups = self.record.hides_cgroups;
        let memberships = self.record.entered_by_krun();
        let directories = self.record.cgroups.clone();
        let hierarchies = mem::take(&mut self.hierarchies);
        let (messenger, listening) =
            agent::await_listener(self.agent.take(), &self.record.state(Status::Running))
                .map_err(ExecError::Agent)?;
        let workload = Workload { listening, ..self.workload(&gate) };
        log.send_causes_to(gate.try_clone().ok());
        let visit = Visit::to_existing(&hierarchies, &memberships);
        let build = |is_beside: bool| {
            leaves_groups.then(process::leave_groups);
            let _hidden = hides_cgroups
                .then(|| HiddenCgroups::begin(&hierarchies))
                .transpose()
                .map_err(|error| format!("hide the cgroups that cannot be had: {error}"))?;
            ContainerBuilder::new(id, SyscallType::default())
                .with_executor(workload)
                .with_root_path(&directory)
                .map(|builder| builder.with_console_socket(socket).with_preserved_fds(preserved))
                .and_then(|builder| {
                    builder
                        .as_tenant()
                        .with_process(Some(&process_file))
                        .with_detach(true)
                        .with_ignore_paused(ignore_paused)
                        .with_sub_cgroup(sub_cgroup.for_libcontainer())
                        .as_sibling(is_beside)
                        .build()
                })
                .map(i32::from)
                .map_err(|error| error_chain::text(&error))
        };
        steps::tell(&[steps::SETUP]);
        let result =
            elsewhere::build(user_namespace, &sub_cgroup, &directories, &hierarchies, build);
        let told = messenger.map_or(Ok(()), Messenger::wait);
        drop(visit);
        log.send_causes_to(None);
        let process = started(result, start_gate::drain(&gate), &cwd)?;
        steps::tell(&[steps::CHILD, steps::EXEC]);
        told.map(|()| process).map_err(|error| {
            _ = process.signal(SignalNumber::KILL);
            ExecError::Agent(error)
        })
    }

    fn place(&self, container: &Path, sub_cgroup: &SubCgroup) -> io::Result<Place> {
        let has_user_namespace = self.config.has_user_namespace();
        let is_elsewhere = has_user_namespace || sub_cgroup.is_by_krun();
        let change = is_elsewhere.then_some(|document: &mut Value| {
            change_document(document, has_user_namespace, sub_cgroup);
        });
        Place::make(container, self.record, self.init, change)
    }

    /// The process section as libcontainer is to see it.
    fn write_process(&self, path: &Path) -> Result<(), ExecError> {
        let mut section = self.config.document()["process"].clone();
        process_for_libcontainer(&self.config, &mut section);
        if self.record.mode == Mode::Vm {
            leave_room_for_monitor(&mut section);
        }
        self.runs_on.lend_rights(&mut section);
        replace_file(path, section.to_string().as_bytes()).map_err(ExecError::Place)
    }

    fn workload(self, gate: &Rc<OwnedFd>) -> Workload {
        let keyring = CString::new(format!("_ses.{}", self.record.id)).ok();
        Workload {
            runs_on: self.runs_on,
            label: self.label,
            gate: Rc::clone(gate),
            listening: None,
            arguments: self.config.arguments().to_vec(),
            environment: self.config.environment().to_vec(),
            uid: self.config.process().user().uid(),
            stdio: Stdio::of(&self.config, self.arguments.detach),
            open_files: OpenFiles::of(&self.config),
            surplus: inheritable::surplus(&self.config),
            keyring: keyring.filter(|_| self.record.has_new_keyring),
            start_hooks: Vec::new(),
            state: self.record.state(Status::Running),
            prepared: OnceCell::new(),
        }
    }
}

/// The process, or why there is none, in the best words there are for it.
fn started(
    result: Result<i32, String>,
    reports: Reports,
    cwd: &Path,
) -> Result<ProcessName, ExecError> {
    if let Some(fault) = reports.fault {
        return Err(ExecError::Program(fault));
    }
    let pid = result.map_err(|text| {
        let cwd = cwd.display().to_string();
        ExecError::Program(init_words(&text, reports.cause.as_deref(), &cwd))
    })?;
    ProcessName::of(pid).map_err(ExecError::Process)
}

/// Changes what libcontainer reads of the container where it is called elsewhere than krun is. It would take a
/// user namespace for one that is to be made by somebody who may not set groups.
fn change_document(document: &mut Value, has_user_namespace: bool, sub_cgroup: &SubCgroup) {
    let Some(linux) = document["linux"].as_object_mut() else { return };
    if has_user_namespace {
        leave_out_user_namespace(linux);
    }
    if let Some(path) = sub_cgroup.hidden_path() {
        linux.insert("cgroupsPath".into(), path.into());
    }
}

/// A directory in which libcontainer finds the container and puts its sockets, so that
/// commands at work at the same time know nothing of each other.
#[derive(Debug)]
struct Place {
    directory: TempDir,
}

impl Place {
    /// `change` changes the container's document.
    fn make(
        container: &Path,
        record: &Record,
        init: ProcessName,
        change: Option<impl FnOnce(&mut Value)>,
    ) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("exec-").tempdir_in(container)?;
        let inner = directory.path().join(&record.id);
        DirBuilder::new().mode(0o700).create(&inner)?;
        let mut bundle = container;
        if let Some(change) = change {
            let mut document: Value =
                serde_json::from_slice(&fs::read(container.join("config.json"))?)?;
            change(&mut document);
            bundle = directory.path();
            replace_file(&bundle.join("config.json"), document.to_string().as_bytes())?;
        }
        let status = ContainerStatus::Running;
        let state =
            LibcontainerState::new(&record.id, status, Some(init.pid), bundle.to_path_buf());
        fs::write(inner.join("state.json"), serde_json::to_vec(&state)?)?;
        Ok(Self { directory })
    }
}
