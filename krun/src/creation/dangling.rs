//! Mounts on links of the image that lead nowhere, or into another of the mounts: runc makes the place that the link
//! means, libcontainer follows no link to what is not there.
//!
//! So such a mount's destination is spelled out for libcontainer. Nothing is opened or made here, and what
//! libcontainer makes of a path it makes below the root file system, whatever the image does meanwhile.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::in_container;

/// As in the kernel.
const MOST_LINKS: usize = 40;

/// Spells out these mounts' destinations.
pub(super) fn spell_out(mounts: &mut Value, rootfs: &Path) {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Where there is no root file system, it is found out elsewhere.
    let Ok(root) = openat2(CWD, rootfs, directory, Mode::empty(), ResolveFlags::empty()) else {
        return;
    };
    let mut earlier: Vec<PathBuf> = Vec::new();
    for mount in mounts.as_array_mut().into_iter().flatten() {
        let destination = PathBuf::from(mount["destination"].as_str().unwrap_or_default());
        // What is in another mount is not the image's. A link is no place for these, as with runc: what is below
        // `/proc` could not be masked.
        let is_images = !earlier.iter().any(|above| destination.starts_with(above))
            && !["proc", "sysfs"].iter().any(|kind| mount["type"] == *kind);
        let place = is_images.then(|| place(&root, &destination, &earlier)).flatten();
        if let Some(place) = &place {
            mount["destination"] = json!(place);
        }
        earlier.push(place.unwrap_or(destination));
    }
}

/// Where a path leads, if links lead it to what is not there, or into one of these mounts, in which it is not there yet.
fn place(root: &OwnedFd, path: &Path, mounts: &[PathBuf]) -> Option<PathBuf> {
    let found = in_container::open_in(root, path, OFlags::PATH);
    let is_missing = found.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::NOENT));
    let place = without_links(root, path)?;
    let is_covered = || mounts.iter().any(|above| place.starts_with(above));
    (place.as_os_str() != path.as_os_str() && (is_missing || is_covered())).then_some(place)
}

/// A path with what the image's links on it, and at its end, stand for. `None` if they go round in circles.
pub(super) fn without_links(root: &OwnedFd, path: &Path) -> Option<PathBuf> {
    let mut place = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = path.iter().map(OsStr::to_owned).collect();
    let mut links = 0;
    while let Some(step) = rest.pop_front() {
        match Path::new(&step).components().next() {
            Some(Component::ParentDir) => drop(place.pop()),
            Some(Component::Normal(name)) => match read_link(root, &place.join(name)) {
                Ok(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    if target.is_absolute() {
                        place = PathBuf::from("/");
                    }
                    for step in target.iter().rev() {
                        rest.push_front(step.to_owned());
                    }
                }
                Err(_) => place.push(name),
            },
            _ => {}
        }
    }
    Some(place)
}

fn read_link(root: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    let link = in_container::open_in(root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let target = readlinkat(&link, c"", Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::spell_out;

    #[test]
    fn only_links_to_nowhere_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let inside = |path: &str| root.path().join(path);
        fs::create_dir_all(inside("etc")).unwrap();
        for (target, link) in [
            ("../foo/bar", "etc/nowhere"),
            ("/etc/nowhere", "twice"),
            ("../../../above", "etc/out"),
            ("etc", "there"),
            ("loop", "loop"),
        ] {
            symlink(target, inside(link)).unwrap();
        }
        for (destination, expected) in [
            ("/etc/nowhere", "/foo/bar"),
            ("/there/nowhere", "/foo/bar"),
            ("/twice", "/foo/bar"),
            ("/etc/out", "/above"),
            ("/there", "/there"),
            ("/loop", "/loop"),
            ("/etc/new", "/etc/new"),
            ("/new/new", "/new/new"),
            ("/etc/nowhere/sub", "/foo/bar/sub"),
        ] {
            let mut mounts = json!([{ "destination": destination }]);

            spell_out(&mut mounts, root.path());

            assert_eq!(mounts[0]["destination"], expected, "{destination}");
        }
        let mut mounts = json!([{ "destination": "/etc/nowhere", "type": "proc" }]);
        spell_out(&mut mounts, root.path());
        assert_eq!(mounts[0]["destination"], "/etc/nowhere");
        symlink("../run/there", inside("etc/into")).unwrap();
        fs::create_dir_all(inside("run/there")).unwrap();
        for (above, expected) in [("/run", "/run/there"), ("/tmp", "/etc/into")] {
            let mut mounts = json!([{ "destination": above }, { "destination": "/etc/into" }]);
            spell_out(&mut mounts, root.path());
            assert_eq!(mounts[1]["destination"], expected);
        }
        let mut mounts = json!([{ "destination": "/etc" }, { "destination": "/etc/nowhere" }]);
        spell_out(&mut mounts, root.path());
        assert_eq!(mounts[1]["destination"], "/etc/nowhere");
    }
}
