//! `config.json` as libcontainer is to see it.
//!
//! Most of it is the bundle's. What differs is what krun does itself, what libcontainer gets
//! wrong, and what must not reach the monitor:
//!
//! * paths are absolute, as the copy is not in the bundle;
//! * `linux.seccomp` is gone: it is meant for the workload, and would be put on the monitor. krun
//!   loads what is to be loaded as its last deed, for which it needs capabilities;
//! * `linux.cgroupsPath` is always there: libcontainer's own default is `/:youki:<id>`;
//! * `linux.rootfsPropagation` loses its `r`, which libcontainer does not know and always
//!   means;
//! * `linux.resources.devices`, where libcontainer enforces it, is what the rules come to, or it would
//!   take none for leave to do everything;
//! * `process.env` has a `HOME`, or libcontainer would ask the C library, which loads
//!   libraries, here out of the container. The workload's environment is made elsewhere;
//! * `process.user.umask` is always there, or it would be the caller's;
//! * limits of address space and data are those of the program and of its monitor, and that of descriptors is
//!   enough for libcontainer;
//! * mounts of file systems have a source, even where it says nothing;
//! * a mount on a link to nowhere, or into another mount, is where the link leads;
//! * devices that do not lie below `/dev` are gone: krun makes them;
//! * mounts lose `tmpcopyup` and `nosymfollow`, which libcontainer does not know, and mappings of
//!   owners, which it refuses;
//! * `linux.namespaces` is without what krun is in already, and names those that krun has made;
//! * `linux.resources` is gone where krun has set the limits;
//! * hooks are krun's stand-ins, or gone where krun runs them itself; before the first of them krun
//!   sees to those mappings, before those of `createContainer` to those devices, and after the last to `process.cwd`
//!   and with `--no-pivot` to the host's mounts.

use std::path::Path;

use hooks::Point;
use monitor_launch::MONITORS_SHARE;
use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};
use spec_compat::Config;

use super::hook_home::HookHome;
use super::late_binds::LateBind;
use super::owner_mappings::MappedMount;
use super::{
    copy_up, dangling, far_devices, hook_order, late_binds, mount_changes, owner_mappings,
};
use crate::container::devices::Decision;
use crate::workload::{inheritable, open_files, stdio};

/// What the transformation needs to know.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) config: &'a Config,
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) cgroup: &'a Path,
    /// The rules libcontainer is to enforce, if it can.
    pub(super) devices: Option<&'a Decision>,
    /// The limits are set already.
    pub(super) has_limits: bool,
    pub(super) own_path: &'a Path,
    pub(super) gate: &'a Path,
    /// Where hooks of the host run, if not where libcontainer does.
    pub(super) hook_home: Option<&'a HookHome>,
    /// What krun does in the container, before it has its root file system as its root.
    pub(super) deeds: Deeds,
    pub(super) late: &'a [LateBind],
    pub(super) mapped: &'a [MappedMount],
    pub(super) namespaces: &'a Namespaces,
}

/// What krun does in the container when all mounts are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deeds {
    /// Makes the devices that do not lie below `/dev`.
    pub(super) devices: bool,
    /// Makes `process.cwd`, which may be missing.
    pub(super) cwd: bool,
    /// Takes the host's mounts away that would stay in the container's namespace.
    pub(super) bare_mounts: bool,
}

/// What becomes of the bundle's namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespaces {
    /// krun is in the user namespace already.
    pub(super) has_user: bool,
    /// Where those are that krun has made, by their type.
    pub(super) ready: Vec<(&'static str, String)>,
}

impl Namespaces {
    fn put_into(&self, linux: &mut Value) {
        let Some(members) = linux.as_object_mut() else { return };
        if self.has_user {
            leave_out_user_namespace(members);
        }
        let namespaces = members.get_mut("namespaces").and_then(Value::as_array_mut);
        let Some(namespaces) = namespaces else { return };
        for (kind, path) in &self.ready {
            for namespace in namespaces.iter_mut().filter(|one| one["type"] == *kind) {
                namespace["path"] = json!(path);
            }
        }
    }
}

/// For a process that is there already.
pub(crate) fn leave_out_user_namespace(linux: &mut Map<String, Value>) {
    linux.retain(|name, _| name != "uidMappings" && name != "gidMappings");
    if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
        namespaces.retain(|namespace| namespace["type"] != "user");
    }
}

/// runc's default, whatever the caller's is.
const DEFAULT_UMASK: u32 = 0o022;

/// The points whose hooks only libcontainer can run at the right moment.
const STAND_IN_POINTS: [Point; 3] = [Point::Prestart, Point::CreateRuntime, Point::CreateContainer];

/// The document for libcontainer.
pub(super) fn for_libcontainer(inputs: &Inputs<'_>) -> Value {
    let mut document = inputs.config.document().clone();
    document["root"]["path"] = json!(inputs.rootfs);
    change_linux(&mut document["linux"], inputs.cgroup);
    inputs.namespaces.put_into(&mut document["linux"]);
    if let Some(decision) = inputs.devices {
        document["linux"]["resources"]["devices"] = decision.document();
    }
    if inputs.has_limits {
        document["linux"]["resources"] = Value::Null;
    }
    process_for_libcontainer(inputs.config, &mut document["process"]);
    replace_hooks(&mut document, inputs);
    if let Some(mounts) = document.get_mut("mounts").and_then(Value::as_array_mut) {
        let mut rest = mounts.as_mut_slice();
        while let Some((mount, later)) = rest.split_first_mut() {
            change_mount(mount, later, inputs.bundle);
            rest = later;
        }
    }
    late_binds::put_stand_ins(&mut document["mounts"], inputs.late);
    dangling::spell_out(&mut document["mounts"], inputs.rootfs);
    if inputs.deeds.devices {
        far_devices::remove(&mut document);
    }
    document
}

