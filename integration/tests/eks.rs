//! What `packaging/eks` has for clusters: its documents, and the script that puts krun on a node.
//!
//! The node is a small root directory with a stand-in for containerd, and `nsenter` one that notes what it is asked: a
//! kubelet, nodeadm and AWS are not here.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use integration::documents::{self, PACKAGING};
use integration::outcome::{self, Outcome};
use integration::{built, rootfs};
use tempfile::TempDir;

const DROP_IN: &str = "etc/eks/nodeadm.d/50-kontain.yaml";
const CONFIG_TOML: &str = "etc/containerd/config.toml";
/// What nodeadm writes, for the most part.
const WRITTEN: &str = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\n\
    default_runtime_name = \"runc\"\n\
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\nSystemdCgroup = true\n";

/// Documents with a mistake, and what is said of it.
const BROKEN: [(&str, &str, &str, &str); 13] = [
    ("ami/krun-eks.pkr.hcl", "most_recent =", "newest =", "\"newest\" is not expected"),
    ("kubernetes/runtimeclass.yaml", "handler: krun", "handlr: krun", "'handler' is a required"),
    ("kubernetes/runtimeclass.yaml", "memory: 16Mi", "memory: [16]", "memory"),
    ("kubernetes/installer.yaml", "hostPID: true", "hostPid: true", "hostPid"),
    ("kubernetes/installer.yaml", "apiGroup: rbac", "group: rbac", "apiGroup"),
    ("nodeadm/containerd-2.yaml", "version = 3", "version = 2", "is not what version 2 reads"),
    (
        "nodeadm/containerd-2.yaml",
        "cri.v1.runtime'.containerd.runtimes.krun.options",
        "x",
        "config",
    ),
    ("nodeadm/containerd-1.yaml", "SystemdCgroup = true", "", "SystemdCgroup"),
    ("nodeadm/containerd-1.yaml", "    flags:", "    flag:", "flag"),
    ("eksctl.yaml", "nodeGroups:", "nodegroups:", "nodegroups"),
    ("karpenter.yaml", "nestedVirtualization: enabled", "nestedVirtualization: true", "True"),
    (
        "nodes.yaml",
        "NestedVirtualization: !Ref",
        "NestedVirtualisation: !Ref",
        "NestedVirtualisation",
    ),
    ("nodes.yaml", "!GetAtt Profile.Arn", "!GetAtt Profil.Arn", "'Profil' is not one of"),
];

#[test]
fn the_documents_are_what_their_readers_take() -> Result<()> {
    documents::validate(&Path::new(PACKAGING).join("eks"))?;
    Ok(())
}

#[test]
fn mistakes_in_documents_are_found() -> Result<()> {
    for (file, right, wrong, words) in BROKEN {
        let found = documents::broken(&Path::new("eks").join(file), right, wrong)?;
        assert!(found.contains(words), "{file}: {wrong}: {found}");
    }
    Ok(())
}

/// The number in the cell of a table of `docs/benchmarks.md`.
fn measured(text: &str, row: &str, column: usize) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(row)).context("there is such a row")?;
    let cell = line.split('|').nth(column).context("and such a column")?;
    cell.split_whitespace().next().context("a number")?.parse().context("a number")
}

#[test]
fn the_overhead_covers_what_was_measured() -> Result<()> {
    let text = fs::read_to_string(Path::new(PACKAGING).join("../docs/benchmarks.md"))?;
    let class = fs::read_to_string(Path::new(PACKAGING).join("eks/kubernetes/runtimeclass.yaml"))?;
    let alone = measured(&text, "| Pss of a container, alone ", 2)?;
    let before = "The largest process of krun's in a container's life takes ";
    let rest = text.split_once(before).context("it is there")?.1;
    let largest: f64 = rest.split_once(" KiB").context("in KiB")?.0.parse()?;

    let memory = class.lines().find_map(|line| line.trim().strip_prefix("memory: "));
    let overhead: f64 =
        memory.and_then(|memory| memory.strip_suffix("Mi")).context("Mi")?.parse()?;

    let needed = alone + largest / 1024.0;
    assert!(overhead >= needed && overhead <= 4.0 * needed, "{overhead} MiB for {needed}");
    Ok(())
}

