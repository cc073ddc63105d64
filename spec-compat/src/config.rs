//! A `config.json` that has passed every check.

use std::path::Path;

use oci_spec::runtime::{Capability, Hook, LinuxNamespaceType, LinuxSeccomp, Process, Spec};
use serde_json::{Map, Value};

use crate::check;
use crate::{ConfigError, DeviceRule, Fault};

/// The sets of `process.capabilities`; those that are absent are empty, as in runc.
const CAPABILITY_SETS: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

/// A usable `config.json`: the document, and its typed form.
///
/// ```
/// use spec_compat::Config;
///
/// let config = Config::parse(br#"{"ociVersion":"1.0.2","process":{"cwd":"x"}}"#);
///
/// assert_eq!(
///     config.unwrap_err().to_string(),
///     "3 faults: \
///      (1) root.path: found nothing, expected the path of the root file system; \
///      (2) process.args: found nothing, expected a list with the program and its arguments; \
///      (3) process.cwd: found \"x\", expected an absolute path"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    document: Value,
    spec: Spec,
    warnings: Vec<String>,
}

impl Config {
    /// Reads `bytes`, and gives all faults at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut document: Value = serde_json::from_slice(bytes).map_err(|error| syntax(&error))?;
        drop_nulls(&mut document);
        let faults = check::all(&document);
        if !faults.is_empty() {
            return Err(ConfigError::Faults(faults));
        }
        add_defaults(&mut document);
        rename_scheduler_flags(&mut document);
        let mut warnings = drop_unknown_capabilities(&mut document);
        warnings.extend(drop_personality_flags(&mut document));
        warnings.extend(drop_unknown_access(&mut document));
        let spec = serde_path_to_error::deserialize(&document).map_err(|error| shape(&error))?;
        Ok(Self { document, spec, warnings })
    }

    /// The typed form.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The document itself, with what the typed form does not know.
    ///
    /// Fields that are `null` are gone; `process.user`, `process.capabilities` and `linux` are always there.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// What the caller should be warned of: it is asked for, and will not be had.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The program's section.
    pub fn process(&self) -> &Process {
        self.spec.process().as_ref().expect("checked: there is a process")
    }

    /// The program and its arguments; never empty.
    pub fn arguments(&self) -> &[String] {
        self.process().args().as_deref().unwrap_or_default()
    }

    /// The environment, in its order and with its duplicates.
    pub fn environment(&self) -> &[String] {
        self.process().env().as_deref().unwrap_or_default()
    }

    /// Where the root file system is, relative to the bundle or absolute.
    pub fn rootfs(&self) -> &Path {
        self.spec.root().as_ref().expect("checked: there is a root").path()
    }

    /// Whether the program becomes process 1 of a process ID namespace of its own.
    pub fn has_new_pid_namespace(&self) -> bool {
        self.has_new(LinuxNamespaceType::Pid)
    }

    /// Whether the program is in a user namespace of its own, or in one that it joins.
    pub fn has_user_namespace(&self) -> bool {
        let linux = self.spec.linux().as_ref();
        let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
        namespaces.into_iter().flatten().any(|one| one.typ() == LinuxNamespaceType::User)
    }

    /// Whether that user namespace is a new one.
    pub fn has_new_user_namespace(&self) -> bool {
        self.has_new(LinuxNamespaceType::User)
    }

    /// Whether the program has a mount namespace that is made for it.
    pub fn has_new_mount_namespace(&self) -> bool {
        self.has_new(LinuxNamespaceType::Mount)
    }

    fn has_new(&self, kind: LinuxNamespaceType) -> bool {
        let linux = self.spec.linux().as_ref();
        let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
        namespaces.into_iter().flatten().any(|namespace| {
            let path = namespace.path().as_ref();
            namespace.typ() == kind && path.is_none_or(|path| path.as_os_str().is_empty())
        })
    }

    /// Whether the program wants a terminal.
    pub fn wants_terminal(&self) -> bool {
        self.process().terminal().unwrap_or(false)
    }

    /// The hooks of the point called `name`, such as `poststart`.
    pub fn hooks(&self, name: &str) -> Vec<Hook> {
        let list = self.document.get("hooks").and_then(|hooks| hooks.get(name));
        list.and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
    }

    /// Whether something is mounted on `directory` itself.
    pub fn mounts_on(&self, directory: &str) -> bool {
        let mut mounts = self.spec.mounts().iter().flatten();
        mounts.any(|mount| mount.destination().as_path() == Path::new(directory))
    }

    /// The rules for the use of devices, in their order.
    pub fn device_rules(&self) -> &[DeviceRule] {
        let linux = self.spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default()
    }

    /// Whether the container is to have a device at `path` that is described here.
    pub fn describes_device(&self, path: &str) -> bool {
        let linux = self.spec.linux().as_ref();
        let mut devices = linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten();
        devices.any(|device| device.path() == Path::new(path))
    }

    /// The workload's seccomp profile.
    pub fn seccomp_profile(&self) -> Option<&LinuxSeccomp> {
        self.spec.linux().as_ref()?.seccomp().as_ref()
    }
}

