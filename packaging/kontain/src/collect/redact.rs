//! What of other people's files may be told. It is known what is harmless, and the rest is left out: who looks for
//! secrets never knows all their names.

use serde_json::{Map, Value};

use super::words::{says_secret, text};

/// Fields whose texts and numbers are told: krun's, the engines', the specification's of bundles. None of them is made
/// for anything that must be kept.
const TOLD: &[&str] = &[
    // kontain's records and krun's policies.
    "version",
    "name",
    "file",
    "before",
    "after",
    "place",
    "tables",
    "directories",
    "id",
    "mode",
    "rule",
    "preset",
    "pause_sha256",
    "program_sha256",
    "cgroup_parent",
    "binds",
    "binds_within",
    "capabilities_within",
    // krun's records.
    "bundle",
    "rootfs",
    "created",
    "pid",
    "started",
    "cgroups",
    "memberships",
    "company",
    "unit",
    "systemd",
    // dockerd's.
    "runtimeType",
    "path",
    "default-runtime",
    "data-root",
    "exec-root",
    "storage-driver",
    "cgroup-parent",
    "exec-opts",
    "log-level",
    "log-driver",
    "default-cgroupns-mode",
    "containerd",
    "group",
    "pidfile",
    // containerd's, podman's and CRI-O's.
    "root",
    "state",
    "imports",
    "disabled_plugins",
    "required_plugins",
    "level",
    "runtime",
    "runtime_type",
    "runtime_path",
    "runtime_root",
    "runtime_engine",
    "BinaryName",
    "Root",
    "ShimCgroup",
    "base_runtime_spec",
    "default_runtime_name",
    "default_runtime",
    "snapshotter",
    "sandbox_image",
    "sandbox",
    "pause_image",
    "bin_dir",
    "bin_dirs",
    "conf_dir",
    "monitor_path",
    "monitor_cgroup",
    "conmon",
    "conmon_path",
    "conmon_cgroup",
    "cgroup_manager",
    "cgroups_mode",
    "storage_driver",
    "krun",
    "runc",
    "crun",
    "pod_annotations",
    "container_annotations",
    "allowed_annotations",
    // krun's own settings.
    "exitless",
    "policy_dir",
    // The specification's.
    "ociVersion",
    "cwd",
    "uid",
    "gid",
    "additionalGids",
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
    "type",
    "hard",
    "soft",
    "destination",
    "source",
    "options",
    "hostname",
    "cgroupsPath",
    "access",
    "major",
    "minor",
    "limit",
    "reservation",
    "swap",
    "shares",
    "quota",
    "period",
    "cpus",
    "mems",
    "maskedPaths",
    "readonlyPaths",
    "rootfsPropagation",
    "apparmorProfile",
    "selinuxLabel",
    "mountLabel",
    "oomScoreAdj",
    "umask",
    "containerID",
    "hostID",
    "size",
    "fileMode",
];
/// Long, and nothing in it that helps.
const LEFT_OUT: &[&str] = &["seccomp"];
/// Lists of `NAME=value`.
const ENVIRONMENTS: &[&str] = &["env", "Env", "environment", "conmon_env", "default_env"];
/// Words of command lines: what krun itself is told.
const COMMANDS: &[&str] = &["runtimeArgs", "ExecStart"];
/// Options whose values are told.
pub(super) const OPTIONS: &[&str] = &[
    "--default-runtime",
    "--add-runtime",
    "--config-file",
    "--config",
    "--exec-root",
    "--data-root",
    "--root",
    "--state",
    "--containerd",
    "--log-level",
    "--storage-driver",
    "--cgroup-parent",
    "--exitless",
    "--policy-dir",
    "--config-dir",
    "--cgroup-manager",
    "--rootless",
    "--log-format",
    "--exec-opt",
];
/// Parameters of the kernel whose values are told.
const PARAMETERS: &[&str] = &[
    "pti",
    "mitigations",
    "nested",
    "systemd.unified_cgroup_hierarchy",
    "cgroup_disable",
    "cgroup_enable",
    "cgroup_no_v1",
    "transparent_hugepage",
    "hugepages",
    "hugepagesz",
    "isolcpus",
    "nohz_full",
    "selinux",
    "apparmor",
    "security",
    "lsm",
    "spectre_v2",
    "spectre_v2_user",
    "l1tf",
    "mds",
    "retbleed",
    "kpti",
    "intel_iommu",
    "maxcpus",
    "nr_cpus",
    "nosmt",
    "mem",
    "vsyscall",
    "kvm.nx_huge_pages",
];
/// Tables and lists in which nothing is told, whatever its names are.
const HIDDEN: &[&str] = &["auth", "auths", "proxies", "headers", "registry-mirrors"];
pub(super) const GONE: &str = "[redacted]";

