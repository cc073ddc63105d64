//! `km`'s two ways of being started: by hand, with options, or by krun, with a
//! launch record.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Parser;
use monitor_launch::{Action, DeviceKind, LAUNCH_VARIABLE, LaunchRecord};
use monitor_sys::{auxiliary, descriptors};

use crate::{
    machine::{self, Invocation, StartError},
    process::Options,
};

/// Runs one unmodified Linux program in a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "km", version, about)]
struct CommandLine {
    /// Print the program's system calls to standard error, as strace does.
    #[arg(long)]
    strace: bool,
    /// Show the host's kernel release as it is, without `.kontain.KVM` behind it.
    #[arg(long)]
    no_release_suffix: bool,
    /// The device that makes virtual machines.
    #[arg(long, value_name = "PATH", default_value = "/dev/kvm")]
    device: PathBuf,
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
    if record.device.kind != DeviceKind::Kvm {
        bail!("this km cannot use /dev/kkm");
    }
    let device = descriptors::inherit(record.device.descriptor);
    let device = hide(device.with_context(|| "the launch record's device is not open")?)?;
    let arguments = std::env::args_os().map(OsString::into_vec).collect();
    let program = PathBuf::from(OsString::from_vec(record.program));
    let invocation = Invocation { program, arguments, environment };
    if record.action == Action::Check {
        return Ok(report(machine::check(device, invocation).err()));
    }
    let log = machine::hidden_copy(io::stderr());
    let options = Options { release_suffix: record.release_suffix, trace: None, log };
    Ok(report(Some(machine::run(device, &invocation, options))))
}

fn read_record(descriptor: i32) -> anyhow::Result<LaunchRecord> {
    let record = descriptors::inherit(descriptor);
    let record = record.with_context(|| format!("{LAUNCH_VARIABLE}={descriptor} is not open"))?;
    let mut file = std::fs::File::from(record);
    io::Seek::rewind(&mut file).context("rewind the launch record")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read the launch record")?;
    LaunchRecord::decode(&bytes).context("read the launch record")
}

fn by_hand(environment: Vec<Vec<u8>>) -> anyhow::Result<u8> {
    let options = CommandLine::parse();
    let device = descriptors::open_device(&options.device);
    let device = device.with_context(|| {
        format!("open {}: a device that makes virtual machines is needed", options.device.display())
    })?;
    let [name, ..] = options.program.as_slice() else { bail!("no program") };
    let invocation = Invocation {
        program: find(name, &environment),
        arguments: options.program.iter().cloned().map(OsString::into_vec).collect(),
        environment,
    };
    let trace = if options.strace { machine::hidden_copy(io::stderr()) } else { None };
    let log = machine::hidden_copy(io::stderr());
    let settings = Options { release_suffix: !options.no_release_suffix, trace, log };
    Ok(report(Some(machine::run(device, &invocation, settings))))
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