fn change_mount(mount: &mut Value, later: &[Value], bundle: &Path) {
    make_source_absolute(mount, bundle);
    give_source(mount);
    mount_changes::remove_options(mount, later);
    copy_up::remove_option(mount);
    owner_mappings::remove(mount);
}

/// As `exec` is to see it, where libcontainer was kept from the cgroups.
pub(super) fn with_cgroup(mut document: Value, cgroup: &Path) -> Value {
    document["linux"]["cgroupsPath"] = json!(cgroup);
    document
}

/// Changes the process section only, as for `exec`.
pub(crate) fn process_for_libcontainer(config: &Config, process: &mut Value) {
    give_home(process);
    give_umask(process);
    inheritable::permit(process);
    stdio::lend_right(config, process);
    open_files::leave_room(process);
}

/// Adds the monitor's share to limits that would count its memory, too: it has no right to raise them in
/// the container. What krun itself may not have stays as it is.
pub(crate) fn leave_room_for_monitor(process: &mut Value) {
    let limits = process.get_mut("rlimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten() {
        let resource = match limit["type"].as_str() {
            Some("RLIMIT_AS") => Resource::As,
            Some("RLIMIT_DATA") => Resource::Data,
            _ => continue,
        };
        let highest = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let [soft, hard] = ["soft", "hard"].map(|which| {
            let given = limit[which].as_u64()?;
            Some(given.saturating_add(MONITORS_SHARE))
        });
        if let (Some(soft), Some(hard)) = (soft, hard)
            && hard <= highest
        {
            limit["soft"] = json!(soft);
            limit["hard"] = json!(hard);
        }
    }
}

fn change_linux(linux: &mut Value, cgroup: &Path) {
    let Some(members) = linux.as_object_mut() else { return };
    members.remove("seccomp");
    members.insert("cgroupsPath".into(), json!(cgroup));
    match members.get("rootfsPropagation").and_then(Value::as_str) {
        Some("") => drop(members.remove("rootfsPropagation")),
        Some(propagation) => {
            let plain = propagation.strip_prefix('r').unwrap_or(propagation).to_owned();
            members.insert("rootfsPropagation".into(), json!(plain));
        }
        None => {}
    }
    let namespaces = members.get_mut("namespaces").and_then(Value::as_array_mut);
    for namespace in namespaces.into_iter().flatten().filter_map(Value::as_object_mut) {
        // An empty path means a new namespace.
        namespace.retain(|name, value| name != "path" || value != "");
    }
}

fn give_home(process: &mut Value) {
    let Some(members) = process.as_object_mut() else { return };
    let variables = members.entry("env").or_insert_with(|| json!([]));
    if let Some(variables) = variables.as_array_mut() {
        variables.retain(|variable| variable != "HOME=");
        let has_home = |variable: &Value| variable.as_str().is_some_and(|v| v.starts_with("HOME="));
        if !variables.iter().any(has_home) {
            variables.push(json!("HOME=/"));
        }
    }
}

fn give_umask(process: &mut Value) {
    if let Some(user) = process.get_mut("user").and_then(Value::as_object_mut) {
        user.entry("umask").or_insert(json!(DEFAULT_UMASK));
    }
}

fn replace_hooks(document: &mut Value, inputs: &Inputs<'_>) {
    let mut stand_ins = Map::new();
    for point in STAND_IN_POINTS {
        let hooks = inputs.config.hooks(point.name());
        let mut list = hook_order::stand_ins(point, hooks, inputs);
        let replaces = !inputs.late.is_empty() || !inputs.mapped.is_empty();
        if point == Point::Prestart && replaces {
            list.insert(0, hook_order::map_owners(inputs));
        }
        if point == Point::CreateContainer {
            if inputs.deeds.devices {
                list.insert(0, hook_order::make_devices(inputs));
            }
            list.extend(inputs.deeds.cwd.then(|| hook_order::make_directory(inputs)));
            list.extend(
                inputs.deeds.bare_mounts.then(|| hook_order::take_bare_mounts_away(inputs)),
            );
        }
        if !list.is_empty() {
            stand_ins.insert(point.name().into(), list.into());
        }
    }
    if let Some(members) = document.as_object_mut() {
        members.remove("hooks");
        // Without the section libcontainer does not even stop to ask for hooks.
        if !stand_ins.is_empty() {
            members.insert("hooks".into(), stand_ins.into());
        }
    }
}

/// File systems such as `proc` need no source, but libcontainer wants one. It is what Linux calls none.
fn give_source(mount: &mut Value) {
    let kind = mount.get("type").and_then(Value::as_str);
    let needs_none = kind.is_some_and(|kind| !["", "bind", "none"].contains(&kind));
    if needs_none && mount.get("source").is_none_or(Value::is_null) {
        mount["source"] = json!("none");
    }
}

/// A relative source of a bind mount is relative to the bundle.
fn make_source_absolute(mount: &mut Value, bundle: &Path) {
    let binds = |option: &Value| option == "bind" || option == "rbind";
    let options = mount.get("options").and_then(Value::as_array);
    let is_bind = mount.get("type").is_some_and(|kind| kind == "bind")
        || options.is_some_and(|options| options.iter().any(binds));
    if let Some(source) = mount.get("source").and_then(Value::as_str)
        && is_bind
    {
        mount["source"] = json!(bundle.join(source));
    }
}

#[cfg(test)]
mod tests;
