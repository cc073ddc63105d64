//! An ordinary user, with a home and with ranges of subordinate IDs, on a machine that knows nothing of
//! him: he exists only in a mount namespace with an `/etc` of its own.
//!
//! All that he starts is in a process namespace, too, and ends with it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::built;
use crate::outcome::{self, Outcome, TIME_LIMIT};
use crate::rootfs;

/// His user ID, and his group's.
pub const ID: u32 = 47_100;

/// The image that [`OrdinaryUser::import`] makes for his podman.
pub const IMAGE: &str = "localhost/busybox:test";

/// Makes the namespace's `/etc`, `/dev/kvm`, and the `/dev/net/tun` of most hosts, which is everybody's,
/// and stays. `$1` is the place, `$2` the mode of the first device.
const ENTER: &str = r#"
    set -e
    cp -a /etc "$1/etc"
    echo "user:x:47100:47100::$1/home:/bin/sh" >>"$1/etc/passwd"
    echo 'user:x:47100:' >>"$1/etc/group"
    echo 'user:4710000:65536' | tee "$1/etc/subuid" >"$1/etc/subgid"
    mount --bind "$1/etc" /etc
    mount -t tmpfs -o mode=755 none "$1/dev"
    mknod "$1/dev/kvm" c 10 232
    chown 0:47100 "$1/dev/kvm"
    chmod "$2" "$1/dev/kvm"
    mount --bind "$1/dev/kvm" /dev/kvm
    mknod -m 666 "$1/dev/tun" c 10 200
    mount --bind "$1/dev/tun" /dev/net/tun
    touch "$1/ready"
    exec sleep infinity"#;

/// Begins a script where all of `/sys/fs/cgroup` is the hierarchy of version 2.
const VERSION_2: &str =
    "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 99; ";

/// Becomes the user for the rest of a script.
pub const AS_HIM: &str = "exec setpriv --reuid user --regid user --init-groups \"$@\"";

/// Whether he may make virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// He is in the device's group.
    Permitted,
    /// The device is root's.
    Forbidden,
}

/// The user.
#[derive(Debug)]
pub struct OrdinaryUser {
    dir: TempDir,
    /// The parent of the first process of his namespaces.
    namespaces: Child,
}

