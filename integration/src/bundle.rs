//! An OCI bundle: a busybox root filesystem and a `config.json` that a test can bend.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::footprint::Footprint;
use crate::rootfs;

/// A bundle in a temporary directory.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
    /// What [`Bundle::write`] writes to `config.json`.
    pub spec: Value,
    /// Where its containers may leave traces.
    pub footprint: Footprint,
}

impl Bundle {
    /// A bundle whose process is `args`, written and ready to run.
    pub fn with_args(args: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("krun-bundle").tempdir()?;
        fs::create_dir(dir.path().join("rootfs"))?;
        rootfs::make(&dir.path().join("rootfs"))?;
        let footprint = Footprint::new(dir.path());
        let bundle = Self { spec: minimal_spec(args, footprint.cgroup()), dir, footprint };
        bundle.write()?;
        Ok(bundle)
    }

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the container's root filesystem.
    pub fn in_rootfs(&self, path: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(path)
    }

    /// Changes the specification and writes it.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        change(&mut self.spec);
        self.write()
    }

    /// Writes `config.json`.
    pub fn write(&self) -> Result<()> {
        Ok(fs::write(self.path().join("config.json"), serde_json::to_vec_pretty(&self.spec)?)?)
    }
}

/// The least that every runtime accepts, with the namespaces and mounts that engines ask for.
fn minimal_spec(args: &[&str], cgroup: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": args,
            "env": ["PATH=/bin", "TERM=dumb"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]
            },
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "krun",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nodev"]}
        ],
        "linux": {
            "cgroupsPath": format!("{cgroup}/container"),
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network"}
            ],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]}
        }
    })
}
