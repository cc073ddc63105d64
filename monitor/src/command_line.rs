//! `km`'s two ways of being started: by hand, with options, or by krun, with a
//! launch record.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Parser;
use monitor_launch::{Action, Exitless, Findings, LAUNCH_VARIABLE, LaunchRecord};
use monitor_sys::{Errno, auxiliary, descriptors, seccomp};
use rustix::thread::set_no_new_privs;

use crate::{
    machine::{self, Invocation, StartError},
    platform,
    process::Host,
    seccomp::Filters,
};

/// The devices that make virtual machines, in the order they are looked for.
const USUAL_DEVICES: [&str; 2] = ["/dev/kvm", "/dev/kkm"];

/// Runs one unmodified Linux program in a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "km", version, about)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct CommandLine {
    /// Print the program's system calls to standard error, as strace does.
    #[arg(long)]
    strace: bool,
    /// Show the host's kernel release as it is, without `.kontain.KVM` behind it.
    #[arg(long)]
    no_release_suffix: bool,
    /// Whether a thread of km's makes the program's system calls where that is quicker than leaving the
    /// virtual machine for each: auto, on (always, for tests) or off.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    exitless: Exitless,
    /// Let km make any system call on the host, for debugging: without its own seccomp filter, what its
    /// tables refuse is refused by them alone.
    #[arg(long)]
    no_monitor_filter: bool,
    /// At each process's end, print to standard error how many system calls left the virtual machine, and why.
    #[arg(long)]
    stats: bool,
    /// The device that makes virtual machines: /dev/kvm, or where there is none /dev/kkm, Kontain's kernel module,
    /// which is the weaker boundary.
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// The program, searched for in PATH if its name has no slash, and its
    /// arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Runs or checks what the command line or the launch record says. Returns the
/// exit status of a program that was not run.
pub fn main() -> anyhow::Result<u8> {
    let environment = auxiliary::environment();
    match launch_descriptor(environment.first()) {
        Some(descriptor) => launched(descriptor, environment),
        None => by_hand(environment),
    }
}

/// The descriptor krun names in the first variable.
fn launch_descriptor(first: Option<&Vec<u8>>) -> Option<i32> {
    let value = first?.strip_prefix(LAUNCH_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn launched(descriptor: i32, mut environment: Vec<Vec<u8>>) -> anyhow::Result<u8> {
    environment.remove(0);
    let record = read_record(descriptor)?;
    let arguments = std::env::args_os().map(OsString::into_vec).collect();
    let program = PathBuf::from(OsString::from_vec(record.program));
    let (signal_mask, ignored) = (record.signal_mask, record.ignored);
    let filters = Filters::decode(&record.filters).context("a seccomp filter is not valid")?;
    let given = record.descriptors;
    let room = descriptors::make_room();
    let take = |descriptor: Option<i32>| descriptor.map(take_over).transpose();
    let device = take_over(record.device.descriptor)?;
    let opened = take(given.program)?;
    let file = opened.as_ref().map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()));
    let file = file.map(PathBuf::from);
    let (findings, kind) = (record.findings, record.device.kind);
    let invocation = Invocation {
        program,
        file,
        arguments,
        environment,
        signal_mask,
        ignored,
        filters,
        findings,
        kind,
    };
    let host = Host {
        release_suffix: record.release_suffix,
        asks_agent: record.asks_agent,
        exitless: record.exitless,
        stats: record.stats,
        own_filter: record.own_filter,
        trace: take(given.trace)?.map(File::from),
        log: take(given.log)?.map(File::from).or_else(|| machine::hidden_copy(io::stderr())),
        monitor: take(given.monitor)?.or_else(own_program),
        program: opened,
        procfs: take(given.procfs)?,
    };
    drop(room);
    if record.action == Action::Check {
        let passed = |findings: &Findings| write_line(&findings.to_line());
        return Ok(report(machine::check(device, &invocation, passed).err()));
    }
    Ok(report(Some(machine::run(device, &invocation, host))))
}

