//! Bind mounts that libcontainer cannot make as runc does.
//!
//! * It looks for their sources from within the container's user namespace, to which the host's directories may
//!   be closed; runc opens them before.
//! * On `/dev` it would make links and devices in what is mounted, which is mostly the host's own.
//!
//! For these it makes a stand-in, a file system of the container's own, and has its way with that. The stand-in
//! is replaced when all mounts are made and before the root changes, by the order of
//! [`super::owner_mappings`], with the host's rights.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use krun_sys::MountFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spec_compat::Config;

use super::in_container;
use crate::rootless;

/// Others may go through a directory.
const SEARCH_BY_OTHERS: u32 = 0o001;

/// A mount that krun makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LateBind {
    source: PathBuf,
    pub(super) destination: PathBuf,
    is_directory: bool,
    whole_tree: bool,
    options: Vec<String>,
    /// Where the bundle has further mounts, which lie on or in this one.
    later: Vec<PathBuf>,
}

/// The bundle's mounts of this kind. An ordinary user's are his own, and can be reached; on `/dev` they would be
/// written all the same.
pub(super) fn wanted(config: &Config, bundle: &Path) -> Vec<LateBind> {
    let is_root = rustix::process::geteuid().is_root() && !rootless::is_in_user_namespace();
    if !config.has_new_mount_namespace() {
        return Vec::new();
    }
    let mounts: &[Value] = config.document()["mounts"].as_array().map_or(&[], Vec::as_slice);
    let binds = mounts.iter().enumerate().filter_map(|(index, mount)| {
        let bind = bind(mount, bundle)?;
        let is_dev = bind.destination == Path::new("/dev");
        let is_closed =
            || is_root && config.has_new_user_namespace() && !is_open_to_all(&bind.source);
        let is_late = is_dev || is_closed();
        let later = mounts[index + 1..].iter().map(destination).collect();
        is_late.then_some(LateBind { later, ..bind })
    });
    binds.collect()
}

fn destination(mount: &Value) -> PathBuf {
    // Without what does not count, such as a slash at the end.
    Path::new(mount["destination"].as_str().unwrap_or_default()).components().collect()
}

/// The mount, if it is one of a file or directory that is there, and without other owners.
fn bind(mount: &Value, bundle: &Path) -> Option<LateBind> {
    let has_owners = ["uidMappings", "gidMappings"].iter().any(|name| !mount[name].is_null());
    let mut bind = LateBind {
        source: bundle.join(mount["source"].as_str()?),
        destination: destination(mount),
        is_directory: false,
        whole_tree: false,
        options: Vec::new(),
        later: Vec::new(),
    };
    let mut is_bind = mount["type"] == "bind";
    for option in mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match option {
            "bind" => is_bind = true,
            "rbind" => (is_bind, bind.whole_tree) = (true, true),
            "idmap" | "ridmap" => return None,
            _ => bind.options.push(option.to_owned()),
        }
    }
    bind.is_directory = fs::metadata(&bind.source).ok()?.is_dir();
    (is_bind && !has_owners).then_some(bind)
}

/// Whether everybody gets to a file.
fn is_open_to_all(path: &Path) -> bool {
    let Ok(real) = real_path(path) else { return true };
    let is_open = |directory: &Path| {
        fs::metadata(directory).is_ok_and(|found| found.mode() & SEARCH_BY_OTHERS != 0)
    };
    // Of a link, the way to it counts as well.
    [path, &real].iter().all(|path| path.ancestors().skip(1).all(is_open))
}

fn real_path(path: &Path) -> io::Result<PathBuf> {
    let file = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What libcontainer is to mount in place of those that are late.
pub(super) fn put_stand_ins(mounts: &mut Value, binds: &[LateBind]) {
    for mount in mounts.as_array_mut().into_iter().flatten() {
        let Some(bind) = binds.iter().find(|bind| is_of(bind, mount)) else { continue };
        *mount = if bind.is_directory {
            json!({"destination": bind.destination, "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755"]})
        } else {
            json!({"destination": bind.destination, "type": "bind", "source": "/dev/null",
                   "options": ["bind"]})
        };
    }
}