#[test]
fn what_removes_krun_says_so_to_the_same_installer() -> Result<()> {
    let made = |directory: &str| -> Result<String> {
        let mut kustomize = Command::new(built::target_dir()?.join("validators/bin/kubectl"));
        kustomize.arg("kustomize").arg(Path::new(PACKAGING).join("eks").join(directory));
        Ok(outcome::run(&mut kustomize, None)?.stdout())
    };
    let (install, remove) = (made("kubernetes")?, made("remove")?);

    assert!(install.contains("action: install\n  label: kontain.app/runtime=krun\n"), "{install}");
    assert!(remove.contains("action: remove\n  label: kontain.app/runtime-\n"), "{remove}");
    // A name that a generator has not replaced would never be found.
    assert!(!install.contains("name: installer\n                  key:"), "{install}");
    assert_eq!(install.lines().count(), remove.lines().count());
    Ok(())
}

/// containerd 1.6, which reads the same version of the file, understands what goes to nodes with 1.7.
#[test]
fn containerd_knows_the_handler_of_the_drop_in() -> Result<()> {
    let text = fs::read_to_string(Path::new(PACKAGING).join("eks/nodeadm/containerd-1.yaml"))?;
    let config: Vec<_> = text
        .lines()
        .skip_while(|line| line.trim() != "config: |")
        .skip(1)
        .take_while(|line| line.starts_with("      "))
        .map(str::trim)
        .collect();
    let dir = TempDir::new()?;
    let file = dir.path().join("config.toml");
    fs::write(&file, config.join("\n"))?;

    let mut dump = Command::new("containerd");
    dump.arg("--config").arg(&file).args(["config", "dump"]);
    let effective = outcome::run(&mut dump, None)?;
    ensure!(effective.is_success(), "{effective:?}");
    let all: toml::Table = effective.stdout().parse()?;
    let runtime = &all["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]["krun"];
    assert_eq!(runtime["options"]["BinaryName"].as_str(), Some("/opt/kontain/bin/krun"));
    assert_eq!(runtime["options"]["SystemdCgroup"].as_bool(), Some(true));
    assert_eq!(runtime["privileged_without_host_devices"].as_bool(), Some(true));
    Ok(())
}

/// A node, what goes to it, and a directory of programs for the script.
struct Node {
    dir: TempDir,
}

impl Node {
    /// `containerd` is what its program says of its modules.
    fn new(containerd: &str, has_nodeadm: bool) -> Result<Self> {
        let node = Self { dir: tempfile::Builder::new().prefix("krun-eks-").tempdir()? };
        for name in ["host", "payload", "programs"] {
            fs::create_dir(node.path(name))?;
        }
        rootfs::make(&node.path("host"))?;
        for name in ["host/run", "host/etc/containerd", "host/usr/bin"] {
            fs::create_dir_all(node.path(name))?;
        }
        if has_nodeadm {
            fs::create_dir_all(node.path("host/etc/eks/nodeadm.d"))?;
        }
        fs::write(node.path("host").join(CONFIG_TOML), WRITTEN)?;
        node.script("host/usr/bin/containerd", &format!("echo '{containerd}'"))?;
        node.script(
            "programs/nsenter",
            &format!("echo \"$@\" >>{}", node.path("asked").display()),
        )?;
        let bin = node.path("payload/opt/kontain/bin");
        fs::create_dir_all(&bin)?;
        for program in [built::krun()?, built::km()?, built::kontain()?] {
            fs::copy(&program, bin.join(program.file_name().context("a name")?))?;
        }
        Ok(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n"))?;
        Ok(fs::set_permissions(self.path(name), Permissions::from_mode(0o755))?)
    }

    /// Runs the script as the DaemonSet does, with the machine's devices and processes in the node.
    fn call(&self, args: &[&str]) -> Result<Outcome> {
        let host = self.path("host");
        let enter =
            "for name in dev proc sys; do mount --rbind /$name \"$0/$name\"; done; exec \"$@\"";
        let script = Path::new(PACKAGING).join("eks/install-node");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", enter]).arg(&host);
        command.arg(script).arg("--root").arg(&host).arg("--payload").arg(self.path("payload"));
        command.args(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("programs").display()));
        outcome::run(&mut command, None)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn config(&self) -> String {
        self.read(&format!("host/{CONFIG_TOML}"))
    }

    fn drop_in(&self) -> String {
        self.read(&format!("host/{DROP_IN}"))
    }
}

#[test]
fn a_node_gets_krun_once_and_is_then_as_it_was() -> Result<()> {
    let node = Node::new("github.com/containerd/containerd/v2/cmd", true)?;

    let first = node.call(&["--live", "install"])?;
    assert!(first.is_success(), "{first:?}");
    assert!(node.config().contains("runtimes.krun"), "{}", node.config());
    assert!(node.drop_in().contains("version = 3"), "{}", node.drop_in());
    let restart = "--target 1 --mount --uts --ipc --net -- systemctl restart containerd\n";
    assert_eq!(node.read("asked"), restart);

    let second = node.call(&["--live", "install"])?;
    assert!(second.is_success(), "{second:?}");
    assert_eq!(node.read("asked"), restart, "nothing has changed");

    // Killed before containerd was restarted.
    fs::write(node.path("host/run/kontain-containerd-restart"), "")?;
    node.call(&["--live", "install"])?;
    assert_eq!(node.read("asked"), restart.repeat(2));

    let removed = node.call(&["--live", "remove"])?;
    assert!(removed.is_success(), "{removed:?}");
    assert_eq!(node.config(), WRITTEN);
    assert_eq!(node.read("asked"), restart.repeat(3));
    for name in [DROP_IN, "opt/kontain", "var/lib/kontain"] {
        assert!(!node.path("host").join(name).exists(), "{name} is left: {removed:?}");
    }
    let again = node.call(&["--live", "remove"])?;
    assert!(again.is_success() && again.stdout().contains("krun is not there"), "{again:?}");
    Ok(())
}

#[test]
fn an_image_gets_files_only() -> Result<()> {
    let node = Node::new("github.com/containerd/containerd/cmd", true)?;

    let done = node.call(&["install"])?;

    assert!(done.is_success(), "{done:?}");
    assert!(node.drop_in().contains("version = 2"), "{}", node.drop_in());
    assert!(node.path("host/opt/kontain/bin/km").exists());
    assert_eq!(node.config(), WRITTEN, "nodeadm writes it anew");
    assert_eq!(node.read("asked"), "");
    Ok(())
}

#[test]
fn a_node_that_cannot_run_krun_or_is_not_understood_stays_as_it_is() -> Result<()> {
    let odd = Node::new("github.com/containerd/containerd/v3/cmd", true)?;
    let refused = odd.call(&["--live", "install"])?;
    assert!(
        !refused.is_success() && refused.stderr().contains("kontain knows 1 and 2"),
        "{refused:?}"
    );
    assert_eq!((odd.config().as_str(), odd.drop_in().as_str()), (WRITTEN, ""));

    let broken = Node::new("github.com/containerd/containerd/v2/cmd", true)?;
    // As kontain ends where /dev/kvm is missing.
    broken.script("payload/opt/kontain/bin/kontain", "echo fail: kvm; exit 1")?;
    let refused = broken.call(&["--live", "install"])?;
    assert!(!refused.is_success() && refused.stdout().contains("fail: kvm"), "{refused:?}");
    assert_eq!((broken.config().as_str(), broken.drop_in().as_str()), (WRITTEN, ""));
    assert_eq!(broken.read("asked"), "");

    for (args, words) in
        [(&["--live"][..], "say install or remove"), (&["--odd", "install"], "--odd")]
    {
        let refused = broken.call(args)?;
        assert!(!refused.is_success() && refused.stderr().contains(words), "{refused:?}");
    }
    Ok(())
}
