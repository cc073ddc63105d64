//! `process.cwd`, which is made where the container has none, as runc does.
//!
//! It may be meant to lie in a mount, and it belongs to the container's root. So it is made by the container's
//! first process, when all mounts are there and before the root file system becomes read-only: as the last of the
//! hooks at `createContainer`. That is one more process, so krun looks first whether it is needed.
//!
//! The image decides what lies on the way, but the kernel resolves it below the root file system, and each
//! directory is made in one that is open.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spec_compat::Config;

use super::in_container;
use crate::error_chain::as_go_writes;

/// runc's.
const MODE: Mode =
    Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What `krun run-hook` is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DirectoryOrder {
    pub(super) rootfs: PathBuf,
    pub(super) path: PathBuf,
    /// The start gate.
    pub(crate) gate: PathBuf,
}

/// Why there is no such directory. runc's words behind the field.
#[derive(Debug, thiserror::Error)]
#[error("process.cwd: mkdir {path}: {words}")]
pub(crate) struct DirectoryError {
    path: PathBuf,
    words: String,
}

/// Whether it may have to be made. Sometimes it turns out to be there after all.
pub(super) fn may_be_missing(config: &Config, bundle: &Path, rootfs: &Path) -> bool {
    let cwd = config.process().cwd();
    let mounts: &[Value] = config.document()["mounts"].as_array().map_or(&[], Vec::as_slice);
    if cwd.components().any(|step| step == Component::ParentDir) {
        return true;
    }
    // The place of a mount is made, and so is what lies above it.
    if mounts.iter().any(|mount| destination(mount).starts_with(cwd)) {
        return false;
    }
    let Ok(mounts) = without_links(mounts, rootfs) else { return true };
    match covering(&mounts, cwd) {
        Some(mount) => !is_in_source(mount, bundle, cwd),
        None => !is_in_image(rootfs, cwd, &mounts).unwrap_or(false),
    }
}

/// The mounts, each said to be where the image's links lead it.
fn without_links(mounts: &[Value], rootfs: &Path) -> io::Result<Vec<Value>> {
    let root = openat2(CWD, rootfs, DIRECTORY, Mode::empty(), ResolveFlags::empty())?;
    let straight = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let path = OFlags::PATH | OFlags::CLOEXEC;
    let mut mounts = mounts.to_vec();
    for mount in &mut mounts {
        let found = openat2(&root, destination(mount), path, Mode::empty(), straight);
        if found.is_err_and(|errno| errno == Errno::LOOP) {
            mount["destination"] = json!(behind_links(&root, destination(mount))?);
        }
    }
    Ok(mounts)
}

/// Where a path leads to. What is not there yet is made in what is.
fn behind_links(root: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    for above in path.ancestors() {
        if let Ok(found) = in_container::open_in(root, above, OFlags::PATH) {
            let [root, found] = [place(root)?, place(&found)?];
            let inside = found.strip_prefix(root).map_err(io::Error::other)?;
            let rest = path.strip_prefix(above).map_err(io::Error::other)?;
            return Ok(Path::new("/").join(inside).join(rest));
        }
    }
    Ok(path.to_owned())
}

fn destination(mount: &Value) -> &Path {
    Path::new(mount["destination"].as_str().unwrap_or_default())
}

/// The mount that a path lies in.
fn covering<'a>(mounts: &'a [Value], path: &Path) -> Option<&'a Value> {
    let holds = |mount: &&Value| {
        destination(mount) != Path::new("") && path.starts_with(destination(mount))
    };
    mounts.iter().rev().find(holds)
}

/// Only of what is mounted from the host it can be known what there is in it.
fn is_in_source(mount: &Value, bundle: &Path, path: &Path) -> bool {
    let mut options = mount["options"].as_array().into_iter().flatten();
    if !options.any(|option| option == "bind" || option == "rbind") {
        return false;
    }
    let source = bundle.join(mount["source"].as_str().unwrap_or_default());
    let Ok(rest) = path.strip_prefix(destination(mount)) else { return false };
    let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let source = openat2(CWD, &source, DIRECTORY, Mode::empty(), ResolveFlags::empty());
    source.is_ok_and(|source| openat2(source, rest, DIRECTORY, Mode::empty(), straight).is_ok())
}

/// A link may lead to where something is mounted.
fn is_in_image(rootfs: &Path, path: &Path, mounts: &[Value]) -> io::Result<bool> {
    let root = openat2(CWD, rootfs, DIRECTORY, Mode::empty(), ResolveFlags::empty())?;
    let found = in_container::open_in(&root, path, DIRECTORY)?;
    let [root, found] = [place(&root)?, place(&found)?];
    let inside = found.strip_prefix(root).map_err(io::Error::other)?;
    Ok(covering(mounts, &Path::new("/").join(inside)).is_none())
}