/// A document of which only what is harmless is left.
pub(super) fn document(value: &Value) -> Value {
    of_field("", value)
}

fn of_field(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(table) if LEFT_OUT.contains(&name) && !table.is_empty() => gone(),
        Value::Object(_) | Value::Array(_) if HIDDEN.contains(&name) || says_secret(name) => gone(),
        Value::Object(table) => Value::Object(of_table(name, table)),
        Value::Array(all) if ENVIRONMENTS.contains(&name) => all
            .iter()
            .map(|one| one.as_str().map_or_else(gone, |one| variable(one).into()))
            .collect(),
        Value::Array(all) if COMMANDS.contains(&name) => {
            let words: Vec<_> = all.iter().map(|one| one.as_str().unwrap_or_default()).collect();
            command(&words).into()
        }
        Value::Array(all) => all.iter().map(|one| of_field(name, one)).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) if TOLD.contains(&name) => value.clone(),
        Value::String(text) if TOLD.contains(&name) => self::text(text).into(),
        Value::Number(_) | Value::String(_) => gone(),
    }
}

fn of_table(name: &str, table: &Map<String, Value>) -> Map<String, Value> {
    // Names in it are somebody's own, and may be those of fields.
    let is_free = ["annotations", "labels", "log-opts", "log_opts", "sysctl"].contains(&name)
        || ENVIRONMENTS.contains(&name);
    let inner = |(key, value): (&String, &Value)| {
        (key.clone(), if is_free { gone() } else { of_field(key, value) })
    };
    table.iter().map(inner).collect()
}

fn gone() -> Value {
    GONE.into()
}

/// `NAME=value`, without the value.
fn variable(text: &str) -> String {
    let name = text.split('=').next().unwrap_or_default();
    let is_name = name.len() < text.len()
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { format!("{name}={GONE}") } else { GONE.to_owned() }
}

/// The words of a command: its name, and the options whose values are told.
pub(super) fn command(words: &[&str]) -> Vec<String> {
    let mut told: Option<bool> = Some(true);
    let mut all = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if let Some(name) = word.split('=').next().filter(|name| name.starts_with('-')) {
            // Of a shell it would be a script.
            let is_containerd = words.first().is_some_and(|one| one.ends_with("/containerd"));
            let is_told = OPTIONS.contains(&name) || name == "-c" && is_containerd;
            let value = word.split_once('=').map(|(_, value)| value);
            all.push(match value {
                Some(value) if is_told => format!("{name}={}", text(value)),
                Some(_) => format!("{name}={GONE}"),
                None => name.to_owned(),
            });
            told = value.is_none().then_some(is_told);
            continue;
        }
        let is_program =
            index == 0 && word.trim_start_matches(['@', '-', ':', '+', '!']).starts_with('/');
        let is_told = is_program || index > 0 && told == Some(true);
        all.push(if is_told { text(word) } else { GONE.to_owned() });
        told = None;
    }
    all
}

