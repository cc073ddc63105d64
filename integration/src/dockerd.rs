//! A private dockerd, with its own containerd, directories, socket and cgroup.
//!
//! It shares nothing with a daemon that the machine may run, and brings no bridge and no firewall
//! rules unless it is in a network namespace of its own. It is ready in half a second, so every test
//! has its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::footprint::Footprint;
use crate::network;
use crate::outcome::{self, End, Outcome};
use crate::rootfs;
use crate::runtime::{self, Modes};

/// The image that [`Dockerd::start`] imports.
pub const IMAGE: &str = "busybox:test";

pub use crate::runtime::RUNTIMES;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What a daemon may do for its containers' network.
#[derive(Clone, Copy, Debug)]
enum Network {
    /// Nothing: there are no bridges.
    Absent,
    /// Bridges and firewall rules, in a namespace of the daemon's own.
    Own,
}

/// The options of a daemon without a network.
const NO_NETWORK: [&str; 3] = ["--bridge=none", "--iptables=false", "--ip6tables=false"];

/// A running daemon. Dropping it stops it and takes away all it made.
#[derive(Debug)]
pub struct Dockerd {
    daemon: Child,
    network: Network,
    footprint: Footprint,
    dir: TempDir,
}

impl Dockerd {
    /// Starts a daemon that knows the [`RUNTIMES`], and imports [`IMAGE`], with these programs added.
    pub fn start(krun: &Path, programs: &[(&str, PathBuf)]) -> Result<Self> {
        let dir = directory()?;
        let configuration = json!({"runtimes": runtimes(krun, dir.path())?});
        Self::configured(dir, configuration, true, programs)
    }

    /// Starts one that knows these runtimes too, given as its configuration has them.
    pub fn start_with_runtimes(krun: &Path, others: &Value) -> Result<Self> {
        let dir = directory()?;
        let mut all = runtimes(krun, dir.path())?;
        for (name, runtime) in others.as_object().into_iter().flatten() {
            all[name.as_str()] = runtime.clone();
        }
        Self::configured(dir, json!({"runtimes": all}), true, &[])
    }

    /// Starts one that has bridges, in a network namespace of its own.
    pub fn start_with_network(krun: &Path) -> Result<Self> {
        let dir = directory()?;
        let configuration = json!({"runtimes": runtimes(krun, dir.path())?});
        Self::launched(Network::Own, dir, configuration, true, &[])
    }

    /// Starts one that leaves containers alone when it ends.
    pub fn start_with_live_restore(krun: &Path) -> Result<Self> {
        let dir = directory()?;
        let configuration = json!({"runtimes": runtimes(krun, dir.path())?, "live-restore": true});
        Self::configured(dir, configuration, true, &[])
    }

    /// Starts one whose default runtime is `krun` with the policy in this directory, and which puts
    /// containers where dockerd by itself puts them: below `/docker`.
    pub fn start_with_policy(krun: &Path, policy: &Path) -> Result<Self> {
        let runtime = json!({"path": krun, "runtimeArgs": ["--policy-dir", policy]});
        let configuration = json!({"runtimes": {"krun": runtime}, "default-runtime": "krun"});
        Self::configured(directory()?, configuration, false, &[])
    }

    /// Starts one on the configuration that is made of the text of one without runtimes.
    pub fn start_on(make: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let dir = directory()?;
        let parent = Footprint::new(dir.path()).cgroup().to_owned();
        let text = make(&format!("{:#}\n", json!({"cgroup-parent": parent})))?;
        Self::on(Network::Absent, dir, &text, &[])
    }

    fn configured(
        dir: TempDir,
        configuration: Value,
        own_cgroup: bool,
        programs: &[(&str, PathBuf)],
    ) -> Result<Self> {
        Self::launched(Network::Absent, dir, configuration, own_cgroup, programs)
    }

    fn launched(
        network: Network,
        dir: TempDir,
        mut configuration: Value,
        own_cgroup: bool,
        programs: &[(&str, PathBuf)],
    ) -> Result<Self> {
        if own_cgroup {
            configuration["cgroup-parent"] = json!(Footprint::new(dir.path()).cgroup());
        }
        Self::on(network, dir, &configuration.to_string(), programs)
    }

    fn on(
        network: Network,
        dir: TempDir,
        configuration: &str,
        programs: &[(&str, PathBuf)],
    ) -> Result<Self> {
        fs::write(dir.path().join("config.json"), configuration)
            .context("write dockerd's configuration")?;
        let daemon = spawn(dir.path(), network)?;
        let footprint = Footprint::new(dir.path());
        let mut dockerd = Self { daemon, network, footprint, dir };
        dockerd.wait_until_it_answers()?;
        dockerd.import(programs)?;
        if matches!(network, Network::Own) {
            // The daemon keeps hold of its own network once a container is in it.
            let first = dockerd.call(["run", "--rm", "--network", "host", IMAGE, "true"])?;
            ensure!(first.is_success(), "docker run: {first:?}");
        }
        dockerd.footprint.accept_what_is_there()?;
        Ok(dockerd)
    }

