//! What Packer runs in the machines whose disks become images, run in a Debian system: for ECS and for EKS.
//!
//! Stand-ins are there for `rpm`, which puts krun there as the package does, for `systemctl` and for containerd's program.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use integration::documents::PACKAGING;
use integration::{built, outcome, software};
use tempfile::TempDir;

/// Mounts the system, whose changes stay in `$2`, and does in it what Packer does: `/tmp/krun` has what is uploaded.
const BUILD: &str = r#"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/run"
mount --bind "$2/host" "$2/root/mnt"
exec chroot "$2/root" env PATH=/mnt/programs:/usr/sbin:/usr/bin:/sbin:/bin bash /tmp/krun/provision
"#;

/// A machine whose disk becomes an image.
struct Machine(TempDir);

impl Machine {
    /// Makes it, with what Packer's template for `cloud` uploads.
    fn new(cloud: &str, uploads: &[&str]) -> Result<Self> {
        let place = built::target_dir()?.join("software");
        let machine = Self(tempfile::Builder::new().prefix("krun-ami-").tempdir_in(place)?);
        for name in ["work", "root", "upper/tmp/krun", "host/programs", "host/bin"] {
            fs::create_dir_all(machine.path(name))?;
        }
        for name in uploads {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(Path::new(PACKAGING).join(cloud).join(name));
            copy.arg(machine.path("upper/tmp/krun"));
            ensure!(outcome::run(&mut copy, None)?.is_success(), "{copy:?}");
        }
        fs::write(machine.path("upper/tmp/krun/kontain-krun.x86_64.rpm"), "")?;
        for program in [built::krun()?, built::km()?, built::kontain()?] {
            let name = program.file_name().context("a name")?;
            fs::copy(&program, machine.path("host/bin").join(name))?;
        }
        machine.stand_in(
            "rpm",
            "test \"$*\" = '--upgrade --replacepkgs kontain-krun.x86_64.rpm' && test -f \"$3\"\n\
             mkdir -p /opt/kontain && cp -r /mnt/bin /opt/kontain/",
        )?;
        machine.stand_in("systemctl", "echo \"$*\" >>/mnt/asked")?;
        Ok(machine)
    }

    fn stand_in(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path("host/programs").join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\n{text}\n"))?;
        Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn provision(&self) -> Result<String> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-euc", BUILD, "sh"]).arg(software::image()?).arg(self.0.path());
        let done = outcome::run(&mut command, None)?;
        ensure!(done.is_success(), "{done:?}");
        Ok(done.stdout())
    }

    /// A file as the image has it.
    fn read(&self, name: &str) -> Result<String> {
        let path = self.path("upper").join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

#[test]
fn an_image_of_ecs_has_krun_as_dockers_default() -> Result<()> {
    let machine = Machine::new("ecs", &["ami/provision", "install-node"])?;
    fs::create_dir_all(machine.path("upper/var/lib/ecs/data"))?;
    fs::write(machine.path("upper/var/lib/ecs/data/agent.db"), "")?;

    for _ in 0..2 {
        let said = machine.provision()?;
        assert!(said.contains("krun version"), "{said}");
    }

    assert!(machine.read("etc/docker/daemon.json")?.contains("\"default-runtime\": \"krun\""));
    assert!(machine.read("etc/kontain/policy.d/10-ecs.toml")?.contains("preset = \"ecs\""));
    assert_eq!(
        machine.read("var/lib/ecs/ecs.config")?.matches("\"kontain.runtime\":\"krun\"").count(),
        1
    );
    assert_eq!(machine.read("etc/modules-load.d/kontain.conf")?, "kvm_intel\n");
    assert_eq!(fs::read_to_string(machine.path("host/asked"))?, "stop ecs docker\n".repeat(2));
    assert!(machine.read("var/lib/ecs/data/agent.db").is_err(), "no image knows whose it was");
    Ok(())
}

#[test]
fn an_image_of_eks_has_nodeadms_drop_in() -> Result<()> {
    let machine = Machine::new("eks", &["ami/provision", "install-node"])?;
    for directory in ["upper/etc/eks/nodeadm.d", "upper/usr/bin"] {
        fs::create_dir_all(machine.path(directory))?;
    }
    // What a program of containerd 2 says of its modules.
    fs::write(machine.path("upper/usr/bin/containerd"), "github.com/containerd/containerd/v2/cmd")?;

    for _ in 0..2 {
        let said = machine.provision()?;
        assert!(said.contains("krun version"), "{said}");
    }

    assert!(machine.read("etc/eks/nodeadm.d/50-kontain.yaml")?.contains("version = 3"));
    assert!(machine.read("etc/containerd/config.toml").is_err(), "nodeadm writes it");
    assert_eq!(machine.read("etc/modules-load.d/kontain.conf")?, "kvm_intel\n");
    Ok(())
}

#[test]
fn a_machine_that_cannot_be_provisioned_becomes_no_image() -> Result<()> {
    let machine = Machine::new("ecs", &["ami/provision", "install-node"])?;
    machine.stand_in("rpm", "echo 'no room' >&2; exit 1")?;

    let refused = machine.provision().err().context("it fails")?;

    assert!(refused.to_string().contains("no room"), "{refused}");
    assert!(machine.read("etc/docker/daemon.json").is_err());
    Ok(())
}
