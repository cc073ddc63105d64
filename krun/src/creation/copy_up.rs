//! The mount option `tmpcopyup`: a tmpfs begins with what the image has at its place.
//!
//! runc knows it and podman asks for it; libcontainer does not. So the option is kept from
//! libcontainer, and the copy is made when all mounts are, before the program starts. Owners, modes
//! and times are copied, extended attributes are not, as with runc.
//!
//! The image decides what is copied, and further mounts may lie in the tmpfs: no link is followed
//! below the two directories, and no mount is entered.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    chmodat, chownat, mkdirat, mknodat, openat2, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use serde_json::Value;

use super::in_container;

const OPTION: &str = "tmpcopyup";

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// One step down, through no link and into no mount.
const ONE_DOWN: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// Takes the option out of a mount.
pub(super) fn remove_option(mount: &mut Value) {
    if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
        options.retain(|option| option != OPTION);
    }
}

/// Whether a mount has the option.
pub(super) fn is_wanted(mount: &Value) -> bool {
    mount["options"].as_array().is_some_and(|all| all.iter().any(|option| option == OPTION))
}

/// Where the mounts with the option are in the container.
pub(super) fn destinations(document: &Value) -> Vec<PathBuf> {
    let mounts = document["mounts"].as_array().into_iter().flatten();
    mounts
        .filter(|mount| is_wanted(mount))
        .filter_map(|mount| mount["destination"].as_str())
        .map(Into::into)
        .collect()
}

/// Copies what `rootfs` has at `destination` into the tmpfs that is mounted there in the container
/// whose first process is `pid`.
pub(super) fn fill(rootfs: &Path, pid: i32, destination: &Path) -> io::Result<()> {
    let source = match in_container::open_below(rootfs, destination, DIRECTORY) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        source => source?,
    };
    let Some(target) = in_container::own_tmpfs(pid, destination)? else { return Ok(()) };
    copy_content(&source, &target)?;
    copy_attributes(&statat(&source, c"", AtFlags::EMPTY_PATH)?, &target, c".")
}

fn copy_content(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            copy(source, target, entry.file_name())?;
        }
    }
    Ok(())
}

fn copy(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
    let status = statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    let made = match kind {
        FileType::Directory => copy_directory(source, target, name),
        FileType::RegularFile => copy_file(source, target, name),
        FileType::Symlink => {
            let link: CString = readlinkat(source, name, Vec::new())?;
            symlinkat(link, target, name).map_err(Into::into)
        }
        FileType::Socket | FileType::Unknown => return Ok(()),
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            mknodat(target, name, kind, Mode::empty(), status.st_rdev).map_err(Into::into)
        }
    };
    match made.map_err(|error| Errno::from_io_error(&error).ok_or(error)) {
        Ok(()) => copy_attributes(&status, target, name),
        // The runtime has made it, as the place of a further mount.
        Err(Ok(Errno::EXIST | Errno::XDEV)) => Ok(()),
        Err(Ok(errno)) => Err(errno.into()),
        Err(Err(error)) => Err(error),
    }
}

fn copy_directory(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
    match mkdirat(target, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let inner = openat2(target, name, DIRECTORY, Mode::empty(), ONE_DOWN)?;
    copy_content(&openat2(source, name, DIRECTORY, Mode::empty(), ONE_DOWN)?, &inner)
}

fn copy_file(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
    // What is a FIFO by now must not make krun wait.
    let read = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let new = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let mut from = File::from(openat2(source, name, read, Mode::empty(), ONE_DOWN)?);
    let mut to = File::from(openat2(target, name, new, Mode::RUSR | Mode::WUSR, ONE_DOWN)?);
    io::copy(&mut from, &mut to).map(drop)
}

/// A change of the owner takes set-user-id bits away: the mode comes after it.
fn copy_attributes(status: &Stat, target: impl AsFd, name: &CStr) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    let itself = AtFlags::SYMLINK_NOFOLLOW;
    chownat(&target, name, Some(user), Some(group), itself)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
        chmodat(&target, name, Mode::from_raw_mode(status.st_mode), AtFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: status.st_atime,
            tv_nsec: nanoseconds(status.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: nanoseconds(status.st_mtime_nsec),
        },
    };
    Ok(utimensat(&target, name, &times, itself)?)
}

fn nanoseconds(value: u64) -> i64 {
    value.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;

    use super::{DIRECTORY, copy_content, destinations, remove_option};

    #[test]
    fn only_the_mounts_that_ask_for_it_are_named() {
        let mut document = json!({"mounts": [
            {"destination": "/tmp", "options": ["rw", "tmpcopyup"]},
            {"destination": "/run", "options": ["rw"]},
            {"destination": "/proc"}
        ]});

        assert_eq!(destinations(&document), [std::path::Path::new("/tmp")]);
        remove_option(&mut document["mounts"][0]);
        assert_eq!(document["mounts"][0]["options"], json!(["rw"]));
    }

    #[test]
    fn a_copy_has_what_the_directory_has() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        fs::write(from.path().join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.path().join("a/b/file"), fs::Permissions::from_mode(0o4751))
            .unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        fs::create_dir(to.path().join("a")).unwrap();
        let open = |path| rustix::fs::open(path, DIRECTORY, rustix::fs::Mode::empty()).unwrap();

        copy_content(&open(from.path()), &open(to.path())).unwrap();

        let file = to.path().join("a/b/file");
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o4751);
        assert_eq!(fs::read_link(to.path().join("link")).unwrap().to_str(), Some("/etc/passwd"));
    }

    #[test]
    fn a_link_in_the_tmpfs_leads_nowhere() {
        let [from, to, outside] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("a")).unwrap();
        fs::write(from.path().join("a/file"), "text").unwrap();
        symlink(outside.path(), to.path().join("a")).unwrap();
        let open = |path| rustix::fs::open(path, DIRECTORY, rustix::fs::Mode::empty()).unwrap();

        assert!(copy_content(&open(from.path()), &open(to.path())).is_err());

        assert!(!outside.path().join("file").exists());
    }
}
