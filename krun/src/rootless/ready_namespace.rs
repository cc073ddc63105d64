//! A user namespace that is made before libcontainer joins it, and a mount namespace that belongs to it.
//!
//! libcontainer leaves more than one range to `newuidmap` and `newgidmap`, which are for ordinary users
//! and need not be installed. Whoever is root, be it of a user namespace, may write them all. And a mount
//! namespace can be joined only by who has rights over it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::pipe2;
use rustix::process::geteuid;
use spec_compat::Config;

use super::NamespaceError;
use super::id_maps::IdMaps;

/// The namespaces, held by descriptors, which libcontainer's processes inherit.
#[derive(Debug)]
pub(crate) struct ReadyNamespace {
    users: OwnedFd,
    mounts: OwnedFd,
}

impl ReadyNamespace {
    /// Makes the namespace that a bundle asks for, if libcontainer could not, or if `with_mounts` demands
    /// the other.
    pub(crate) fn make_if_needed(
        config: &Config,
        with_mounts: bool,
    ) -> Result<Option<Self>, NamespaceError> {
        let maps = IdMaps::of(config);
        let has_several = maps.users.len() > 1 || maps.groups.len() > 1;
        if !((has_several || with_mounts) && config.has_new_user_namespace() && geteuid().is_root())
        {
            return Ok(None);
        }
        let (ready, fault) = make(&maps).map_err(NamespaceError::Make)?;
        fault.map_or(Ok(Some(ready)), |fault| Err(NamespaceError::Map(fault)))
    }

    /// Where libcontainer finds the user namespace.
    pub(crate) fn users(&self) -> String {
        format!("/proc/self/fd/{}", self.users.as_raw_fd())
    }

    /// Where it finds the mount namespace.
    pub(crate) fn mounts(&self) -> String {
        format!("/proc/self/fd/{}", self.mounts.as_raw_fd())
    }
}

/// A child goes there and stays until the maps are written.
fn make(maps: &IdMaps) -> io::Result<(ReadyNamespace, Option<String>)> {
    let ((made, say_made), (done, say_done)) = (pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?);
    let mut ends = Some((File::from(say_made), File::from(done)));
    let mut say_done = Some(say_done);
    let child = krun_sys::fork_to(|| {
        // Or its own copy would keep it from hearing of the other's end.
        drop(say_done.take());
        if let Some((mut say_made, mut done)) = ends.take() {
            let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
            let said = unshare(both).map_or_else(|errno| errno as i32, |()| 0);
            // What is waited for is the end, which comes in any case.
            _ = say_made.write_all(&said.to_ne_bytes());
            _ = done.read(&mut [0]);
        }
    })?;
    drop(ends.take());
    let mut errno = [0; 4];
    let told = File::from(made).read_exact(&mut errno);
    let result = told.and_then(|()| match i32::from_ne_bytes(errno) {
        0 => {
            let open = |kind| File::open(format!("/proc/{child}/ns/{kind}")).map(OwnedFd::from);
            let ready = ReadyNamespace { users: open("user")?, mounts: open("mnt")? };
            Ok((ready, maps.write(child.as_raw()).err()))
        }
        errno => Err(io::Error::from_raw_os_error(errno)),
    });
    drop(say_done);
    waitpid(child, None)?;
    result
}
