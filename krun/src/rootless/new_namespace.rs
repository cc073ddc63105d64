//! A bundle's user namespace, for an ordinary user.
//!
//! What he may not do outside, he may do inside. So krun enters it first, with a mount namespace that
//! belongs to it, and executes itself anew there: from then on it is in the place that podman would have
//! put it into. Without that, the new namespace would have no rights over krun's own children, which are
//! of the program that was executed outside. ptrace(2) tells of these.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, pipe2, setresgid, setresuid};
use rustix::process::geteuid;
use spec_compat::Config;

use super::id_maps::IdMaps;
use crate::cli::Global;
use crate::own_binary;

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamespaceError {
    /// runc's words.
    #[error("rootless container requires user namespaces")]
    Missing,
    /// Linux does not make it.
    #[error("make a user namespace")]
    Make(#[source] io::Error),
    /// Its IDs are not to be had.
    #[error("map the IDs of the user namespace: {0}")]
    Map(String),
    /// It has no root.
    #[error("become root in the user namespace, which uidMappings and gidMappings must have")]
    Root(#[source] io::Error),
    /// krun cannot go on there.
    #[error("execute krun in the user namespace")]
    Execute(#[source] io::Error),
}

/// Has an ordinary user's krun begin anew in the user namespace that the bundle asks for. Comes back
/// where that is so, or is not needed.
pub(crate) fn enter(global: &Global, root: &Path, config: &Config) -> Result<(), NamespaceError> {
    if geteuid().is_root() {
        return Ok(());
    }
    if !config.has_user_namespace() {
        return Err(NamespaceError::Missing);
    }
    if !config.has_new_user_namespace() {
        return Ok(());
    }
    make(&IdMaps::of(config))?;
    let become_root = || {
        setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
        setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))
    };
    become_root().map_err(|errno| NamespaceError::Root(errno.into()))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| NamespaceError::Make(errno.into()))?;
    Err(NamespaceError::Execute(execute_again(global, root)))
}

/// Makes the user namespace. A child that stays outside writes its maps.
fn make(maps: &IdMaps) -> Result<(), NamespaceError> {
    let fault = NamespaceError::Make;
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| fault(errno.into()));
    let ((made, say_made), (written, say_written)) = (pipe()?, pipe()?);
    let pid = i32::try_from(process::id()).map_err(|_| fault(io::ErrorKind::InvalidData.into()))?;
    let mut ends = Some((File::from(made), File::from(say_written)));
    let mut say_made = Some(File::from(say_made));
    let child = krun_sys::fork_to(|| {
        // Or its own copy would keep it from hearing of the other's end.
        drop(say_made.take());
        if let Some((mut made, mut say_written)) = ends.take()
            && made.read_exact(&mut [0]).is_ok()
        {
            let said = maps.write(pid).err().unwrap_or_default();
            // If nobody listens, nobody waits either.
            _ = say_written.write_all(said.as_bytes());
        }
    });
    let child = child.map_err(fault)?;
    drop(ends.take());
    let done = unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from);
    let told = done.and_then(|()| say_made.take().map_or(Ok(()), |mut pipe| pipe.write_all(b"x")));
    drop(say_made);
    let mut said = String::new();
    let read = File::from(written).read_to_string(&mut said).map(drop);
    waitpid(child, None).map_err(|errno| fault(errno.into()))?;
    told.and(read).map_err(fault)?;
    if said.is_empty() { Ok(()) } else { Err(NamespaceError::Map(said)) }
}

/// The same command, told where it is, and where the state of the user outside is. Comes back with an
/// error.
fn execute_again(global: &Global, root: &Path) -> io::Error {
    let mut arguments: Vec<OsString> = env::args_os().collect();
    let mut added: Vec<OsString> = vec!["--in-user-namespace".into()];
    if global.root.is_none() {
        added.extend(["--root".into(), root.into()]);
    }
    arguments.splice(1..1, added);
    let binary = File::open(own_binary::OWN_BINARY).map(OwnedFd::from);
    binary
        .and_then(|binary| own_binary::execute(&binary, arguments.into_iter(), env::vars_os()))
        .unwrap_or_else(|error| error)
}
