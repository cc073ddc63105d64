//! The `config.json` of a suite's container: what engines ask for, as far as this machine has it.

use std::path::Path;

use anyhow::Result;
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use super::{Share, directory};

/// What is started: the suite, once the loopback interface is up.
const START: &str = r#"ip link set lo up && exec "$0""#;

/// Docker's capabilities, and those that suites need to test what they are for.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::IPC_LOCK);

/// Directories of the host that are bound into the container.
#[derive(Clone, Copy)]
pub(super) struct Mounts<'a> {
    pub(super) go: &'a Path,
    pub(super) go_tests: &'a Path,
    pub(super) results: &'a Path,
}

/// The specification of a suite's container, with these directories bound into it.
pub(super) fn of(suite: &str, share: Share, cgroup: &str, bound: &Mounts) -> Result<Value> {
    let capabilities = capabilities()?;
    let namespaces = ["pid", "ipc", "uts", "mount", "network"];
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/bin/sh", "-c", START, format!("/suite/suites/{suite}")],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/go/bin",
                "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", format!("SUITE_SHARE={share}")
            ],
            "cwd": "/work",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}]
        },
        "root": {"path": "rootfs"},
        "hostname": "suite",
        "mounts": mounts(bound),
        "linux": {
            "cgroupsPath": format!("{cgroup}/container"),
            "namespaces": namespaces.map(|kind| json!({"type": kind}))
        }
    }))
}

/// The wanted capabilities that this machine can give.
fn capabilities() -> Result<Vec<String>> {
    let ours = rustix::thread::capabilities(None)?.permitted;
    Ok(CAPABILITIES
        .intersection(ours)
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect())
}

fn mounts(Mounts { go, go_tests, results }: &Mounts) -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=512m"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/suite", "type": "bind", "source": directory(),
         "options": ["rbind", "ro"]},
        {"destination": "/go", "type": "bind", "source": go, "options": ["rbind", "ro"]},
        {"destination": "/go-tests", "type": "bind", "source": go_tests,
         "options": ["rbind", "ro"]},
        {"destination": "/results", "type": "bind", "source": results,
         "options": ["rbind", "rw"]}
    ])
}