fn is_of(bind: &LateBind, mount: &Value) -> bool {
    let source = mount["source"].as_str().unwrap_or_default();
    destination(mount) == bind.destination && bind.source.ends_with(source.trim_start_matches('/'))
}

impl LateBind {
    /// Puts the mount in the place of its stand-in. The caller is in the container's mount namespace, whose root
    /// is still the host's.
    pub(super) fn make(&self, rootfs: &Path) -> io::Result<()> {
        if self.later.iter().any(|later| self.destination.starts_with(later)) {
            // Covered.
            return Ok(());
        }
        let copy = self.copy_of_source()?;
        let mut within = Vec::new();
        for path in self.later.iter().filter(|path| path.starts_with(&self.destination)) {
            within.push((path, tree(&in_container::open_below(rootfs, path, OFlags::PATH)?)?));
        }
        let stand_in = in_container::open_below(rootfs, &self.destination, OFlags::PATH)?;
        unmount(format!("/proc/self/fd/{}", stand_in.as_raw_fd()), UnmountFlags::DETACH)?;
        put(&copy, rootfs, &self.destination)?;
        for (path, mount) in within {
            give_place(rootfs, path, &mount)?;
            put(&mount, rootfs, path)?;
        }
        Ok(())
    }

    fn copy_of_source(&self) -> io::Result<OwnedFd> {
        let recursive =
            if self.whole_tree { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
        let copy = open_tree(CWD, &self.source, flags)?;
        let [flags, flags_of_all] = self.flags();
        krun_sys::set_flags(copy.as_fd(), flags_of_all, true)?;
        krun_sys::set_flags(copy.as_fd(), flags, false)?;
        Ok(copy)
    }

    /// What the mount has, and what those below it have, too: `ro` and `rro`.
    fn flags(&self) -> [MountFlags; 2] {
        let own = self.options.iter().map(String::as_str);
        [MountFlags::of(own.clone()), MountFlags::of(own.filter_map(|one| one.strip_prefix('r')))]
    }
}

/// A copy of a mount and what lies in it.
fn tree(mount: &OwnedFd) -> io::Result<OwnedFd> {
    let whole =
        OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLONE;
    Ok(open_tree(mount, c"", whole | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

fn put(mount: &OwnedFd, rootfs: &Path, path: &Path) -> io::Result<()> {
    let place = in_container::open_below(rootfs, path, OFlags::PATH)?;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", &place, c"", by_descriptor)?)
}

/// Makes the file or directory that a mount lies on, if it is not there.
fn give_place(rootfs: &Path, path: &Path, mount: &OwnedFd) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = in_container::open_below(rootfs, parent, OFlags::PATH)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode);
    let made = if kind == FileType::Directory {
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))
    } else {
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&parent, name, new, Mode::from_raw_mode(0o644)).map(File::from).map(drop)
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use krun_sys::MountFlags;
    use serde_json::json;

    use super::{bind, is_open_to_all, put_stand_ins};

    #[test]
    fn what_is_not_open_to_all_is_known_also_behind_a_link() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let mode = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode));
        let [inside, outside] = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&inside, "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &outside).unwrap();

        mode(0o711).unwrap();
        assert!(is_open_to_all(&inside) && is_open_to_all(&outside));
        mode(0o710).unwrap();
        assert!(!is_open_to_all(&inside) && !is_open_to_all(&outside));
    }

    #[test]
    fn libcontainer_sees_a_stand_in() {
        let mount = json!({"destination": "/dev/", "type": "bind", "source": "/dev",
                           "options": ["rbind", "nosuid", "rro", "rw"]});
        let found = bind(&mount, "/bundle".as_ref()).unwrap();

        let mut mounts = json!([{"destination": "/proc", "type": "proc"}, mount]);
        put_stand_ins(&mut mounts, std::slice::from_ref(&found));

        assert_eq!(mounts[0]["type"], "proc");
        assert_eq!(mounts[1]["type"], "tmpfs");
        assert!(found.whole_tree && found.is_directory);
        assert_eq!(found.flags(), [["nosuid"], ["ro"]].map(MountFlags::of));
    }
}
