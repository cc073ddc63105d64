//! What `krun features` prints: complete, and true of this build.
//!
//! Engines read it once, without privileges and on machines without virtualisation, so it
//! says what krun understands and not what this host has. A feature that krun refuses or
//! ignores is not in it.

use serde_json::{Value, json};

use crate::OCI_VERSION;
use crate::check::HOOK_POINTS;

/// The oldest version of the specification whose documents are read.
const OCI_VERSION_MIN: &str = "1.0.0";

/// The mount options that have a meaning of their own; others go to the file system.
const MOUNT_OPTIONS: &[&str] = &[
    "acl",
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noacl",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// The namespaces a container can have of its own, or join.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

/// The capabilities that can be given, in the kernel's order.
const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What `set_mempolicy(2)` is asked for, by libcontainer.
const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

/// Its flags.
const MEMORY_FLAGS: [&str; 3] =
    ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// The document, with `version` and `commit` among the annotations.
pub fn document(version: &str, commit: &str) -> Value {
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": HOOK_POINTS,
        "mountOptions": MOUNT_OPTIONS,
        "linux": linux(),
        "annotations": {
            "io.kontain.krun.version": version,
            "io.kontain.krun.commit": commit,
        },
        "potentiallyUnsafeConfigAnnotations": [],
    })
}

fn linux() -> Value {
    json!({
        "namespaces": NAMESPACES,
        "capabilities": CAPABILITIES,
        "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": false },
        "seccomp": seccomp(),
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true },
        "memoryPolicy": { "modes": MEMORY_MODES, "flags": MEMORY_FLAGS },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

/// Profiles are enforced on the guest's calls.
fn seccomp() -> Value {
    json!({
        "enabled": true,
        "actions": [
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP",
        ],
        "operators": [
            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
        ],
        "archs": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CAPABILITIES, MOUNT_OPTIONS, document};

    #[test]
    fn nothing_is_listed_twice() {
        assert_eq!(MOUNT_OPTIONS.iter().collect::<BTreeSet<_>>().len(), MOUNT_OPTIONS.len());
        assert_eq!(CAPABILITIES.iter().collect::<BTreeSet<_>>().len(), CAPABILITIES.len());
    }

    #[test]
    fn the_document_has_the_keys_engines_read() {
        let document = document("0.1.0", "abc");

        for pointer in [
            "/ociVersionMin",
            "/ociVersionMax",
            "/hooks/5",
            "/linux/namespaces/7",
            "/linux/cgroup/v1",
            "/linux/seccomp/enabled",
            "/linux/mountExtensions/idmap/enabled",
            "/annotations/io.kontain.krun.version",
        ] {
            assert!(document.pointer(pointer).is_some(), "{pointer} is missing");
        }
    }
}