    /// A client's command, to be changed or started.
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", self.path("client")).arg("--host").arg(self.host());
        command.args(args);
        command
    }

    /// A client's call, to its end.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
        outcome::run(&mut self.docker(args), None)
    }

    /// `docker run --rm` with this runtime, to its end.
    pub fn run(&self, runtime: &str, args: &[&str], stdin: Option<&[u8]>) -> Result<Outcome> {
        outcome::run(&mut self.docker(run_args(runtime, args)), stdin)
    }

    /// Runs with each of the [`RUNTIMES`], and panics unless output and exit code are runc's and
    /// nothing is left. Returns what krun did, in a virtual machine.
    #[track_caller]
    pub fn assert_same(&self, args: &[&str], stdin: Option<&[u8]>) -> Outcome {
        let [expected, got, native] = RUNTIMES.map(|runtime| {
            let outcome = self.run(runtime, args, stdin).expect("the client can be run");
            self.ensure_nothing_is_left().unwrap_or_else(|left| {
                panic!("{args:?} by {runtime}: {outcome:?}\n{left}\n{}", self.log())
            });
            outcome
        });
        for got in [&got, &native] {
            let mut different = outcome::difference(&expected, got);
            if matches!(expected.end, End::Exited(125..=127)) && expected.end == got.end {
                // The engine refuses to start the program: standard error has its own words.
                different = None;
            }
            if let Some(difference) = different {
                panic!("{args:?}\n{difference}\n=== krun: {got:?}\n=== log: {}", self.log());
            }
        }
        got
    }

    /// Fails unless containers have left nothing.
    pub fn ensure_nothing_is_left(&self) -> Result<()> {
        self.footprint.ensure_nothing_is_left()?;
        let states = runtime_states(&self.path("exec"));
        ensure!(states.is_empty(), "runtime state left: {states:?}");
        Ok(())
    }

    /// The end of the daemon's log, for a test that fails.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().filter(|line| !line.contains("module=grpc")).collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The mode and the rule that krun's `list` names for each running container, by its ID.
    pub fn modes(&self, krun: &Path) -> Result<Modes> {
        let mut modes = BTreeMap::new();
        for state in runtime_states(&self.path("exec")) {
            let Some(root) = state.parent() else { continue };
            modes.extend(runtime::modes(krun, root)?);
        }
        Ok(modes)
    }

    /// A busybox program of the host's, in the daemon's network: what is outside for a container.
    pub fn outside(&self, args: &[&str]) -> Result<Outcome> {
        outcome::run(&mut network::beside(self.daemon.id(), args), None)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// The address of the daemon's socket, as clients take it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let answered = outcome::eventually(START_LIMIT, || {
            let gone = self.daemon.try_wait().is_ok_and(|status| status.is_some());
            gone || self.call(["version"]).is_ok_and(|outcome| outcome.is_success())
        });
        if !answered || self.daemon.try_wait()?.is_some() {
            bail!("dockerd does not start: {}", self.log());
        }
        Ok(())
    }

    fn import(&self, programs: &[(&str, PathBuf)]) -> Result<()> {
        let root = self.path("image");
        fs::create_dir(&root)?;
        rootfs::make(&root)?;
        for (name, from) in programs {
            rootfs::add_program(&root, name, from)?;
        }
        self.import_image(&root, IMAGE)
    }

    /// Makes an image of a directory.
    pub fn import_image(&self, root: &Path, name: &str) -> Result<()> {
        let tar = self.path("image.tar");
        let packed = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(root).arg(".").status();
        ensure!(packed.context("start tar")?.success(), "tar could not pack the image");
        let path = "ENV PATH=/bin";
        let imported = self.call(["import", "--change", path, &tar.to_string_lossy(), name])?;
        ensure!(imported.is_success(), "docker import: {imported:?}");
        Ok(())
    }

    /// Ends the daemon and starts it again on the same directories.
    pub fn restart(&mut self) -> Result<()> {
        let earlier = self.footprint.traces()?;
        self.stop()?;
        self.daemon = spawn(self.dir.path(), self.network)?;
        self.wait_until_it_answers()?;
        self.footprint.accept_what_is_new_since(&earlier)
    }

    fn stop(&mut self) -> Result<()> {
        outcome::signal(&self.daemon, Signal::TERM)?;
        if outcome::wait(&mut self.daemon, STOP_LIMIT)?.is_none() {
            self.daemon.kill()?;
            self.daemon.wait()?;
        }
        Ok(())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// The arguments of `docker run` before those that a test gives.
pub fn run_args<'a>(runtime: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--rm", "--network", "none", "--runtime", runtime], args].concat()
}

fn directory() -> Result<TempDir> {
    // The socket's path must stay short.
    Ok(tempfile::Builder::new().prefix("krun-docker").tempdir_in("/tmp")?)
}

/// krun as dockerd's configuration has it, with and without virtual machines.
fn runtimes(krun: &Path, dir: &Path) -> Result<Value> {
    let policy = runtime::native_policy(dir)?;
    let native = json!({"path": krun, "runtimeArgs": ["--policy-dir", policy]});
    Ok(json!({"krun": {"path": krun}, "krun-native": native}))
}

fn spawn(dir: &Path, network: Network) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let (mut command, options) = match network {
        Network::Absent => (Command::new("dockerd"), &NO_NETWORK[..]),
        Network::Own => (network::alone("dockerd"), &[][..]),
    };
    command
        .args(options)
        .arg("--config-file")
        .arg(dir.join("config.json"))
        .arg("--data-root")
        .arg(dir.join("data"))
        .arg("--exec-root")
        .arg(dir.join("exec"))
        .arg("--pidfile")
        .arg(dir.join("pid"))
        .arg(format!("--host=unix://{}", dir.join("socket").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start dockerd: run integration/prepare first")
}

/// Directories of containers in the state directories of runtimes.
fn runtime_states(exec_root: &Path) -> Vec<PathBuf> {
    let runtimes = fs::read_dir(exec_root).into_iter().flatten().flatten();
    let dirs = runtimes.filter(|dir| dir.file_name().to_string_lossy().starts_with("runtime-"));
    let states = dirs.flat_map(|dir| fs::read_dir(dir.path().join("moby")).into_iter().flatten());
    states.flatten().map(|state| state.path()).collect()
}
