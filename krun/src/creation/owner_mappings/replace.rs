//! Replacing mounts by copies in which files have other owners, in a container whose root has not
//! changed yet.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use krun_sys::Placeholder;
use nix::sched::{CloneFlags, setns, unshare};
use procfs::process::MountInfo;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use super::{MappedMount, MappingOrder};
use crate::creation::in_container;

/// Why a mount has no mapping.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    /// There is no user namespace with the mapping.
    #[error("make a user namespace for the mappings of mount {destination}")]
    Namespace {
        /// The mount.
        destination: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
    /// A bind mount that waits for this moment.
    #[error("mount on {destination}")]
    Bind {
        /// Where.
        destination: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
    /// The container's mounts cannot be reached.
    #[error("enter the container's mount namespace")]
    Enter(#[source] io::Error),
    /// The file system cannot do it, mostly. runc's words.
    #[error("failed to set MOUNT_ATTR_IDMAP on {path}: {}{}", words(*reason), hint(*reason))]
    Map {
        /// What is mounted.
        path: String,
        /// What Linux said.
        reason: Errno,
    },
    /// Another step.
    #[error("replace mount {destination} by one with mapped owners")]
    Replace {
        /// The mount.
        destination: PathBuf,
        /// What Linux said.
        source: io::Error,
    },
}

/// As other programs say it, without the number.
fn words(reason: Errno) -> &'static str {
    nix::errno::Errno::from_raw(reason.raw_os_error()).desc()
}

fn hint(reason: Errno) -> &'static str {
    match reason {
        Errno::INVAL => " (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
        _ => "",
    }
}

/// Replaces the mounts in the container whose first process is `pid`. The caller has one thread only.
pub(crate) fn carry_out(order: &MappingOrder, pid: i32) -> Result<(), ReplaceError> {
    let mut mounts = Vec::new();
    for mount in order.mounts.iter().filter(|mount| !mount.is_covered()) {
        let namespace = user_namespace(mount, pid);
        let destination = mount.destination.clone();
        let namespace =
            namespace.map_err(|source| ReplaceError::Namespace { destination, source })?;
        mounts.push((mount, namespace));
    }
    let mount_namespace = open(&format!("/proc/{pid}/ns/mnt")).map_err(ReplaceError::Enter)?;
    let work = || {
        enter(&mount_namespace).map_err(ReplaceError::Enter)?;
        for bind in &order.binds {
            let destination = bind.destination.clone();
            bind.make(&order.rootfs)
                .map_err(|source| ReplaceError::Bind { destination, source })?;
        }
        mounts.iter().try_for_each(|(mount, namespace)| {
            replace(mount, &order.rootfs, namespace).map_err(|fault| fault.of(mount))
        })
    };
    thread::scope(|scope| {
        let panicked = |_| ReplaceError::Enter(io::Error::other("its thread panicked"));
        scope.spawn(work).join().map_err(panicked)?
    })
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn user_namespace(mount: &MappedMount, pid: i32) -> io::Result<OwnedFd> {
    let Some([uids, gids]) = &mount.mappings else { return open(&format!("/proc/{pid}/ns/user")) };
    let placeholder = Placeholder::start_in_user_namespace()?;
    let directory = PathBuf::from(format!("/proc/{}", placeholder.pid()));
    fs::write(directory.join("uid_map"), uids)?;
    fs::write(directory.join("gid_map"), gids)?;
    open(&format!("/proc/{}/ns/user", placeholder.pid()))
}

/// Only a thread whose root and working directory are its own can go there.
fn enter(namespace: &OwnedFd) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?)
}

/// What went wrong with a mount.
enum Fault {
    /// The mapping itself.
    Map(Errno),
    /// What comes before and after it.
    Other(io::Error),
}

impl Fault {
    fn of(self, mount: &MappedMount) -> ReplaceError {
        match self {
            Self::Map(reason) => ReplaceError::Map { path: mount.source.clone(), reason },
            Self::Other(source) => {
                ReplaceError::Replace { destination: mount.destination.clone(), source }
            }
        }
    }
}

