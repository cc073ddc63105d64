//! Making a container: everything between `krun create` and a program that waits for start.

mod bare_mounts;
mod birthplace;
mod bundle;
mod cgroup_mount;
mod copy_up;
mod dangling;
mod descriptors;
mod error;
mod far_devices;
mod hook_home;
mod hook_order;
mod in_container;
mod late_binds;
mod later_mounts;
mod mount_changes;
mod mount_label;
mod own_dev;
mod own_limits;
mod owner_mappings;
mod place;
mod stay;
mod suspects;
mod tmpfs_mode;
mod transform;
mod unfinished;
mod version_2;
mod working_directory;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hooks::Point;
use krun_policy::{Decision, Mode, Policy};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use procfs::process::MountInfo;
use rustix::process::geteuid;
use serde_json::Value;
use spec_compat::{Config, Status};

pub(crate) use self::bare_mounts::{BareMountError, take_away as take_bare_mounts_away};
use self::birthplace::Birthplace;
pub(crate) use self::bundle::read_config;
use self::cgroup_mount::Part;
pub(crate) use self::descriptors::demand_open;
pub(crate) use self::error::{CreateError, init_words};
pub(crate) use self::far_devices::{FarDeviceError, make as make_devices};
pub(crate) use self::hook_order::{HookOrder, Order};
use self::late_binds::LateBind;
use self::later_mounts::LaterMounts;
use self::owner_mappings::MappedMount;
pub(crate) use self::owner_mappings::{MappingError, ReplaceError, carry_out as map_owners};
use self::place::Place;
use self::stay::{Stay, Wish};
use self::suspects::Suspects;
use self::transform::Deeds;
pub(crate) use self::transform::{
    leave_out_user_namespace, leave_room_for_monitor, process_for_libcontainer,
};
use self::unfinished::Unfinished;
pub(crate) use self::unfinished::reap_children;
use self::unfinished::reap_children_but;
pub(crate) use self::working_directory::{DirectoryError, make as make_directory};
use crate::cli::{CreateOptions, Global};
use crate::container::cgroups::{self, Company};
use crate::container::devices;
use crate::container::forerunner::Forerunner;
use crate::container::id::ContainerId;
use crate::container::memberships;
use crate::container::pidfd_socket::{self, PidfdSocket};
use crate::container::process::{self, ProcessName};
use crate::container::record::Record;
use crate::container::start_gate;
use crate::container::store::{Entry, Lock, Store, replace_file};
use crate::error_chain;
use crate::foreground::ConsoleSocket;
use crate::log::{self, Log};
use crate::own_binary;
use crate::rootless::{self, ReadyNamespace};
use crate::selinux::Label;
use crate::signals::HeldSignals;
use crate::steps;
use crate::systemd::{Owner, Scope};
use crate::workload::agent::{self, Agent, Listening, Messenger};
use crate::workload::executor::{RunsOn, Workload};
use crate::workload::inheritable;
use crate::workload::monitor::OpenError;
use crate::workload::open_files::OpenFiles;
use crate::workload::stdio::Stdio;

/// The name libcontainer's files have in a container's directory.
const LIBCONTAINER: &str = "libcontainer";

/// What the new container's terminal is connected to.
#[derive(Debug)]
pub(crate) enum Console<'a> {
    /// The caller's: the path of `--console-socket`, if it is given.
    Caller(Option<&'a Path>),
    /// krun's own, if the bundle wants a terminal; the socket is put where the caller of
    /// [`create`] finds it.
    OwnIfWanted(&'a mut Option<ConsoleSocket>),
}

impl Console<'_> {
    /// Demands a socket where a terminal is wanted, and none where there is none.
    pub(crate) fn demand_right(&self, config: &Config) -> Result<(), CreateError> {
        match (self, config.wants_terminal()) {
            (Self::Caller(None), true) => Err(CreateError::ConsoleSocketMissing),
            (Self::Caller(Some(_)), false) => Err(CreateError::ConsoleSocketUseless),
            _ => Ok(()),
        }
    }

    /// Whether the caller attends to the program's terminal or other standard files, and krun does not.
    fn is_callers(&self) -> bool {
        matches!(self, Self::Caller(_))
    }

    /// The socket that libcontainer is to connect to.
    pub(crate) fn path(self, config: &Config, directory: &Path) -> io::Result<Option<PathBuf>> {
        match self {
            Self::Caller(path) => path.map(std::path::absolute).transpose(),
            Self::OwnIfWanted(place) if config.wants_terminal() => {
                Ok(Some(place.insert(ConsoleSocket::listen(directory)?).path()))
            }
            Self::OwnIfWanted(_) => Ok(None),
        }
    }
}

