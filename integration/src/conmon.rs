//! conmon, called as CRI-O and podman call it: it makes one container by a runtime, then holds its
//! terminal or pipes, writes its log and says how it has ended.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};
use tempfile::TempDir;

use crate::bundle::Bundle;
use crate::outcome::{self, Outcome, TIME_LIMIT};
use crate::runtime::Runtime;

/// The container's name.
const ID: &str = "web";

/// Where conmon writes what came of the runtime's `create`: descriptor 3, here a file.
const WITH_REPORT: &str = "exec 3>\"$REPORT\"; exec conmon \"$@\"";

/// How long an attached client waits for a packet.
const PATIENCE: Duration = Duration::from_mins(1);

/// A container that conmon looks after.
#[derive(Debug)]
pub struct Conmon {
    runtime: Runtime,
    bundle: Bundle,
    dir: TempDir,
}

impl Conmon {
    /// Has conmon create a container of this bundle.
    pub fn create(runtime: Runtime, bundle: Bundle, options: &[&str]) -> Result<Self> {
        // The sockets' paths must stay short.
        let dir = tempfile::Builder::new().prefix("krun-conmon").tempdir_in("/tmp")?;
        for name in ["exits", "sockets"] {
            fs::create_dir(dir.path().join(name))?;
        }
        let it = Self { runtime, bundle, dir };
        let mut conmon = Command::new("sh");
        // conmon leaves a note where it is.
        conmon.current_dir(it.bundle.path());
        conmon.env("REPORT", it.path("report")).env("_OCI_SYNCPIPE", "3");
        conmon.args(["-c", WITH_REPORT, "conmon", "--api-version", "1"]);
        conmon.args(["--cid", ID, "--cuuid", ID, "--name", ID, "--runtime-arg", "--root"]);
        conmon.arg("--runtime-arg").arg(it.runtime.root());
        for option in
            it.runtime.policy_dir().into_iter().flat_map(|dir| ["--policy-dir".as_ref(), dir])
        {
            conmon.arg("--runtime-arg").arg(option);
        }
        for (option, path) in [
            ("--runtime", absolute(it.runtime.program())?),
            ("--bundle", it.bundle.path().to_owned()),
            ("--persist-dir", it.bundle.path().to_owned()),
            ("--exit-dir", it.path("exits")),
            ("--socket-dir-path", it.path("sockets")),
            ("--container-pidfile", it.path("pid")),
            ("--conmon-pidfile", it.path("conmon-pid")),
        ] {
            conmon.arg(option).arg(path);
        }
        conmon.arg("--log-path").arg(format!("k8s-file:{}", it.path("log").display()));
        let started = outcome::run(conmon.args(options), None)?;
        ensure!(started.is_success(), "conmon: {started:?}");
        ensure!(
            outcome::eventually(TIME_LIMIT, || it.report().ends_with('\n')),
            "conmon has not said what came of create: {:?}",
            it.report()
        );
        Ok(it)
    }

    /// What conmon tells its caller: the pid, or why there is none.
    pub fn report(&self) -> String {
        fs::read_to_string(self.path("report")).unwrap_or_default()
    }

    /// The number in the container's pid file.
    pub fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(self.path("pid")).context("read the pid file")?;
        text.trim().parse().context("a pid file holds a number")
    }

    /// A call of the runtime about the container.
    pub fn call(&self, args: &[&str]) -> Result<Outcome> {
        self.runtime.call(args.iter().chain([&ID]))
    }

    /// Sends the container a signal.
    pub fn kill(&self, signal: &str) -> Result<Outcome> {
        self.runtime.call(["kill", ID, signal])
    }

    /// Waits for the container's end, and returns what the exit file says.
    pub fn exit(&self) -> Result<String> {
        let exit = || fs::read_to_string(self.path("exits").join(ID));
        let ended = outcome::eventually(TIME_LIMIT, || exit().is_ok_and(|text| !text.is_empty()));
        ensure!(ended, "no exit file, and the log is {:?}", self.log());
        Ok(exit()?)
    }

    /// The log without times.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.split_once(' '));
        lines.map(|(_, rest)| rest).collect()
    }

    /// Whether conmon has taken note that the container had no memory left.
    pub fn was_out_of_memory(&self) -> bool {
        self.bundle.path().join("oom").exists()
    }

    /// Sets the size of the container's terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let control = self.bundle.path().join("ctl");
        Ok(fs::write(control, format!("1 {rows} {columns}\n"))?)
    }

    /// Attaches to the container's input and outputs.
    pub fn attach(&self) -> Result<Attached> {
        let path = self.path("sockets").join(ID).join("attach");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&socket, timeout, Some(PATIENCE))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(&path)?)
            .with_context(|| format!("attach to what became {}", self.report()))?;
        Ok(Attached(socket))
    }

    /// Deletes the container: conmon must be gone, and nothing may be left.
    pub fn finish(self) -> Result<()> {
        let deleted = self.call(&["delete", "--force"])?;
        ensure!(deleted.is_success(), "{deleted:?}");
        let pid = fs::read_to_string(self.path("conmon-pid"))?;
        let gone = || !Path::new("/proc").join(pid.trim()).exists();
        ensure!(outcome::eventually(TIME_LIMIT, gone), "conmon stays: {pid}");
        self.bundle.footprint.ensure_nothing_is_left()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Conmon {
    /// conmon goes when its container does.
    fn drop(&mut self) {
        drop(self.call(&["delete", "--force"]));
    }
}

/// A client's end of the socket that a container's outputs come out of.
#[derive(Debug)]
pub struct Attached(OwnedFd);

impl Attached {
    /// Writes to the container's input.
    pub fn write(&self, text: &str) -> Result<()> {
        rustix::net::send(&self.0, text.as_bytes(), SendFlags::empty())?;
        Ok(())
    }

    /// Reads until an output has said this. Every packet begins with the output's number.
    pub fn read_until(&self, end: &str) -> Result<String> {
        let (mut said, mut packet) = (String::new(), [0; 8192]);
        while !said.contains(end) {
            let (_, len) = rustix::net::recv(&self.0, &mut packet, RecvFlags::empty())
                .with_context(|| format!("wait for {end:?} after {said:?}"))?;
            ensure!(len > 0, "the container's outputs end after {said:?}");
            said.push_str(&String::from_utf8_lossy(&packet[1..len]));
        }
        Ok(said)
    }
}

/// The path of a program that is named as a shell would name it.
fn absolute(program: &Path) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{} is not installed", program.display()))
}
