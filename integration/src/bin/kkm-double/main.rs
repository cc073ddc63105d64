//! A double of `/dev/kkm`, for machines that have not got it: `kkm-double KM ARGUMENT...` runs `km` with `--device`
//! leading to a plain file, traces it, and answers its requests of that file as Kontain's module would.
//!
//! The guest runs in the very thread that asks for it, on that thread's memory: so it does with the module. Its
//! system calls, faults and signals stop the thread, and become what the module makes of them: an exit, a record on
//! the guest's stack, a frame.
//!
//! **It proves that `km` agrees with the interface's text** (shared/design/monitor.md, "KKM"), refusals and
//! destructive reads included. It does not prove that the module does. It keeps nothing from the guest: neither the
//! monitor's memory nor its system calls' effects are protected here, as they are by the module's page tables.
#![forbid(unsafe_code)]

mod device;
mod guest;
mod state;
mod tracer;
mod vcpu;

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// The shell that stops itself until it is traced adds a variable of its own.
const WAIT_FOR_TRACER: &str = "kill -STOP $$; exec env -u PWD \"$@\"";

fn main() -> Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let km = arguments.next().context("kkm-double KM ARGUMENT...")?;
    let device = tempfile::NamedTempFile::with_prefix("kkm").context("make a device")?;
    let device_option = [OsString::from("--device"), device.path().into()];
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WAIT_FOR_TRACER, "sh"]).arg(km).args(device_option).args(arguments);
    let child = shell.spawn().context("start a shell")?;
    let process = i32::try_from(child.id()).context("its number")?;
    await_stop(process)?;
    integration_sys::seize(process).context("PTRACE_SEIZE")?;
    let child_pid = Pid::from_raw(process).context("its number")?;
    kill_process(child_pid, Signal::CONT).context("let it go on")?;
    let status = tracer::follow(process, device.path())?;
    drop(device);
    end_as(ExitStatus::from_raw(status))
}

fn await_stop(process: i32) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("the shell does not stop")
}

/// Ends as the traced program did.
fn end_as(status: ExitStatus) -> Result<ExitCode> {
    if let Some(signal) = status.signal() {
        let signal = Signal::from_named_raw(signal).context("a signal without a name")?;
        // The first SIGSEGV or SIGBUS only makes Rust give its handler up.
        for _ in 0..2 {
            kill_process(getpid(), signal).context("end by a signal")?;
            thread::sleep(Duration::from_millis(100));
        }
    }
    let code = status.code().context("it neither ended nor was killed")?;
    Ok(ExitCode::from(u8::try_from(code).context("its status")?))
}