/// A container that waits for `start`.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) entry: Entry,
    pub(crate) record: Record,
    /// Held until the container is whole in the eyes of other commands.
    pub(crate) lock: Lock,
}

/// Where libcontainer listens for the word to start.
pub(crate) fn start_socket(directory: &Path, id: &str) -> PathBuf {
    directory.join(LIBCONTAINER).join(id).join("notify.sock")
}

/// Makes the container called `id`, up to the point where its program waits for `start`.
///
/// On failure nothing of it is left.
pub(crate) fn create(
    global: &Global,
    log: &Log,
    id: &str,
    options: &CreateOptions,
    console: Console<'_>,
) -> Result<Created, CreateError> {
    let id = ContainerId::parse(id)?;
    let mut plan = Plan { is_detached: console.is_callers(), ..Plan::make(global, options)? };
    let forerunner = plan.forerunner.take();
    console.demand_right(&plan.bundle.config)?;
    let pid_file = options.pid_file.as_deref().map(std::path::absolute).transpose();
    let pid_file = pid_file.map_err(CreateError::PidFile)?;
    let signals = HeldSignals::hold().map_err(CreateError::Signals)?;
    let root = std::path::absolute(rootless::state_root(global)).map_err(CreateError::Root)?;
    let (entry, lock) = Store::new(root).reserve(&id)?;
    let mut unfinished = Unfinished::new(entry);
    let record = plan.carry_out(log, &id, &lock, console, &mut unfinished)?;
    drop(forerunner);
    if let (Some(path), Some(process)) = (&pid_file, record.process) {
        replace_file(path, process.pid.to_string().as_bytes()).map_err(CreateError::PidFile)?;
    }
    if let Some(signal) = signals.asked_to_end() {
        return Err(CreateError::Interrupted(signal));
    }
    Ok(Created { entry: unfinished.finish(), record, lock })
}

/// Everything that can be found out and opened before anything is made.
#[derive(Debug)]
struct Plan<'a> {
    hierarchies: Vec<MountInfo>,
    forerunner: Option<Forerunner>,
    systemd: Option<Owner>,
    wish: Wish,
    /// Whether the first process is born in its cgroups.
    is_born_there: bool,
    has_user_namespace: bool,
    /// Whether the caller does not wait for the program.
    is_detached: bool,
    options: &'a CreateOptions,
    bundle: bundle::Bundle,
    devices: devices::Decision,
    late: Vec<LateBind>,
    mapped: Vec<MappedMount>,
    decision: Decision,
    runs_on: RunsOn,
    label: Option<Label>,
    own_path: PathBuf,
    pidfd_socket: Option<PidfdSocket>,
    agent: Option<Agent>,
}

