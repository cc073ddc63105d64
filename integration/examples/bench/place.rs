//! Where programs are run: the image of other people's programs, in an overlay that all contestants share.
//!
//! Natively and under km a program runs in a chroot; in containers the same directory is the root file
//! system. So all of them read the same files of the same file system.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration::footprint::Footprint;
use integration::{built, outcome, software};
use rustix::mount::{MountFlags, mount, mount_bind};
use tempfile::TempDir;

use crate::contestants::{Contestant, Kind};
use crate::specification::{self, ENVIRONMENT};

/// The sources of the programs in C.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bench");

/// The container's name.
pub(crate) const ID: &str = "bench";

/// What is in the chroot's `/dev`.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/fd",
    "/dev/kvm",
];

/// The overlay, mounted, with our own programs in `/bench` and an empty `/work`.
#[derive(Debug)]
pub(crate) struct Place {
    // The first to be dropped: it unmounts what lies in the directory.
    footprint: Footprint,
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let image = software::image()?;
        // By the path that the table of mounts will have, without symbolic links: by it they are found
        // and unmounted, before anything is removed.
        let parent = File::open(built::target_dir()?.join("software"))?;
        let parent = fs::read_link(format!("/proc/self/fd/{}", parent.as_raw_fd()))?;
        let dir = tempfile::Builder::new()
            .prefix("krun-bench-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(parent)?;
        let place = Self { footprint: Footprint::new(dir.path()), dir };
        place.mount(&image)?;
        fs::copy(built::km()?, place.inside("/bench/km"))?;
        place.compile("micro")?;
        place.compile("stopwatch")?;
        Ok(place)
    }

    /// A path of the place's, as this process names it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(path.trim_start_matches('/'))
    }

    /// The command with which a contestant runs a program, which is named by its path.
    pub(crate) fn command(&self, by: &Contestant, argv: &[&str]) -> Result<Command> {
        match &by.kind {
            Kind::Native => Ok(self.chroot(argv)),
            Kind::Km(flags) => {
                let km = ["/bench/km"].into_iter().chain(flags.iter().map(String::as_str));
                Ok(self.chroot(&km.chain(argv.iter().copied()).collect::<Vec<_>>()))
            }
            Kind::Container(runtime, _) => {
                self.configure(argv)?;
                let mut command = runtime.command(["run", "--bundle"]);
                command.arg(self.dir.path()).arg(ID);
                Ok(command)
            }
        }
    }

    /// The command with which a contestant runs a program that is timed, and that prints the time.
    ///
    /// In a container the stopwatch is in the container; km is itself what is timed.
    pub(crate) fn timed(&self, by: &Contestant, argv: &[&str]) -> Result<Command> {
        let stopwatch = ["/bench/stopwatch"];
        let Kind::Km(flags) = &by.kind else {
            return self.command(by, &[&stopwatch[..], argv].concat());
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Ok(self.chroot(&[&stopwatch[..], &["/bench/km"], &flags, argv].concat()))
    }

    /// Runs a program natively, which must succeed; for what has to be there before others begin.
    pub(crate) fn prepare(&self, argv: &[&str]) -> Result<String> {
        let mut command = self.chroot(argv);
        let outcome = outcome::run(&mut command, None)?;
        ensure!(outcome.is_success(), "{argv:?}: {outcome:?}");
        Ok(outcome.stdout() + &outcome.stderr())
    }

    /// A command of the host's own in the place.
    pub(crate) fn chroot(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.dir.path().join("chroot")).args(["/usr/bin/env", "--chdir=/work"]);
        command.args(argv).env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|variable| variable.split_once('=')));
        command
    }

    fn mount(&self, image: &Path) -> Result<()> {
        let at = |name: &str| self.dir.path().join(name);
        for name in ["rootfs", "chroot", "upper", "upper/bench", "upper/work", "lower"] {
            fs::create_dir(at(name))?;
        }
        let [upper, work] = [at("upper"), at("lower")].map(|path| path.display().to_string());
        let data = format!("lowerdir={},upperdir={upper},workdir={work}", image.display());
        let nothing: Option<&CStr> = None;
        mount("overlay", at("rootfs"), "overlay", MountFlags::empty(), &*CString::new(data)?)
            .context("mount an overlay")?;
        mount_bind(at("rootfs"), at("chroot")).context("bind the overlay")?;
        mount("proc", at("chroot/proc"), "proc", MountFlags::empty(), nothing)?;
        // Devices of its own: nothing of the machine's lies in a directory that is to be removed.
        mount("tmpfs", at("chroot/dev"), "tmpfs", MountFlags::empty(), nothing)?;
        let copied = Command::new("cp").arg("-a").args(DEVICES).arg(at("chroot/dev")).status()?;
        ensure!(copied.success(), "cp: {DEVICES:?}");
        Ok(fs::create_dir(at("chroot/dev/shm"))?)
    }

    fn compile(&self, name: &str) -> Result<()> {
        let source = Path::new(SOURCES).join(name).with_extension("c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"]);
        let outcome = outcome::run(gcc.arg(self.inside("/bench").join(name)).arg(source), None)?;
        ensure!(outcome.is_success(), "compile {name}: {outcome:?}");
        Ok(())
    }

    /// Writes what containers are made of.
    fn configure(&self, argv: &[&str]) -> Result<()> {
        let spec = specification::of(argv, self.footprint.cgroup());
        Ok(fs::write(self.dir.path().join("config.json"), serde_json::to_vec(&spec)?)?)
    }
}
