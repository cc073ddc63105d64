//! A view of the machine without cgroup version 2, for crun, which refuses hosts that have both versions.
//!
//! It is a mount namespace that this process enters before it starts crun, and leaves again: a tool
//! that does so for each call would be measured too. A process can do that as long as it has no threads.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Takes the hierarchy of version 2 away, says so, and waits to be killed.
const MAKE: &str = "umount /sys/fs/cgroup/unified && echo ready && exec sleep infinity";

/// A mount namespace, and the one that this process is at home in.
#[derive(Debug)]
pub(crate) struct View {
    inside: File,
    home: File,
}

impl View {
    /// Makes the namespace. Later mounts do not appear in it.
    pub(crate) fn without_version_2() -> Result<Self> {
        let home = File::open("/proc/self/ns/mnt")?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", MAKE]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = unshare.stderr(Stdio::null()).spawn().context("start unshare")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let inside = File::open(format!("/proc/{}/ns/mnt", child.id()));
        child.kill()?;
        child.wait()?;
        anyhow::ensure!(line == "ready\n", "/sys/fs/cgroup/unified cannot be unmounted");
        Ok(Self { inside: inside?, home })
    }

    /// Does something inside.
    pub(crate) fn within<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(&self.inside)?;
        let done = what();
        enter(&self.home)?;
        done
    }
}

fn enter(namespace: &File) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("change the mount namespace")
}