impl<'a> Plan<'a> {
    fn make(global: &Global, options: &'a CreateOptions) -> Result<Self, CreateError> {
        let bundle = bundle::Bundle::open(options.bundle.as_deref())?;
        let has_user_namespace = global.in_user_namespace > 0 && rootless::is_in_user_namespace();
        if !has_user_namespace {
            rootless::enter(global, &rootless::state_root(global), &bundle.config)?;
        }
        let hierarchies = cgroups::hierarchies()?;
        let wish = Wish::of(global, &bundle.config)?;
        let is_born_there = birthplace::is_possible(&hierarchies, &bundle.config, wish);
        let forerunner = if is_born_there { None } else { Forerunner::send(&hierarchies) };
        let policy = Policy::read(global.settings.policy_dir.as_deref())?;
        let decision = policy.decide(&bundle.config, &bundle.rootfs)?;
        if decision.mode == Mode::Native {
            own_binary::protect()?;
        }
        for warning in bundle.config.warnings() {
            tracing::warn!("{warning}");
        }
        let label = Label::of(&bundle.config)?;
        mount_label::demand_possible(bundle.config.document())?;
        cgroups::demand_files_of_version(&bundle.config)?;
        let devices = devices::decide(&bundle.config)?;
        let late = late_binds::wanted(&bundle.config, &bundle.directory);
        let mapped = owner_mappings::wanted(&bundle.config, geteuid().is_root())?;
        demand_open(options.preserve_fds)?;
        let pidfd_socket =
            PidfdSocket::connect(options.pidfd_socket.as_deref(), pidfd_socket::CONTAINER)
                .map_err(CreateError::PidfdSocket)?;
        tracing::info!("mode {} by rule {}", decision.mode.word(), decision.rule);
        let programs = decision.programs.clone();
        let runs_on = RunsOn::open(decision.mode, programs, global, &bundle.config)?;
        let agent = Agent::connect(&bundle.config, decision.mode).map_err(OpenError::from)?;
        Ok(Self {
            hierarchies,
            forerunner,
            systemd: place::systemd(global),
            wish,
            is_born_there,
            has_user_namespace,
            is_detached: true,
            options,
            bundle,
            devices,
            late,
            mapped,
            decision,
            runs_on,
            label,
            own_path: own_binary::path()?,
            pidfd_socket,
            agent,
        })
    }

    /// Makes the container; what it makes is noted in `unfinished` first.
    fn carry_out(
        mut self,
        log: &Log,
        id: &ContainerId,
        lock: &Lock,
        console: Console<'_>,
        unfinished: &mut Unfinished,
    ) -> Result<Record, CreateError> {
        let place = Place::of(&self.bundle.config, id, self.systemd)?;
        let cgroup = place.path()?;
        let hierarchies = mem::take(&mut self.hierarchies);
        let cgroups = cgroups::directories(&hierarchies, &cgroup);
        let company = place.company(&cgroups)?;
        unfinished.note_cgroups(cgroups.clone(), company);

        let directory = unfinished.entry().directory().to_path_buf();
        let memberships = memberships::directories(&hierarchies, &cgroup);
        unfinished.note_memberships(memberships.clone());
        let mut record = self.new_record(id, (cgroups, company), memberships, place.scope());
        unfinished.entry().save(&record, lock)?;
        let kept = self.bundle.config.document().to_string();
        replace_file(&unfinished.entry().bundle_json(), kept.as_bytes())
            .map_err(CreateError::WriteConfig)?;
        let standing = place.make(id, &self.bundle.config, &self.devices, unfinished)?;
        if cgroups::is_version_2() {
            version_2::prepare(&record.cgroups, &self.devices, &self.bundle.config)?;
        }
        let gate = start_gate::create(&directory).map_err(CreateError::Gate)?;
        let (user_namespace, has_birthplace) = (self.user_namespace()?, self.is_born_there);
        let mut stay = self.stay(&hierarchies, &mut record)?;
        let parts = cgroup_mount::parts(&hierarchies, &stay.places);
        let document = self.document(&directory, &stay, &cgroup, &parts, user_namespace.as_ref());
        write_config(&directory, &document)?;
        if !self.bundle.config.mounts_on("/dev") {
            own_dev::clear(&self.bundle.rootfs).map_err(CreateError::OwnDev)?;
        }

        log.send_causes_to(gate.try_clone().ok());
        let gate = Rc::new(gate);
        let pidfd_socket = self.pidfd_socket.take();
        let devices = self.devices.clone();
        let config = self.bundle.config.clone();
        let later = LaterMounts::of(config.document(), &self.bundle.rootfs, parts);
        let (messenger, listening) =
            agent::await_listener(self.agent.take(), &record.state(Status::Creating))
                .map_err(CreateError::Agent)?;
        let suspects = Suspects::of(&self.bundle, &record.cgroups);
        let console = console.path(&config, &directory).map_err(CreateError::Console)?;
        let result = stay.build(|| {
            let made = self.build(id, &directory, console, &gate, &record, listening);
            made.map_err(|error| error_chain::text(&error))
        });
        let told = messenger.map_or(Ok(()), Messenger::wait);
        drop(stay);
        log.send_causes_to(None);
        let reports = start_gate::drain(&gate);
        let pid = result.map_err(|text| suspects.error(&text, &reports))?;
        unfinished.note_process(pid);
        told.map_err(CreateError::Agent)?;
        if has_birthplace {
            settle(pid, &config, &record)?;
            write_config(&directory, &transform::with_cgroup(document, &cgroup))?;
        }
        drop(standing);
        later.carry_out(pid)?;
        complete(&mut record, pid, &devices)?;
        unfinished.entry().save(&record, lock)?;
        let told = pidfd_socket.zip(record.process).map(|(socket, process)| socket.send(process));
        told.unwrap_or(Ok(())).map_err(CreateError::PidfdSocket)?;
        Ok(record)
    }

