//! krun's own binary: where it is, and that a native container cannot write it.
//!
//! Between the container's namespaces and its program, `/proc/<pid>/exe` in the container is krun: its
//! program may even be a link to there. Whoever opens that file once it has ended could write it, and
//! would own the host (CVE-2019-5736). With the monitor this does not arise: a program is never executed
//! by the host's kernel. Before krun makes a native process, it executes itself from a read-only mount of
//! its binary that is attached nowhere, or else from a sealed copy in memory.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals,
    fstatvfs, memfd_create, open,
};
use rustix::mount::{OpenTreeFlags, open_tree};

/// The program that this process runs.
pub(crate) const OWN_BINARY: &str = "/proc/self/exe";
/// Tells krun, executed from elsewhere, where its file is.
const PATH_VARIABLE: &str = "KRUN_OWN_PATH";

/// Why krun does not know itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnBinaryError {
    /// Nobody knows where krun is.
    #[error("read /proc/self/exe")]
    Path(#[source] io::Error),
    /// It could be written from the container.
    #[error("protect krun's binary from a native container")]
    Protect(#[source] io::Error),
}

/// Where krun itself is; also what hooks are started with.
pub(crate) fn path() -> Result<PathBuf, OwnBinaryError> {
    match std::env::var_os(PATH_VARIABLE) {
        Some(path) if is_protected().map_err(OwnBinaryError::Path)? => Ok(path.into()),
        _ => std::env::current_exe().map_err(OwnBinaryError::Path),
    }
}

/// Whether this process was krun before, as far as it was told.
pub(crate) fn is_executed_again() -> bool {
    std::env::var_os(PATH_VARIABLE).is_some()
}

/// Opens `file`, as a path, on a read-only mount of its own that is attached nowhere and never will be.
///
/// While the descriptor of a new mount is open, whoever has `CAP_SYS_ADMIN` in any user namespace may attach it and
/// change its flags, by the name that procfs gives to the descriptor. So that one is closed, and the mount is
/// gone for `mount_setattr(2)` and `move_mount(2)`, while the file that was opened keeps it as it is.
pub(crate) fn open_read_only_mount(file: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, file, flags)?;
    krun_sys::make_read_only(mount.as_fd())?;
    let name = format!("/proc/self/fd/{}", mount.as_raw_fd());
    Ok(open(name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Comes back in a process whose binary nobody can write. To be called before anything is done that
/// must not be done twice.
pub(crate) fn protect() -> Result<(), OwnBinaryError> {
    if is_protected().map_err(OwnBinaryError::Protect)? {
        return Ok(());
    }
    let path = path()?;
    let binary = open_read_only_mount(&path).or_else(|_| sealed_copy());
    let fault =
        binary.and_then(|binary| execute_again(&binary, &path)).unwrap_or_else(|error| error);
    Err(OwnBinaryError::Protect(fault))
}

fn is_protected() -> io::Result<bool> {
    let binary = File::open(OWN_BINARY)?;
    if fstatvfs(&binary)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    // Only files in memory have seals.
    Ok(fcntl_get_seals(&binary).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// What is left to an ordinary user, who makes no mounts.
fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("krun", flags)?);
    io::copy(&mut File::open(OWN_BINARY)?, &mut copy)?;
    copy.rewind()?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

/// Becomes the same command once more; comes back with an error.
fn execute_again(binary: &OwnedFd, path: &Path) -> io::Result<io::Error> {
    if is_executed_again() {
        return Err(io::Error::other("it can be written still"));
    }
    let own_path = (PATH_VARIABLE.into(), path.into());
    execute(binary, std::env::args_os(), std::env::vars_os().chain([own_path]))
}

/// Becomes the program in `binary`; comes back with an error.
pub(crate) fn execute(
    binary: &OwnedFd,
    arguments: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> io::Result<io::Error> {
    let arguments = c_strings(arguments)?;
    let environment = c_strings(variables.map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    }))?;
    let flags = AtFlags::AT_EMPTY_PATH;
    match nix::unistd::execveat(binary, c"", &arguments, &environment, flags) {
        Ok(never) => match never {},
        Err(errno) => Ok(errno.into()),
    }
}

fn c_strings(texts: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    let c_string = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::from);
    texts.map(c_string).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::{open_read_only_mount, sealed_copy};

    #[test]
    fn neither_a_copy_nor_a_mount_can_be_written() {
        let copy = File::from(sealed_copy().unwrap());
        assert!(copy.metadata().unwrap().len() > 0);
        assert!((&copy).write_all(b"x").is_err());

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "as it was").unwrap();
        let mount = File::from(open_read_only_mount(&path).unwrap());
        let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mount));
        let error = File::options().write(true).open(by_descriptor).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let left_alone = krun_sys::make_read_only(std::os::fd::AsFd::as_fd(&mount));
        assert_eq!(left_alone.unwrap_err().raw_os_error(), Some(22), "nobody changes its flags");
    }
}