impl OrdinaryUser {
    /// Makes him.
    pub fn new(kvm: Kvm) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("krun-user").tempdir_in("/tmp")?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        for name in ["home", "run", "bin", "dev"] {
            fs::create_dir(dir.path().join(name))?;
        }
        for (name, binary) in [("krun", built::krun()?), ("km", built::km()?)] {
            // The built ones may be where only root can go.
            fs::copy(binary, dir.path().join("bin").join(name))?;
        }
        for name in ["home", "run"] {
            chown(dir.path().join(name), Some(ID), Some(ID))?;
        }
        fs::set_permissions(dir.path().join("run"), Permissions::from_mode(0o700))?;
        let mode = if kvm == Kvm::Permitted { "660" } else { "600" };
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        enter.args(["sh", "-c", ENTER, "sh"]).arg(dir.path()).arg(mode);
        enter.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let namespaces = enter.spawn().context("start unshare")?;
        let user = Self { dir, namespaces };
        let ready = outcome::eventually(TIME_LIMIT, || user.dir.path().join("ready").exists());
        ensure!(ready, "the user's namespaces cannot be made");
        Ok(user)
    }

    /// His home.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// His `XDG_RUNTIME_DIR`.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The runtime called `runc` or `krun`, as he calls it.
    pub fn runtime(&self, name: &str) -> String {
        if name == "krun" {
            self.dir.path().join("bin/krun").display().to_string()
        } else {
            name.to_owned()
        }
    }

    /// A command of root's in the user's namespaces.
    pub fn beside(&self) -> Result<Command> {
        let children = format!("/proc/{0}/task/{0}/children", self.namespaces.id());
        let first = fs::read_to_string(children)?;
        let mut command = Command::new("nsenter");
        command.args(["--target", first.trim(), "--mount", "--pid"]);
        command.arg(format!("--wd={}", self.home().display()));
        Ok(command)
    }

    /// A command of his, found in `path`.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        path: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let mut command = self.beside()?;
        command.args(["setpriv", "--reuid", "user", "--regid", "user", "--init-groups"]);
        command.args(["env", "-i", "USER=user", "TERM=dumb"]).arg(format!("PATH={path}"));
        command.arg(format!("HOME={}", self.home().display()));
        command.arg(format!("XDG_RUNTIME_DIR={}", self.runtime_dir().display())).args(args);
        Ok(command)
    }

    /// A script of root's in the user's namespaces, where cgroups are of version 2, to its end.
    pub fn on_version_2<S: AsRef<OsStr>>(
        &self,
        script: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Outcome> {
        let mut command = self.beside()?;
        command.args(["unshare", "--mount", "sh", "-c", &format!("{VERSION_2}{script}"), "sh"]);
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.runtime_dir()).args(args);
        outcome::run(&mut command, None)
    }

    /// A call of his, to its end.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let usual = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
        outcome::run(&mut self.command(usual, args)?, None)
    }

    /// A dockerd of root's beside him, without a network, whose containers have his subordinate IDs. It ends
    /// with him.
    pub fn start_dockerd(&self) -> Result<()> {
        let policy = self.dir.path().join("policy");
        fs::create_dir(&policy)?;
        fs::write(policy.join("10-all.toml"), "[[rule]]\nid = \"all\"\nmode = \"native\"\n")?;
        let krun = self.runtime("krun");
        let native = json!({"path": krun, "runtimeArgs": ["--policy-dir", policy]});
        let config = json!({"runtimes": {"krun": {"path": krun}, "krun-native": native}});
        fs::write(self.dir.path().join("docker.json"), config.to_string())?;
        let log = fs::File::create(self.dir.path().join("docker.log"))?;
        let mut daemon = self.beside()?;
        daemon.args(["dockerd", "--userns-remap", "user", "--storage-driver", "vfs"]);
        daemon.args(["--bridge", "none", "--iptables=false", "--config-file"]);
        daemon.arg(self.dir.path().join("docker.json"));
        for (option, name) in
            [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")]
        {
            daemon.arg(option).arg(self.dir.path().join(name));
        }
        daemon.arg("--host").arg(self.docker_host());
        daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // nsenter ends with the daemon, which ends with the namespace.
        drop(daemon.spawn().context("start dockerd: run integration/prepare first")?);
        let answers = || self.docker(&["version"]).is_ok_and(|outcome| outcome.is_success());
        let log = self.dir.path().join("docker.log");
        let told = || fs::read_to_string(log).unwrap_or_default();
        ensure!(outcome::eventually(TIME_LIMIT, answers), "dockerd does not start: {}", told());
        let tar = self.pack_image()?;
        let path = "ENV PATH=/bin";
        let imported = self.docker(&["import", "--change", path, &tar.to_string_lossy(), IMAGE])?;
        ensure!(imported.is_success(), "docker import: {imported:?}");
        Ok(())
    }

    /// A call of that dockerd's client.
    pub fn docker(&self, args: &[&str]) -> Result<Outcome> {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", self.dir.path().join("client"));
        docker.arg("--host").arg(self.docker_host()).args(args);
        outcome::run(&mut docker, None)
    }

    fn docker_host(&self) -> String {
        format!("unix://{}", self.dir.path().join("socket").display())
    }

    /// His podman with this runtime, to its end.
    pub fn podman(&self, runtime: &str, args: &[&str]) -> Result<Outcome> {
        let runtime = self.runtime(runtime);
        let options = ["--storage-driver", "vfs", "--events-backend", "file"];
        let options = [&options[..], &["--log-level", "error", "--runtime", &runtime]].concat();
        self.call([&["podman"], &options[..], args].concat())
    }

    /// Gives his podman [`IMAGE`].
    pub fn import(&self) -> Result<()> {
        let tar = self.pack_image()?;
        let import = ["import", "--change", "ENV PATH=/bin", &tar.to_string_lossy(), IMAGE];
        let imported = self.podman("runc", &import)?;
        ensure!(imported.is_success(), "podman import: {imported:?}");
        Ok(())
    }

    fn pack_image(&self) -> Result<PathBuf> {
        let tar = self.dir.path().join("image.tar");
        let root = self.make_rootfs(&self.dir.path().join("image"))?;
        let mut pack = Command::new("tar");
        let packed = pack.arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status();
        ensure!(packed.context("start tar")?.success(), "tar could not pack the image");
        Ok(tar)
    }

    /// A root file system, in a directory that others may enter.
    pub fn make_rootfs(&self, root: &Path) -> Result<PathBuf> {
        fs::create_dir_all(root)?;
        rootfs::make(root)?;
        Ok(root.to_owned())
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        // What is in the namespaces ends with its parent.
        drop(self.namespaces.kill());
        drop(self.namespaces.wait());
    }
}
