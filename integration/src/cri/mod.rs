//! A private containerd with its CRI plugin: what a kubelet would talk to.
//!
//! Pods are made by the runtime handlers that are called as the [`RUNTIMES`] are, and by [`NODE`]. They get
//! an address on a bridge by CNI's plugins, in the daemon's own network namespace. The image of all
//! containers, the pause container's too, is imported, as there is no registry.

mod client;
mod image;
pub mod stream;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

pub use self::client::Answer;
use self::stream::Stream;
use crate::built;
use crate::containerd::Containerd;
use crate::outcome::{self, Outcome, TIME_LIMIT};
use crate::runtime::{self, Modes, RUNTIMES};

/// krun with the preset for nodes of Kubernetes, which knows the image's [`image::PAUSE`].
pub const NODE: &str = "krun-node";

/// The image that [`Cri::start`] imports. Its command is [`image::PAUSE`].
pub const IMAGE: &str = "localhost/busybox:test";

/// Where CNI's library keeps what it has done, whatever the daemon's directories are.
const CNI_CACHE: [&str; 2] = ["/var/lib/cni", "/var/lib/cni/results"];

/// A running daemon. Dropping it stops it and takes away all it made.
#[derive(Debug)]
pub struct Cri {
    containerd: Containerd,
    /// Dropped when the daemon has ended.
    _cache: CniCache,
}

impl Cri {
    /// Starts a daemon that knows the runtimes and [`IMAGE`].
    pub fn start() -> Result<Self> {
        let containerd = Containerd::start_with(configure)?;
        let cache = CniCache::note(containerd.directory());
        image::import(&containerd, IMAGE)?;
        let cri = Self { containerd, _cache: cache };
        let wanted = format!("image {{ image: {IMAGE:?} }}");
        let is_known = || {
            let status = cri.call("ImageService/ImageStatus", &wanted);
            status.is_ok_and(|answer| answer.field("id").is_some())
        };
        ensure!(outcome::eventually(TIME_LIMIT, is_known), "no image: {}", cri.log());
        Ok(cri)
    }

    /// A call of the interface, its request in protobuf's text format. Fails as the call does.
    pub fn call(&self, method: &str, request: &str) -> Result<Answer> {
        client::call(&self.containerd.socket(), self.containerd.directory(), method, request)
    }

    /// A call whose answer is the address of a stream, which is opened, with this behind the address.
    pub fn stream(&self, method: &str, request: &str, more: &str) -> Result<Stream> {
        let url = self.call(method, request)?.field("url").context("an address")?;
        let place = url.strip_prefix("http://").and_then(|place| place.split_once('/'));
        let (host, path) = place.with_context(|| format!("a place in {url}"))?;
        let (host, port) = host.split_once(':').context("a port")?;
        let mut connect = self.containerd.command_outside(&["nc", host, port]);
        Stream::open(&mut connect, &format!("/{path}{more}"))
    }

    /// A busybox program of the host's, in the daemon's network: what is outside for a pod.
    pub fn outside(&self, args: &[&str]) -> Result<Outcome> {
        self.containerd.outside(args)
    }

    /// A directory of the daemon's, for logs and volumes.
    pub fn directory(&self) -> &Path {
        self.containerd.directory()
    }

    /// The cgroup that is to be the parent of every pod's.
    pub fn cgroup(&self) -> &str {
        self.containerd.cgroup()
    }

    /// The `--root` of all runtimes.
    pub fn runtime_root(&self) -> PathBuf {
        self.directory().join("runtime/k8s.io")
    }

    /// The mode and the rule that krun's `list` names for each container.
    pub fn modes(&self) -> Result<Modes> {
        runtime::modes(&built::krun()?, &self.runtime_root())
    }

    /// Fails unless pods have left nothing.
    pub fn ensure_nothing_is_left(&self) -> Result<()> {
        self.containerd.ensure_nothing_is_left()?;
        let states = fs::read_dir(self.runtime_root()).into_iter().flatten().count();
        ensure!(states == 0, "{states} runtime states left");
        Ok(())
    }

    /// The end of the daemon's log, for a test that fails.
    pub fn log(&self) -> String {
        self.containerd.log()
    }
}

/// Writes CNI's configuration, and returns the plugin's.
fn configure(dir: &Path) -> Result<String> {
    let network = json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "pods0", "isGateway": true,
        "ipam": {
            "type": "host-local", "dataDir": dir.join("leases"),
            "ranges": [[{"subnet": "172.29.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]
        }
    }]});
    fs::create_dir(dir.join("cni"))?;
    fs::write(dir.join("cni/10-pods.conflist"), network.to_string()).context("configure CNI")?;
    // Not every machine lets root lower a process's oom_score_adj, as pause containers ask for.
    let mut toml = format!(
        "[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{IMAGE}'\n\
         restrict_oom_score_adj = true\nnetns_mounts_under_state_dir = true\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '/usr/lib/cni'\nconf_dir = '{}'\n",
        dir.join("cni").display()
    );
    let policy = dir.join("node-policy");
    fs::create_dir(&policy)?;
    let rules = format!("preset = \"kubernetes\"\npause_sha256 = [{:?}]\n", image::pause_hash()?);
    fs::write(policy.join("10-node.toml"), rules)?;
    let node = runtime::with_policy(&dir.join(NODE), &policy)?;
    let binary = |name| Ok((name, runtime::binary(name, dir)?));
    let known: Vec<_> = RUNTIMES.into_iter().map(binary).collect::<Result<_>>()?;
    for (name, binary) in known.into_iter().chain([(NODE, node)]) {
        let runtime = format!(
            "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.{name}]\n\
             runtime_type = 'io.containerd.runc.v2'\n\
             [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.{name}.options]\n\
             BinaryName = '{}'\nRoot = '{}'\n",
            binary.display(),
            dir.join("runtime").display()
        );
        toml.push_str(&runtime);
    }
    Ok(toml)
}

/// What a daemon leaves in [`CNI_CACHE`]: notes on pods that a failed test has not removed, and the
/// directories if they were not there.
#[derive(Debug)]
struct CniCache {
    /// The daemon's directory, which its notes name.
    daemon: String,
    made: Vec<&'static str>,
}

impl CniCache {
    fn note(daemon: &Path) -> Self {
        let made = CNI_CACHE.into_iter().filter(|path| !Path::new(path).exists()).collect();
        Self { daemon: daemon.to_string_lossy().into_owned(), made }
    }
}

impl Drop for CniCache {
    fn drop(&mut self) {
        for note in fs::read_dir(CNI_CACHE[1]).into_iter().flatten().flatten() {
            if fs::read_to_string(note.path()).is_ok_and(|text| text.contains(&self.daemon)) {
                drop(fs::remove_file(note.path()));
            }
        }
        for path in self.made.iter().rev() {
            drop(fs::remove_dir(path));
        }
    }
}
