//! podman, with its own storage, state and cgroup. It has no daemon; conmon looks after a container.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::footprint::Footprint;
use crate::outcome::{self, Outcome};
use crate::rootfs;
use crate::runtime;

/// The image that [`Podman::new`] imports. Its `/data` has a file and a directory.
pub const IMAGE: &str = "localhost/busybox:test";

/// podman's own defaults are more than some machines allow.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

/// A place for podman's files.
#[derive(Debug)]
pub struct Podman {
    footprint: Footprint,
    dir: TempDir,
}

impl Podman {
    /// Makes the place, and imports [`IMAGE`].
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("krun-podman").tempdir_in("/tmp")?;
        let footprint = Footprint::new(dir.path());
        let mut podman = Self { footprint, dir };
        podman.import()?;
        // podman leaves a cgroup of its own, for conmon.
        let first = podman.run("runc", &["--rm", IMAGE, "true"], None)?;
        ensure!(first.is_success(), "podman run: {first:?}");
        podman.footprint.accept_what_is_there()?;
        Ok(podman)
    }

    /// A command with one of the [`runtime::RUNTIMES`].
    pub fn command<S: AsRef<OsStr>>(
        &self,
        runtime: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let binary = runtime::binary(runtime, self.dir.path())?;
        let mut command = Command::new("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.path().join(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file", "--log-level", "error", "--runtime"]);
        command.arg(binary).args(args);
        Ok(command)
    }

    /// A call, to its end.
    pub fn call(&self, runtime: &str, args: &[&str], stdin: Option<&[u8]>) -> Result<Outcome> {
        outcome::run(&mut self.command(runtime, args)?, stdin)
    }

    /// `podman run` with these arguments, to its end.
    pub fn run(&self, runtime: &str, args: &[&str], stdin: Option<&[u8]>) -> Result<Outcome> {
        let parent = ["--cgroup-parent", self.footprint.cgroup()];
        let run = [&["run", "--network", "none"], &parent[..], &LIMITS, args].concat();
        self.call(runtime, &run, stdin)
    }

    /// Fails unless containers have left nothing.
    pub fn ensure_nothing_is_left(&self) -> Result<()> {
        self.footprint.ensure_nothing_is_left()
    }

    fn import(&self) -> Result<()> {
        let root = self.dir.path().join("image");
        rootfs::make(&root)?;
        fs::create_dir(root.join("data/more"))?;
        fs::write(root.join("data/file"), "of the image\n")?;
        let tar = self.dir.path().join("image.tar");
        let mut pack = Command::new("tar");
        let packed = pack.arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status();
        ensure!(packed.context("start tar")?.success(), "tar could not pack the image");
        let import = ["import", "--change", "ENV PATH=/bin", &tar.to_string_lossy(), IMAGE];
        let imported = self.call("runc", &import, None)?;
        ensure!(imported.is_success(), "podman import: {imported:?}");
        Ok(())
    }
}