/// Puts the monitor's own filter on this process. krun has done so where it starts a monitor.
///
/// Linux lets an ordinary user do it to a process that can gain no rights any more. A guest gains none by
/// executing a program anyway; it can see that the flag is set.
fn confine() -> anyhow::Result<()> {
    let filter = monitor_filter::PROGRAM;
    let loaded = match seccomp::confine(filter, monitor_filter::FLAGS) {
        Err(Errno::EACCES) => {
            set_no_new_privs(true).context("prctl(PR_SET_NO_NEW_PRIVS)")?;
            seccomp::confine(filter, monitor_filter::FLAGS)
        }
        loaded => loaded,
    };
    loaded.context("load km's own seccomp filter (--no-monitor-filter does without)")
}

/// Takes a descriptor of the record's out of the guest's reach.
fn take_over(descriptor: i32) -> anyhow::Result<OwnedFd> {
    let taken = descriptors::inherit(descriptor);
    hide(
        taken
            .with_context(|| format!("the launch record's descriptor {descriptor} is not open"))?,
    )
}

/// The monitor's own program. What stands at its name is only believed on a true
/// `/proc`: an image could have a file there.
fn own_program() -> Option<OwnedFd> {
    let proc = File::open("/proc/self").ok()?;
    let status = rustix::fs::fstatfs(&proc).ok()?;
    if status.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return None;
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let own = rustix::fs::openat(&proc, "exe", flags, rustix::fs::Mode::empty()).ok()?;
    hide(own).ok()
}

fn read_record(descriptor: i32) -> anyhow::Result<LaunchRecord> {
    let record = descriptors::inherit(descriptor);
    let record = record.with_context(|| format!("{LAUNCH_VARIABLE}={descriptor} is not open"))?;
    let mut file = File::from(record);
    io::Seek::rewind(&mut file).context("rewind the launch record")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read the launch record")?;
    LaunchRecord::decode(&bytes).context("read the launch record")
}

fn by_hand(environment: Vec<Vec<u8>>) -> anyhow::Result<u8> {
    let options = CommandLine::parse();
    let device = open_device(options.device.as_deref())?;
    let [name, ..] = options.program.as_slice() else { bail!("no program") };
    let invocation = Invocation {
        program: find(name, &environment),
        file: None,
        arguments: options.program.iter().cloned().map(OsString::into_vec).collect(),
        environment,
        signal_mask: None,
        ignored: None,
        filters: Filters::default(),
        findings: Findings::default(),
        kind: platform::kind_of(&device),
    };
    let trace = if options.strace { machine::hidden_copy(io::stderr()) } else { None };
    let log = machine::hidden_copy(io::stderr());
    let host = Host {
        release_suffix: !options.no_release_suffix,
        asks_agent: false,
        exitless: options.exitless,
        stats: options.stats,
        own_filter: !options.no_monitor_filter,
        trace,
        log,
        monitor: own_program(),
        program: None,
        procfs: None,
    };
    if host.own_filter {
        confine()?;
    }
    let error = machine::run(device, &invocation, host);
    write_line(&format!("km: {}: {error}", invocation.program.display()));
    Ok(error.exit_status())
}

/// Opens the device that was named, or the first of the usual ones that is there.
fn open_device(named: Option<&Path>) -> anyhow::Result<OwnedFd> {
    let usual = USUAL_DEVICES.map(Path::new);
    let [first, ..] = usual;
    let path = named.or_else(|| usual.into_iter().find(|path| path.exists())).unwrap_or(first);
    descriptors::open_device(path).with_context(|| {
        format!("open {}: a device that makes virtual machines is needed", path.display())
    })
}

/// Looks a name without a slash up in `PATH`, as a shell does.
fn find(name: &OsString, environment: &[Vec<u8>]) -> PathBuf {
    let path = Path::new(name);
    if path.components().count() > 1 || path.is_absolute() {
        return path.to_owned();
    }
    let list = environment.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let list = OsString::from_vec(list.unwrap_or(b"/usr/bin:/bin").to_vec());
    let found = std::env::split_paths(&list).map(|folder| folder.join(name));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| path.to_owned())
}

fn hide(device: OwnedFd) -> anyhow::Result<OwnedFd> {
    descriptors::hide(device).context("move the device's descriptor")
}

/// One line on standard error for what went wrong.
fn report(error: Option<StartError>) -> u8 {
    let Some(error) = error else { return 0 };
    write_line(&error.to_string());
    error.exit_status()
}

/// Standard error may be closed; then there is nobody to tell.
fn write_line(line: &str) {
    use std::io::Write;
    _ = writeln!(io::stderr(), "{line}");
}
