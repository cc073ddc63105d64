//! `linux.devices` that do not lie below `/dev`: libcontainer refuses them, runc makes them.
//!
//! They are made by the container's first process, when all mounts are there and before the root file system
//! becomes read-only, as the first hook at `createContainer`; hooks at `createRuntime` do not find them yet, as they do
//! with runc. The image decides what lies on the way, but the kernel
//! resolves it below the root file system, and each thing is made in a directory that is open. In a user namespace
//! no device can be made; there libcontainer's refusal stays.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, makedev,
    mknodat, openat, openat2,
};
use rustix::io::Errno;
use rustix::process::umask;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{dangling, working_directory};
use crate::error_chain::as_go_writes;

/// What everybody may do with a device of which the bundle does not say it.
const MODE: u32 = 0o666;

/// What `krun run-hook` is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DevicesOrder {
    pub(super) rootfs: PathBuf,
    /// As in the bundle, whose types have been checked.
    pub(super) devices: Vec<Value>,
    /// The start gate.
    pub(crate) gate: PathBuf,
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
#[error("linux.devices: mknod {path}: {words}")]
pub(crate) struct FarDeviceError {
    path: PathBuf,
    words: String,
}

/// The bundle's devices of this kind.
pub(super) fn of(document: &Value) -> Vec<Value> {
    let devices = document["linux"]["devices"].as_array();
    devices.into_iter().flatten().filter(|device| is_far(device)).cloned().collect()
}

/// Takes them out of what libcontainer sees.
pub(super) fn remove(document: &mut Value) {
    if let Some(devices) = document["linux"].get_mut("devices").and_then(Value::as_array_mut) {
        devices.retain(|device| !is_far(device));
    }
}

fn is_far(device: &Value) -> bool {
    !path(device).starts_with("/dev")
}

fn path(device: &Value) -> &Path {
    Path::new(device["path"].as_str().unwrap_or_default())
}

/// Makes them in the container, before its root file system is its root. What is there already stays, as with
/// runc.
pub(crate) fn make(order: &DevicesOrder) -> Result<(), FarDeviceError> {
    umask(Mode::empty());
    for device in &order.devices {
        make_one(&order.rootfs, device).map_err(|error| FarDeviceError {
            path: path(device).into(),
            words: as_go_writes(&error.to_string()).into_owned(),
        })?;
    }
    Ok(())
}

fn make_one(rootfs: &Path, device: &Value) -> io::Result<()> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat2(CWD, rootfs, directory, Mode::empty(), ResolveFlags::empty())?;
    let path = dangling::without_links(&root, path(device)).ok_or(io::Error::from(Errno::LOOP))?;
    let name = path.file_name().ok_or(io::Error::from(Errno::INVAL))?;
    let parent = working_directory::open_or_make(&root, path.parent().unwrap_or(Path::new("/")))
        .map_err(|(_, error)| error)?;
    let number = |field: &str| device[field].as_u64().and_then(|number| u32::try_from(number).ok());
    let kind = match device["type"].as_str().unwrap_or_default() {
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let dev: Dev = makedev(number("major").unwrap_or(0), number("minor").unwrap_or(0));
    let permissions = Mode::from_raw_mode(number("fileMode").unwrap_or(MODE));
    match mknodat(&parent, name, kind, permissions, dev) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let [uid, gid] = ["uid", "gid"].map(|field| number(field).unwrap_or(0));
    // In a volume another container may have put something else there.
    let made =
        openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let found = fstat(&made)?;
    let is_device = kind != FileType::Fifo;
    if FileType::from_raw_mode(found.st_mode) != kind || is_device && found.st_rdev != dev {
        return Err(Errno::STALE.into());
    }
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(chownat(&made, c"", owner.0, owner.1, AtFlags::EMPTY_PATH)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{of, remove};

    #[test]
    fn libcontainer_sees_what_lies_below_dev() {
        let [near, far, alike] =
            ["/dev/a", "/a/dev", "/device"].map(|path| json!({ "path": path, "type": "c" }));
        let mut document = json!({ "linux": { "devices": [near, far, alike] } });

        assert_eq!(of(&document), [far, alike]);
        remove(&mut document);
        assert_eq!(document["linux"]["devices"], json!([near]));
    }
}