/// A unit of systemd's, or a file of variables: comments and all values are left out, but what programs are started
/// with which of the options that are told.
pub(super) fn unit(text: &str) -> String {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut lines = String::new();
    for line in joined.lines().map(str::trim) {
        let told = match line.split_once('=') {
            _ if line.is_empty() || line.starts_with(['#', ';']) => continue,
            _ if line.starts_with('[') && line.ends_with(']') => line.to_owned(),
            Some((name @ ("ExecStart" | "ExecReload"), value)) => {
                let words: Vec<_> = value.split_whitespace().collect();
                format!("{name}={}", command(&words).join(" "))
            }
            Some(("Environment", value)) => {
                let words =
                    value.split_whitespace().map(|word| variable(word.trim_matches(['"', '\''])));
                format!("Environment={}", words.collect::<Vec<_>>().join(" "))
            }
            Some(_) => variable(line),
            None => GONE.to_owned(),
        };
        lines.push_str(&told);
        lines.push('\n');
    }
    lines
}

/// What the kernel was started with.
pub(super) fn parameters(text: &str) -> String {
    let word = |word: &str| {
        let name = word.split('=').next().unwrap_or_default();
        let is_told = PARAMETERS.contains(&name) || name.starts_with("kvm");
        match word.split_once('=') {
            Some(_) if !is_told => format!("{name}={GONE}"),
            None if !is_told && !name.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                GONE.to_owned()
            }
            _ => word.to_owned(),
        }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{GONE, document, parameters, unit};

    #[test]
    fn what_is_not_known_is_not_told() {
        let daemon = json!({
            "runtimes": {"krun": {"path": "/opt/kontain/bin/krun", "runtimeArgs": ["--exitless=off", "--x=S", "S"]}},
            "debug": true, "pin": 1234, "proxies": {"http-proxy": "http://u:S@proxy:1"},
            "log-opts": {"path": "S"}, "labels": ["a=S"], "registry-mirrors": ["https://u:S@m"]
        });

        let told = document(&daemon);

        assert_eq!(told["runtimes"]["krun"]["path"], "/opt/kontain/bin/krun");
        assert_eq!(
            told["runtimes"]["krun"]["runtimeArgs"],
            json!(["--exitless=off", "--x=[redacted]", GONE])
        );
        assert_eq!((&told["debug"], &told["pin"]), (&json!(true), &json!(GONE)));
        assert!(!told.to_string().contains('S'), "{told}");
    }

    #[test]
    fn of_variables_only_names_are_told() {
        let bundle = json!({"process": {"env": ["PATH=/S", "S"], "args": ["a", "--password", "S"], "cwd": "/"}});

        let told = document(&bundle);

        assert_eq!(told["process"]["env"], json!(["PATH=[redacted]", GONE]));
        assert_eq!(told["process"]["cwd"], "/");
        assert_eq!(told["process"]["args"], json!([GONE, GONE, GONE]));
    }

    #[test]
    fn units_say_what_is_started_and_how() {
        let told = unit(
            "# S\n[Service]\nEnvironment=\"HTTP_PROXY=http://S\" A=S\nExecStart=/usr/bin/dockerd -H fd:// \\\n  \
             --default-runtime krun --label S --token=S S\nOPTIONS=S\nS\n",
        );

        assert_eq!(
            told,
            "[Service]\nEnvironment=HTTP_PROXY=[redacted] A=[redacted]\nExecStart=/usr/bin/dockerd -H [redacted] \
             --default-runtime krun --label [redacted] --token=[redacted] [redacted]\nOPTIONS=[redacted]\n[redacted]\n"
        );
    }

    #[test]
    fn names_that_are_told_elsewhere_hide_nothing_in_secrets() {
        let told = document(&json!({
            "auth": {"id": "S", "source": "S"}, "proxies": {"name": "S"}, "env": {"path": "S"},
            "secrets": [{"name": "S"}], "headers": {"type": ["S"]}
        }));

        assert!(!told.to_string().contains('S'), "{told}");
        assert!(!unit("ExecStart=/bin/sh -c S").contains("S\n"), "a shell's script");
        let containerd = unit("ExecStart=/usr/bin/containerd -c /etc/c.toml");
        assert!(containerd.contains("-c /etc/c.toml"), "{containerd}");
    }

    #[test]
    fn parameters_of_the_kernel_are_told_if_they_are_known() {
        assert_eq!(
            parameters("quiet pti=on key=S S1 kvm_amd.nested=1"),
            "quiet pti=on key=[redacted] [redacted] kvm_amd.nested=1\n"
        );
    }
}