/// Where a directory is, without links on the way.
fn place(directory: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// Makes what is missing of it, in the container, before its root file system is its root.
pub(crate) fn make(order: &DirectoryOrder) -> Result<(), DirectoryError> {
    let fault = |path: &Path, error: &io::Error| DirectoryError {
        path: path.into(),
        words: as_go_writes(&error.to_string()).into_owned(),
    };
    let root = openat2(CWD, &order.rootfs, DIRECTORY, Mode::empty(), ResolveFlags::empty())
        .map_err(|errno| fault(Path::new("/"), &errno.into()))?;
    open_or_make(&root, &order.path).map_err(|(path, error)| fault(&path, &error))?;
    Ok(())
}

/// Opens a directory below `root`, and makes what is missing of it. What cannot be made is named.
pub(super) fn open_or_make(root: &OwnedFd, path: &Path) -> Result<OwnedFd, (PathBuf, io::Error)> {
    let mut way = PathBuf::from("/");
    let open = |way: &Path| in_container::open_in(root, way, DIRECTORY);
    let mut above = open(&way).map_err(|error| (way.clone(), error))?;
    for step in path.components().filter(|step| *step != Component::RootDir) {
        way.push(step);
        let is_missing = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::NOENT);
        above = match open(&way) {
            Err(error) if is_missing(&error) => match mkdirat(&above, step.as_os_str(), MODE) {
                Ok(()) => open(&way),
                // A link to nowhere.
                Err(Errno::EXIST) => open(&way).map_err(|_| Errno::EXIST.into()),
                Err(errno) => Err(errno.into()),
            },
            opened => opened,
        }
        .map_err(|error| (way.clone(), error))?;
    }
    Ok(above)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use serde_json::json;
    use spec_compat::Config;

    use super::{DirectoryOrder, make, may_be_missing};

    #[test]
    fn it_is_made_only_where_it_may_be_missing() {
        let bundle = tempfile::tempdir().unwrap();
        let rootfs = bundle.path().join("rootfs");
        fs::create_dir_all(rootfs.join("usr/run")).unwrap();
        fs::create_dir_all(bundle.path().join("source/there")).unwrap();
        symlink("there", bundle.path().join("source/link")).unwrap();
        symlink("/usr", rootfs.join("short")).unwrap();
        symlink("/run", rootfs.join("to-mount")).unwrap();
        fs::create_dir_all(rootfs.join("run/app")).unwrap();
        fs::create_dir_all(rootfs.join("srv/app")).unwrap();
        symlink("/srv", rootfs.join("to-srv")).unwrap();
        symlink("/usr", rootfs.join("to-usr")).unwrap();
        let mounts = json!([
            {"destination": "/run", "type": "tmpfs"},
            {"destination": "/volume", "type": "bind", "source": "source", "options": ["bind"]},
            {"destination": "/deep/mount", "type": "tmpfs"},
            {"destination": "/to-srv", "type": "tmpfs"},
            {"destination": "/to-usr/below/it", "type": "tmpfs"},
        ]);
        for (cwd, expected) in [
            ("/", false),
            ("/usr/run", false),
            ("/short/run", false),
            ("/run", false),
            ("/deep", false),
            ("/volume", false),
            ("/volume/there", false),
            ("/new", true),
            ("/usr/new", true),
            ("/run/app", true),
            ("/to-mount/app", true),
            ("/srv", true),
            ("/srv/app", true),
            ("/usr/below/it/too", true),
            ("/volume/link", true),
            ("/volume/new", true),
            ("/usr/../usr", true),
        ] {
            let document = json!({
                "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": mounts,
                "process": {"args": ["sh"], "cwd": cwd},
            });
            let config = Config::parse(document.to_string().as_bytes()).unwrap();

            assert_eq!(may_be_missing(&config, bundle.path(), &rootfs), expected, "{cwd}");
        }
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let [rootfs, outside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        symlink(outside.path(), rootfs.path().join("link")).unwrap();
        let make = |path: &str| {
            let (rootfs, gate) = (rootfs.path().to_owned(), PathBuf::new());
            make(&DirectoryOrder { rootfs, path: path.into(), gate }).map_err(|e| e.to_string())
        };

        let refused = make("/link/new");
        let inside = make("/../../new/below");

        assert_eq!(refused, Err("process.cwd: mkdir /link: file exists".to_owned()));
        assert_eq!(inside, Ok(()));
        assert!(rootfs.path().join("new/below").is_dir());
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    }
}
