//! The `config.json` that `krun spec` writes: runc's starting point for a bundle.

use serde_json::{Value, json};

use crate::OCI_VERSION;

/// What the program may do with its rights; runc's choice.
const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
    "/sys/devices/virtual/tpm",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user for whom `krun spec --rootless` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rootless {
    /// The user's number on the host, root's in the container.
    pub uid: u32,
    /// The group's number on the host, root's in the container.
    pub gid: u32,
}

/// The document, with tabs and without a line end.
///
/// `has_cgroup_version_2` adds a cgroup namespace, as runc does.
pub fn document(has_cgroup_version_2: bool, rootless: Option<Rootless>) -> String {
    let mut document = full(has_cgroup_version_2);
    if let Some(user) = rootless {
        adapt(&mut document, user);
    }
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, tabs);
    let written = serde::Serialize::serialize(&document, &mut writer);
    written.expect("text and numbers can always be written");
    String::from_utf8_lossy(&text).into_owned()
}

fn full(has_cgroup_version_2: bool) -> Value {
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    namespaces.extend(has_cgroup_version_2.then_some("cgroup"));
    let namespaces: Vec<_> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY
        }
    })
}

fn mounts() -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &str| {
        let mut mount = json!({ "destination": destination, "type": kind, "source": source });
        if !options.is_empty() {
            mount["options"] = options.split(',').collect();
        }
        mount
    };
    let pts = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5";
    vec![
        mount("/proc", "proc", "proc", ""),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
}

/// Takes away what an ordinary user may not ask for, and adds the user namespace.
fn adapt(document: &mut Value, user: Rootless) {
    let linux = &mut document["linux"];
    if let Some(members) = linux.as_object_mut() {
        members.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
    }
    let mapping = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    linux["uidMappings"] = mapping(user.uid);
    linux["gidMappings"] = mapping(user.gid);
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            mount["type"] = json!("none");
            mount["source"] = json!("/sys");
            mount["options"] = json!(["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| option.as_str().is_none_or(|text| !text.starts_with("gid=")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Rootless, document};
    use crate::Config;

    #[test]
    fn the_document_is_one_that_krun_accepts() {
        for rootless in [None, Some(Rootless { uid: 1000, gid: 100 })] {
            let text = document(true, rootless);

            let config = Config::parse(text.as_bytes()).unwrap();
            assert!(config.wants_terminal() && config.arguments() == ["sh"]);
        }
    }

    #[test]
    fn an_ordinary_user_gets_a_user_namespace_and_no_network() {
        let text = document(false, Some(Rootless { uid: 1000, gid: 100 }));

        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(document["linux"]["gidMappings"][0]["hostID"], 100);
        assert!(document["linux"].get("resources").is_none());
        assert!(text.contains("\"user\"") && !text.contains("\"network\""));
        assert!(!text.contains("gid="));
    }
}
