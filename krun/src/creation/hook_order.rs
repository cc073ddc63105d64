//! Hooks that libcontainer runs at the right moment, and krun in the right way.
//!
//! libcontainer tells hooks the directory its own `config.json` is in, has no process groups
//! for timeouts, and gives no reason when one fails. So each hook is replaced by an order to
//! krun itself: run the real hook, with the real bundle, and report through the start gate.

use std::path::{Path, PathBuf};

use hooks::Point;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spec_compat::Hook;

use super::bare_mounts::BareMountsOrder;
use super::far_devices::{self, DevicesOrder};
use super::hook_home::HookHome;
use super::owner_mappings::MappingOrder;
use super::transform::Inputs;
use super::working_directory::DirectoryOrder;

/// What `krun run-hook` is to do; its one argument, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// To run a hook.
    Hook(HookOrder),
    /// To do what libcontainer has left undone to mounts.
    Mounts(MappingOrder),
    /// To make devices that libcontainer does not make.
    Devices(DevicesOrder),
    /// To make the program's working directory.
    Directory(DirectoryOrder),
    /// To leave none of the host's mounts that show more than the container's.
    BareMounts(BareMountsOrder),
}

impl Order {
    /// The start gate.
    pub(crate) fn gate(&self) -> &Path {
        match self {
            Self::Hook(order) => &order.gate,
            Self::Mounts(order) => &order.gate,
            Self::Devices(order) => &order.gate,
            Self::Directory(order) => &order.gate,
            Self::BareMounts(order) => &order.gate,
        }
    }
}

/// A hook, and what is to be corrected.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HookOrder {
    /// The point's name.
    pub(crate) point: String,
    /// Which of the point's hooks this is.
    pub(crate) index: usize,
    /// The hook as the bundle has it.
    pub(crate) hook: Hook,
    /// The bundle's directory.
    pub(crate) bundle: PathBuf,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// The start gate.
    pub(crate) gate: PathBuf,
    /// Where it runs, if not where libcontainer does.
    pub(crate) home: Option<HookHome>,
}

/// The hooks that stand in for those of `point`.
pub(super) fn stand_ins(point: Point, hooks: Vec<Hook>, inputs: &Inputs<'_>) -> Vec<Value> {
    // Those of the container run in its first process.
    let home = inputs.hook_home.filter(|_| point != Point::CreateContainer);
    // As with runc: libraries and devices are put into a container by names below the root file system.
    let directory = if point == Point::CreateContainer { inputs.rootfs } else { inputs.bundle };
    let order = |(index, hook)| HookOrder {
        point: point.name().to_owned(),
        index,
        hook,
        bundle: inputs.bundle.into(),
        directory: directory.into(),
        gate: inputs.gate.into(),
        home: home.cloned(),
    };
    let stand_in = |order| stand_in(inputs.own_path, &Order::Hook(order));
    hooks.into_iter().enumerate().map(order).map(stand_in).collect()
}

/// The hook that makes late mounts, and gives mounts other owners.
pub(super) fn map_owners(inputs: &Inputs<'_>) -> Value {
    let order = MappingOrder {
        binds: inputs.late.to_vec(),
        mounts: inputs.mapped.to_vec(),
        rootfs: inputs.rootfs.into(),
        gate: inputs.gate.into(),
    };
    stand_in(inputs.own_path, &Order::Mounts(order))
}

/// The hook that makes devices outside of `/dev`.
pub(super) fn make_devices(inputs: &Inputs<'_>) -> Value {
    let order = DevicesOrder {
        rootfs: inputs.rootfs.into(),
        devices: far_devices::of(inputs.config.document()),
        gate: inputs.gate.into(),
    };
    stand_in(inputs.own_path, &Order::Devices(order))
}

/// The hook that takes the host's `proc` and `sysfs` away.
pub(super) fn take_bare_mounts_away(inputs: &Inputs<'_>) -> Value {
    let order = BareMountsOrder { rootfs: inputs.rootfs.into(), gate: inputs.gate.into() };
    stand_in(inputs.own_path, &Order::BareMounts(order))
}

/// The hook that makes the program's working directory.
pub(super) fn make_directory(inputs: &Inputs<'_>) -> Value {
    let order = DirectoryOrder {
        rootfs: inputs.rootfs.into(),
        path: inputs.config.process().cwd().clone(),
        gate: inputs.gate.into(),
    };
    stand_in(inputs.own_path, &Order::Directory(order))
}

fn stand_in(own_path: &Path, order: &Order) -> Value {
    json!({ "path": own_path, "args": ["krun", "run-hook", json!(order).to_string()] })
}
