//! The container that a suite runs in: a bundle whose root filesystem is an overlay of the image,
//! made for one run and thrown away after it.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::MountFlags;
use tempfile::TempDir;

use super::{Share, image, spec};
use crate::built;
use crate::footprint::Footprint;
use crate::outcome::{self, End};
use crate::runtime::Runtime;

/// The container's name, in a state directory of its own.
const ID: &str = "suite";

/// Empty directories that the container starts with, besides those of the image.
const ADDED: [&str; 5] = ["work", "suite", "go", "go-tests", "results"];

/// A bundle that is ready to run, and where its suite's output goes.
pub(super) struct Container {
    // The first to be dropped: it unmounts what lies in the directory.
    footprint: Footprint,
    dir: TempDir,
    out: PathBuf,
}

impl Container {
    /// A container of this image for a share of a suite, whose output goes to this directory.
    pub(super) fn new(suite: &str, share: Share, image: &Path, out: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("krun-suite-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(built::target_dir()?.join("software"))?;
        let mut footprint = Footprint::new(dir.path());
        mount_overlay(image, dir.path())?;
        // The overlay is ours; what the container adds must go with it.
        footprint.accept_what_is_there()?;

        if out.exists() {
            fs::remove_dir_all(out)?;
        }
        fs::create_dir_all(out.join("results"))?;
        let mounts = spec::Mounts {
            go: &image::go()?,
            go_tests: &image::go_tests()?,
            results: &out.join("results"),
        };
        let spec = spec::of(suite, share, footprint.cgroup(), &mounts)?;
        fs::write(dir.path().join("config.json"), serde_json::to_vec_pretty(&spec)?)?;
        Ok(Self { footprint, dir, out: out.to_owned() })
    }

    /// Everything that the suite and the runtime have printed.
    pub(super) fn log(&self) -> PathBuf {
        self.out.join("log")
    }

    /// What the suite has reported.
    pub(super) fn results(&self) -> PathBuf {
        self.out.join("results/tests")
    }

    /// Runs the suite, and returns how it ended; `None` when it was deleted after the limit.
    ///
    /// Nothing of it may be left behind.
    pub(super) fn run(&self, runtime: &Runtime, limit: Duration) -> Result<Option<End>> {
        let log = File::create(self.log())?;
        let mut command = runtime.command(["run", "--bundle"]);
        command.arg(self.dir.path()).arg(ID);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;

        let Some(status) = outcome::wait(&mut child, limit)? else {
            let deleted = runtime.call(["delete", "--force", ID]);
            child.kill()?;
            child.wait()?;
            deleted?;
            return Ok(None);
        };
        self.footprint.ensure_nothing_is_left()?;
        Ok(Some(End::from(status)))
    }
}

/// Mounts an overlay of the image on `rootfs` in this directory, where it keeps its changes too.
fn mount_overlay(image: &Path, dir: &Path) -> Result<()> {
    for name in ["rootfs", "upper", "work"] {
        fs::create_dir(dir.join(name))?;
    }
    for name in ADDED {
        fs::create_dir(dir.join("upper").join(name))?;
    }
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        image.display(),
        dir.join("upper").display(),
        dir.join("work").display()
    );
    let data = CString::new(data)?;
    rustix::mount::mount("overlay", dir.join("rootfs"), "overlay", MountFlags::empty(), &*data)
        .with_context(|| format!("mount an overlay with {data:?}"))
}
