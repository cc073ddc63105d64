//! A private containerd, with its own directories, socket and cgroup, driven by `ctr`. With its CRI plugin it
//! is [`crate::cri`]'s.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::footprint::Footprint;
use crate::network;
use crate::outcome::{self, Outcome};
use crate::rootfs;
use crate::runtime;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running daemon. Dropping it stops it and takes away all it made.
#[derive(Debug)]
pub struct Containerd {
    daemon: Child,
    footprint: Footprint,
    dir: TempDir,
}

impl Containerd {
    /// Starts a daemon, and makes a root filesystem for its containers.
    pub fn start() -> Result<Self> {
        let no_cri = "disabled_plugins = ['io.containerd.grpc.v1.cri']\n".to_owned();
        Self::launch(&mut Command::new("containerd"), |_| Ok(no_cri))
    }

    /// Starts a daemon in a network of its own, with more configuration, which may name the daemon's
    /// directory.
    pub(crate) fn start_with(more: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        Self::launch(&mut network::alone("containerd"), more)
    }

    fn launch(
        containerd: &mut Command,
        more: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        // The socket's path must stay short.
        let dir = tempfile::Builder::new().prefix("krun-ctr").tempdir_in("/tmp")?;
        rootfs::make(&dir.path().join("rootfs"))?;
        let daemon = spawn(containerd, dir.path(), &more(dir.path())?)?;
        let mut footprint = Footprint::new(dir.path());
        let answers = || ctr(dir.path(), ["version"]).is_ok_and(|outcome| outcome.is_success());
        if !outcome::eventually(START_LIMIT, answers) {
            bail!("containerd does not start: {}", log(dir.path()));
        }
        footprint.accept_what_is_there()?;
        Ok(Self { daemon, footprint, dir })
    }

    /// A call of `ctr`, to its end.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
        ctr(self.dir.path(), args)
    }

    /// `ctr run` by one of the [`runtime::RUNTIMES`] with these options, to its end.
    pub fn run(&self, runtime: &str, options: &[&str], id: &str, args: &[&str]) -> Result<Outcome> {
        let binary = runtime::binary(runtime, self.dir.path())?;
        let cgroup = format!("{}/{id}", self.footprint.cgroup());
        let root = self.dir.path().join("rootfs");
        let fixed = [
            OsStr::new("run"),
            OsStr::new("--runc-binary"),
            binary.as_os_str(),
            OsStr::new("--cgroup"),
            OsStr::new(&cgroup),
            OsStr::new("--env"),
            OsStr::new("PATH=/bin"),
        ];
        let rootfs = [OsStr::new("--rootfs"), root.as_os_str(), OsStr::new(id)];
        let options = options.iter().map(OsStr::new);
        let args = args.iter().map(OsStr::new);
        self.call(fixed.into_iter().chain(options).chain(rootfs).chain(args))
    }

    /// Fails unless containers have left nothing.
    pub fn ensure_nothing_is_left(&self) -> Result<()> {
        self.footprint.ensure_nothing_is_left()
    }

    /// A busybox program of the host's, in the daemon's network: what is outside for a pod.
    pub(crate) fn outside(&self, args: &[&str]) -> Result<Outcome> {
        outcome::run(&mut self.command_outside(args), None)
    }

    /// The command of [`Self::outside`], to be changed or started.
    pub(crate) fn command_outside(&self, args: &[&str]) -> Command {
        network::beside(self.daemon.id(), args)
    }

    /// Where all the daemon's files are.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// The cgroup that is to be the parent of every container's.
    pub(crate) fn cgroup(&self) -> &str {
        self.footprint.cgroup()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// The end of the daemon's log, for a test that fails.
    pub fn log(&self) -> String {
        log(self.dir.path())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let stopped = outcome::signal(&self.daemon, Signal::TERM).is_ok()
            && outcome::wait(&mut self.daemon, STOP_LIMIT).is_ok_and(|status| status.is_some());
        if !stopped {
            drop(self.daemon.kill());
            drop(self.daemon.wait());
        }
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("socket")
}

fn ctr<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket(dir)).args(args);
    outcome::run(&mut command, None)
}

fn log(dir: &Path) -> String {
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn spawn(containerd: &mut Command, dir: &Path, more: &str) -> Result<Child> {
    let config = format!(
        "version = 2\nroot = '{}'\nstate = '{}'\n{more}\
         [grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n",
        dir.join("root").display(),
        dir.join("state").display(),
        socket(dir).display(),
        dir.join("ttrpc").display(),
    );
    fs::write(dir.join("config.toml"), config).context("write containerd's configuration")?;
    let log = File::create(dir.join("log"))?;
    containerd
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start containerd: run integration/prepare first")
}
