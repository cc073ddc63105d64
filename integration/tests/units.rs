//! What runs at boot before engines do: `packaging/units/node-check`, in a root directory of its own.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use integration::built;
use integration::documents::PACKAGING;
use integration::outcome::{self, Outcome};
use tempfile::TempDir;

const BEFORE: &str = "{\n  \"debug\": true\n}\n";

/// A node on which docker's default is krun, with kontain itself.
struct Node(TempDir);

impl Node {
    /// Makes one that can run virtual machines, or one without `/dev/kvm`.
    fn new(has_kvm: bool) -> Result<Self> {
        let node = Self(tempfile::Builder::new().prefix("krun-units-").tempdir()?);
        for name in ["opt/kontain/bin", "etc/kontain", "etc/docker", "dev", "proc", "sys"] {
            fs::create_dir_all(node.path(name))?;
        }
        for (name, from) in
            [("krun", built::krun()?), ("km", built::km()?), ("kontain", built::kontain()?)]
        {
            fs::copy(from, node.path("opt/kontain/bin").join(name))?;
        }
        fs::write(node.path("etc/docker/daemon.json"), BEFORE)?;
        if has_kvm {
            fs::write(node.path("has-kvm"), "")?;
        }
        let mut install = Command::new(node.path("opt/kontain/bin/kontain"));
        install.args(["install", "docker", "--default", "--root"]).arg(node.0.path());
        let done = outcome::run(&mut install, None)?;
        anyhow::ensure!(done.is_success(), "{done:?}");
        Ok(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn daemon(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("etc/docker/daemon.json"))?)
    }

    /// What the unit does at boot.
    fn boot(&self) -> Result<Outcome> {
        let enter = "for name in proc sys; do mount --rbind /$name \"$ROOT/$name\"; done\n\
            [ ! -e \"$ROOT/has-kvm\" ] || mount --rbind /dev \"$ROOT/dev\"\nexec \"$0\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", enter]);
        command.arg(Path::new(PACKAGING).join("units/node-check")).env("ROOT", self.0.path());
        outcome::run(&mut command, None)
    }

    fn wish(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.path("etc/kontain/node-check.conf"), text)?)
    }
}

#[test]
fn a_node_that_can_run_krun_goes_on_whatever_is_wished() -> Result<()> {
    let node = Node::new(true)?;
    let before = node.daemon()?;
    for wish in ["on_failure=report\n", "on_failure=closed\n", "on_failure=open\n"] {
        node.wish(wish)?;
        let booted = node.boot()?;
        assert!(
            booted.is_success() && booted.stdout().contains("can run virtual machines here"),
            "{booted:?}"
        );
        assert_eq!(node.daemon()?, before);
    }
    Ok(())
}

#[test]
fn without_kvm_it_is_reported_closed_or_open_as_is_wished() -> Result<()> {
    let node = Node::new(false)?;
    let before = node.daemon()?;

    let silent = node.boot()?;
    assert!(
        silent.is_success() && silent.stdout().contains("its containers will not start"),
        "{silent:?}"
    );
    for closed in
        ["on_failure=closed\n", "on_failure=Open\n", "", "on_failure=open\non_failure=report\n"]
    {
        node.wish(closed)?;
        let booted = node.boot()?;
        assert!(
            !booted.is_success() && booted.stdout().contains("do not start"),
            "{closed}: {booted:?}"
        );
        assert_eq!(node.daemon()?, before);
    }
    assert!(node.boot()?.stdout().contains("taken for closed"));

    node.wish("on_failure=open\n")?;
    for _ in 0..2 {
        let booted = node.boot()?;
        assert!(booted.is_success() && booted.stdout().contains("engines forget it"), "{booted:?}");
        assert_eq!(node.daemon()?, BEFORE);
    }
    Ok(())
}

#[test]
fn a_node_that_cannot_be_opened_is_closed() -> Result<()> {
    let node = Node::new(false)?;
    node.wish("on_failure=open\n")?;
    // Files that others can write are refused by kontain.
    fs::set_permissions(node.path("etc/docker/daemon.json"), Permissions::from_mode(0o666))?;

    let booted = node.boot()?;

    assert!(!booted.is_success(), "{booted:?}");
    Ok(())
}

/// A mistake of the administrator's is no reason to run containers natively.
#[test]
fn what_is_not_the_machines_fault_opens_nothing() -> Result<()> {
    for (file, text) in [("policy.d/10.toml", "typo = =\n"), ("krun.toml", "bogus = 1\n")] {
        let node = Node::new(true)?;
        let before = node.daemon()?;
        node.wish("on_failure=open\n")?;
        fs::create_dir_all(node.path("etc/kontain/policy.d"))?;
        fs::write(node.path("etc/kontain").join(file), text)?;

        let booted = node.boot()?;

        assert!(
            !booted.is_success() && booted.stdout().contains("has to be mended"),
            "{file}: {booted:?}"
        );
        assert_eq!(node.daemon()?, before, "{file}");
    }
    Ok(())
}