    fn user_namespace(&self) -> Result<Option<ReadyNamespace>, CreateError> {
        if self.has_user_namespace {
            return Ok(None);
        }
        let with_mounts = self.wish != Wish::All || self.is_born_there;
        Ok(ReadyNamespace::make_if_needed(&self.bundle.config, with_mounts)?)
    }

    fn stay(&self, hierarchies: &[MountInfo], record: &mut Record) -> Result<Stay, CreateError> {
        steps::tell(&[steps::SETUP]);
        let config = &self.bundle.config;
        if !self.is_born_there {
            return Stay::begin(hierarchies, config, record, self.wish);
        }
        let birthplace = Birthplace::prepare(hierarchies, config, &self.devices, record)?;
        Ok(Stay::away(birthplace, record))
    }

    fn new_record(
        &self,
        id: &ContainerId,
        (cgroups, company): (Vec<PathBuf>, Company),
        memberships: Vec<PathBuf>,
        scope: Option<&Scope>,
    ) -> Record {
        let config = &self.bundle.config;
        let annotations = config.spec().annotations().clone().unwrap_or_default();
        Record {
            id: id.to_string(),
            bundle: self.bundle.directory.clone(),
            rootfs: self.bundle.rootfs.clone(),
            created: log::now(),
            annotations: annotations.into_iter().collect::<BTreeMap<_, _>>(),
            process: None,
            cgroups,
            memberships,
            company,
            hides_cgroups: false,
            unit: scope.map(|scope| scope.unit().to_owned()),
            systemd: scope.map(Scope::owner).unwrap_or_default(),
            mode: self.decision.mode,
            rule: self.decision.rule.clone(),
            has_pid_namespace: config.has_new_pid_namespace(),
            has_new_keyring: !self.options.no_new_keyring,
            poststart: config.hooks(Point::Poststart.name()),
            poststop: config.hooks(Point::Poststop.name()),
        }
    }

    /// What libcontainer reads in place of the bundle's `config.json`.
    fn document(
        &self,
        directory: &Path,
        stay: &Stay,
        cgroup: &Path,
        parts: &[Part],
        user_namespace: Option<&ReadyNamespace>,
    ) -> Value {
        let mut ready = Vec::new();
        ready.extend(user_namespace.map(|namespace| ("user", namespace.users())));
        if let (Some(hidden), true) = (stay.mounts(), self.bundle.config.has_new_mount_namespace())
        {
            ready.push(("mount", user_namespace.map_or(hidden, ReadyNamespace::mounts)));
        }
        let mut document = transform::for_libcontainer(&transform::Inputs {
            config: &self.bundle.config,
            bundle: &self.bundle.directory,
            rootfs: &self.bundle.rootfs,
            cgroup: stay.path(cgroup),
            devices: (!cgroups::is_version_2() && !stay.is_hidden()).then_some(&self.devices),
            has_limits: stay.is_hidden(),
            own_path: &self.own_path,
            gate: &start_gate::path(directory),
            hook_home: stay.hook_home(),
            deeds: self.deeds(),
            late: &self.late,
            mapped: &self.mapped,
            namespaces: &transform::Namespaces { has_user: self.has_user_namespace, ready },
        });
        if self.decision.mode == Mode::Vm {
            leave_room_for_monitor(&mut document["process"]);
        }
        self.runs_on.lend_rights(&mut document["process"]);
        tmpfs_mode::complete(&mut document["mounts"], &self.bundle.rootfs);
        if !cgroups::is_version_2() {
            cgroup_mount::spell_out(&mut document["mounts"], parts);
        }
        mount_label::spell_out(&mut document);
        document
    }