impl<E: Into<io::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// With whole trees it is one copy, unless further mounts of the bundle lie in it: what is in a copy cannot
/// be mapped by itself.
fn replace(mount: &MappedMount, rootfs: &Path, namespace: &OwnedFd) -> Result<(), Fault> {
    let top = mount_id(&in_container::open_below(rootfs, &mount.destination, OFlags::PATH)?)?;
    let further = further_mounts(mount, rootfs)?;
    if further.contains(&top) {
        // A link has led a later mount onto this one.
        return Ok(());
    }
    let with_below = mount.whole_tree && further.is_empty();
    let below =
        if mount.whole_tree && !with_below { mounts_below(top, &further)? } else { Vec::new() };
    replace_one(rootfs, &mount.destination, namespace, with_below)?;
    below
        .into_iter()
        .try_for_each(|path| replace_one(rootfs, &mount.destination.join(path), namespace, false))
}

/// The copy has all that the mount has, its options and the mounts in it.
fn replace_one(
    rootfs: &Path,
    destination: &Path,
    namespace: &OwnedFd,
    with_below: bool,
) -> Result<(), Fault> {
    let old = in_container::open_below(rootfs, destination, OFlags::PATH)?;
    let whole =
        OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLONE;
    let copy = open_tree(&old, c"", whole | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    krun_sys::map_owners(copy.as_fd(), namespace.as_fd(), with_below)
        .map_err(|error| Errno::from_io_error(&error).map_or(Fault::Other(error), Fault::Map))?;
    unmount(format!("/proc/self/fd/{}", old.as_raw_fd()), UnmountFlags::DETACH)?;
    let place = in_container::open_below(rootfs, destination, OFlags::PATH)?;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&copy, c"", &place, c"", by_descriptor)?)
}

/// The numbers of the bundle's further mounts in this one, which have owners of their own.
fn further_mounts(mount: &MappedMount, rootfs: &Path) -> io::Result<Vec<u64>> {
    let open = |path| in_container::open_below(rootfs, path, OFlags::PATH);
    mount.within().map(|path| open(path).and_then(|one| mount_id(&one))).collect()
}

fn mount_id(mount: &OwnedFd) -> io::Result<u64> {
    Ok(statx(mount, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Where, seen from the mount, other mounts lie in it but for those `without`, and what is in them.
fn mounts_below(mount: u64, without: &[u64]) -> io::Result<Vec<PathBuf>> {
    let all = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let all = all.lines().map(MountInfo::from_line).collect::<Result<Vec<_>, _>>();
    Ok(below(&all.map_err(io::Error::other)?, mount, without))
}

fn below(all: &[MountInfo], mount: u64, without: &[u64]) -> Vec<PathBuf> {
    let is = |one: &&MountInfo, id: u64| u64::try_from(one.mnt_id) == Ok(id);
    let Some(top) = all.iter().find(|one| is(one, mount)) else { return Vec::new() };
    let mut found = Vec::new();
    let mut parents = vec![top.mnt_id];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|one| one.pid == parent && one.mnt_id != parent);
        for child in children.filter(|child| !without.iter().any(|&id| is(child, id))) {
            parents.push(child.mnt_id);
            let path = child.mount_point.strip_prefix(&top.mount_point);
            found.extend(path.map(Path::to_path_buf));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use procfs::process::MountInfo;

    use super::below;

    #[test]
    fn mounts_below_are_found_without_those_of_the_bundle() {
        let lines = [
            "1 0 0:1 / / rw - ext4 disk rw",
            "2 1 0:2 / /b/rootfs/v rw - ext4 disk rw",
            "3 2 0:3 / /b/rootfs/v/tmp rw - tmpfs tmpfs rw",
            "4 3 0:4 / /b/rootfs/v/tmp/x rw - tmpfs tmpfs rw",
            "5 2 0:5 / /b/rootfs/v/a rw - tmpfs tmpfs rw",
            "6 5 0:6 / /b/rootfs/v/a/c rw - tmpfs tmpfs rw",
            "7 1 0:7 / /b/rootfs/w rw - tmpfs tmpfs rw",
        ];
        let all = lines.map(|line| MountInfo::from_line(line).unwrap());

        assert_eq!(below(&all, 2, &[3]), [Path::new("a"), Path::new("a/c")]);
        assert!(below(&all, 9, &[]).is_empty());
    }
}
