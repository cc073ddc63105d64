//! What of other people's files may be told. It is known what is harmless, and the rest is left out: who looks for
//! secrets never knows all their names.

use serde_json::{Map, Value};

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
const OPTIONS: &[&str] = &[
    "--default-runtime",
    "--add-runtime",
    "--config-file",
    "--config",
    "-c",
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
const GONE: &str = "[redacted]";

/// A document of which only what is harmless is left.
pub(super) fn document(value: &Value) -> Value {
    of_field("", value)
}

fn of_field(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(table) if LEFT_OUT.contains(&name) && !table.is_empty() => gone(),
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
    let is_free =
        ["annotations", "labels", "log-opts", "log_opts", "headers", "sysctl"].contains(&name);
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
            let is_told = OPTIONS.contains(&name);
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

/// A text in a field that is told, or in a log: what looks like a secret in it is left out.
pub(super) fn text(text: &str) -> String {
    let mut told = String::new();
    let mut hides_next = false;
    for piece in text.split_inclusive(|c: char| c.is_whitespace() || "\"',;()[]{}\\".contains(c)) {
        let word =
            piece.trim_end_matches(|c: char| c.is_whitespace() || "\"',;()[]{}\\".contains(c));
        let end = &piece[word.len()..];
        let shown = if word.bytes().all(|byte| b":=".contains(&byte)) {
            word.to_owned()
        } else if std::mem::take(&mut hides_next) {
            hides_next = is_scheme(word);
            GONE.to_owned()
        } else {
            hides_next =
                says_secret(word) && !word.trim_end_matches([':', '=']).contains(['=', ':']);
            self::word(word)
        };
        told.push_str(&shown);
        told.push_str(end);
    }
    told
}

fn word(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        // A name and a password before a host, and what is asked of it.
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let host = host.rsplit('@').next().unwrap_or_default();
        let path = if path.is_empty() { String::new() } else { format!("/{GONE}") };
        let scheme = scheme.rsplit(['=', '@', ':']).next().unwrap_or_default();
        return format!("{scheme}://{host}{path}");
    }
    if let Some((name, _)) =
        word.split_once('=').filter(|(name, value)| !value.is_empty() && !name.is_empty())
    {
        let is_told =
            OPTIONS.contains(&name) || ["level", "time", "native.cgroupdriver"].contains(&name);
        return if is_told { word.to_owned() } else { format!("{name}={GONE}") };
    }
    if let Some((name, _)) =
        word.split_once(':').filter(|(name, value)| !value.is_empty() && says_secret(name))
    {
        return format!("{name}:{GONE}");
    }
    if looks_random(word) { GONE.to_owned() } else { word.to_owned() }
}

fn says_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    [
        "pass", "secret", "token", "auth", "cred", "apikey", "api_key", "api-key", "private",
        "bearer", "basic",
    ]
    .iter()
    .any(|sign| word.contains(sign))
        && !word.starts_with('/')
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "is"].contains(&word.to_ascii_lowercase().as_str())
}

/// Whether it is long, of letters and digits, and no container's number or hash, which are small hexadecimal ones.
fn looks_random(word: &str) -> bool {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte);
    let is_hexadecimal =
        word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    word.len() >= 20
        && !word.starts_with('/')
        && !is_hexadecimal
        && word.bytes().all(is_key)
        && has(u8::is_ascii_digit)
        && (has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{GONE, document, parameters, text, unit};

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
    fn logs_keep_their_words_and_lose_secrets() {
        for (line, told) in [
            ("level=error msg=\"krun: open /dev/kvm\"", "level=error msg=\"krun: open /dev/kvm\""),
            ("pull https://u:S@host/x?sig=S failed", "pull https://host/[redacted] failed"),
            ("Authorization: Bearer S", "Authorization: [redacted] [redacted]"),
            ("password: S and token=S", "password: [redacted] and token=[redacted]"),
            ("{\"auth\":\"S\"}", "{\"auth\":\"[redacted]\"}"),
            ("key Ab3Ab3Ab3Ab3Ab3Ab3Ab3S", "key [redacted]"),
            ("container 0123456789abcdef0123", "container 0123456789abcdef0123"),
        ] {
            assert_eq!(text(line), told);
        }
        assert_eq!(
            parameters("quiet pti=on key=S S1 kvm_amd.nested=1"),
            "quiet pti=on key=[redacted] [redacted] kvm_amd.nested=1\n"
        );
    }
}