    fn deeds(&self) -> Deeds {
        let bundle = &self.bundle;
        let config = &bundle.config;
        Deeds {
            devices: !config.has_user_namespace() && !far_devices::of(config.document()).is_empty(),
            cwd: working_directory::may_be_missing(config, &bundle.directory, &bundle.rootfs),
            bare_mounts: self.options.no_pivot && config.has_new_mount_namespace(),
        }
    }

    fn build(
        self,
        id: &ContainerId,
        directory: &Path,
        console: Option<PathBuf>,
        gate: &Rc<OwnedFd>,
        record: &Record,
        listening: Option<Listening>,
    ) -> Result<i32, CreateError> {
        let preserved = i32::from(self.options.preserve_fds);
        let no_pivot = self.options.no_pivot;
        // Then its caller is a child of krun's, and it is to be another.
        let is_beside = self.is_born_there;
        // As with runc an ordinary user's containers keep his groups.
        if !self.has_user_namespace {
            process::leave_groups();
        }
        let workload = Workload { listening, ..self.workload(id, gate, record) };
        ContainerBuilder::new(id.to_string(), SyscallType::default())
            .with_executor(workload)
            .with_root_path(directory.join(LIBCONTAINER))?
            .with_console_socket(console)
            .with_preserved_fds(preserved)
            .as_init(directory)
            .with_systemd(false)
            .with_detach(true)
            .with_no_pivot(no_pivot)
            .as_sibling(is_beside)
            .build()?
            .pid()
            .map(i32::from)
            .ok_or(CreateError::NoProcess)
    }

    fn workload(self, id: &ContainerId, gate: &Rc<OwnedFd>, record: &Record) -> Workload {
        let config = &self.bundle.config;
        let keyring = CString::new(format!("_ses.{id}")).ok();
        let mut state = record.state(Status::Created);
        // As the program sees itself; only it can know.
        state.pid = 1;
        Workload {
            runs_on: self.runs_on,
            label: self.label,
            gate: Rc::clone(gate),
            listening: None,
            arguments: config.arguments().to_vec(),
            environment: descriptors::with_listen_variables(config.environment()),
            uid: config.process().user().uid(),
            stdio: Stdio::of(config, self.is_detached),
            open_files: OpenFiles::of(config),
            surplus: inheritable::surplus(config),
            keyring: keyring.filter(|_| !self.options.no_new_keyring),
            start_hooks: config.hooks(Point::StartContainer.name()),
            state,
            prepared: OnceCell::new(),
        }
    }
}

/// Notes the container's first process, and what cgroups there are.
fn complete(record: &mut Record, pid: i32, devices: &devices::Decision) -> Result<(), CreateError> {
    record.process = Some(ProcessName::of(pid).map_err(CreateError::Process)?);
    steps::tell(&[steps::CHILD, steps::COMPLETE]);
    record.cgroups.retain(|directory| directory.exists());
    devices::take_back(devices, &record.cgroups)?;
    record.memberships.retain(|directory| directory.exists());
    Ok(())
}

/// After a birth: nobody is left but the container's first process, so it alone counts.
fn settle(pid: i32, config: &Config, record: &Record) -> Result<(), CreateError> {
    reap_children_but(pid);
    own_limits::set_last(config, &record.cgroups)
}

/// Writes what libcontainer reads.
fn write_config(directory: &Path, document: &Value) -> Result<(), CreateError> {
    replace_file(&directory.join("config.json"), document.to_string().as_bytes())
        .map_err(CreateError::WriteConfig)
}