fn syntax(error: &serde_json::Error) -> ConfigError {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    ConfigError::Syntax { reason: reason.into(), line: error.line(), column: error.column() }
}

/// A value of the wrong shape in a field that has no check of its own.
fn shape(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let text = error.inner().to_string();
    let (found, expected) = text.split_once(", expected ").unwrap_or((&text, "another value"));
    let found = found.strip_prefix("invalid type: ").unwrap_or(found);
    ConfigError::Faults(vec![Fault {
        field: error.path().to_string(),
        found: found.into(),
        expected: expected.into(),
    }])
}

/// Callers written in Go write `null` for an empty list; it means absence.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What runc takes for granted and the typed form does not.
fn add_defaults(document: &mut Value) {
    let root_user = || serde_json::json!({ "uid": 0, "gid": 0 });
    let empty = || Value::Object(Map::new());
    if let Some(members) = document.as_object_mut() {
        members.entry("linux").or_insert_with(empty);
    }
    if let Some(process) = document.get_mut("process").and_then(Value::as_object_mut) {
        process.entry("user").or_insert_with(root_user);
        // What is not given is not had.
        if let Some(sets) = process.entry("capabilities").or_insert_with(empty).as_object_mut() {
            for set in CAPABILITY_SETS {
                sets.entry(set).or_insert_with(|| serde_json::json!([]));
            }
        }
    }
}

/// The flags of a scheduler that the typed form calls by another name than the specification.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

fn rename_scheduler_flags(document: &mut Value) {
    let flags = document.pointer_mut("/process/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if let Some((_, name)) = SCHEDULER_FLAGS.iter().find(|(name, _)| flag == name) {
            *flag = (*name).into();
        }
    }
}

/// The specification has the field and no flag for it; runc ignores them with a warning.
fn drop_personality_flags(document: &mut Value) -> Option<String> {
    let personality = document.pointer_mut("/linux/personality").and_then(Value::as_object_mut)?;
    let flags = personality.remove("flags")?;
    let is_empty = flags.as_array().is_some_and(Vec::is_empty);
    (!is_empty).then(|| format!("ignoring unsupported personality flags: {flags}"))
}

/// The specification has `r`, `w` and `m`; runc passes over what else an access has.
fn drop_unknown_access(document: &mut Value) -> Vec<String> {
    let rules = document.pointer_mut("/linux/resources/devices").and_then(Value::as_array_mut);
    let mut warnings = Vec::new();
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let text = rule["access"].as_str().unwrap_or_default().to_owned();
        let known: String = text.chars().filter(|letter| "rwm".contains(*letter)).collect();
        if known != text {
            warnings.push(format!(
                "linux.resources.devices[{index}].access: ignoring what is not r, w or m in {text:?}"
            ));
            rule["access"] = known.into();
        }
    }
    warnings
}

/// The specification: what cannot be mapped to the kernel "MUST be logged as a warning".
fn drop_unknown_capabilities(document: &mut Value) -> Vec<String> {
    let sets = document.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    let mut unknown = Vec::new();
    for list in sets.into_iter().flat_map(Map::values_mut).filter_map(Value::as_array_mut) {
        list.retain(|name| {
            let is_known = serde_json::from_value::<Capability>(name.clone()).is_ok();
            if !is_known && !unknown.contains(name) {
                unknown.push(name.clone());
            }
            is_known
        });
    }
    let warning = |name| format!("ignoring unknown or unavailable capability {name}");
    unknown.iter().map(warning).collect()
}
