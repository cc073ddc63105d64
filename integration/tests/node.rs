//! Engines on the configuration that `kontain` makes: krun by name and by default.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::Command;

use integration::dockerd::{Dockerd, IMAGE};
use integration::node::Node;
use integration::{built, outcome};
use serde_json::Value;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const CONFIG_TOML: &str = "/etc/containerd/config.toml";
const DROP_IN: &str = "/etc/containers/containers.conf.d/50-kontain.conf";

#[test]
fn docker_runs_krun_by_name_and_by_default() {
    let node = Node::new().unwrap();
    let mut before = String::new();
    let docker = Dockerd::start_on(|text| {
        text.clone_into(&mut before);
        node.install("docker", DAEMON_JSON, text)
    });
    let docker = docker.unwrap();
    let release = |runtime: &[&str]| {
        let args = [&["run", "--rm", "--network", "none"], runtime, &[IMAGE, "uname", "-r"]];
        let outcome = docker.call(args.concat()).unwrap();
        assert!(outcome.is_success(), "{outcome:?}\n{}", docker.log());
        outcome.stdout().trim().to_owned()
    };

    let (host, named, default) =
        (release(&["--runtime", "runc"]), release(&["--runtime", "krun"]), release(&[]));

    assert_eq!(named, format!("{host}.kontain.KVM"));
    assert_eq!(default, named);
    docker.ensure_nothing_is_left().unwrap();
    node.uninstall("docker", DAEMON_JSON, &before).unwrap();
}

#[test]
fn containerd_knows_krun_and_has_not_forgotten_runc() {
    let node = Node::new().unwrap();
    let before = "version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n";

    node.install("containerd", CONFIG_TOML, before).unwrap();

    let mut dump = Command::new("containerd");
    dump.arg("--config").arg(node.path(CONFIG_TOML)).args(["config", "dump"]);
    let effective = outcome::run(&mut dump, None).unwrap();
    assert!(effective.is_success(), "{effective:?}");
    let all: toml::Table = effective.stdout().parse().unwrap();
    let containerd = &all["plugins"]["io.containerd.grpc.v1.cri"]["containerd"];
    let binary = &containerd["runtimes"]["krun"]["options"]["BinaryName"];
    assert_eq!(binary.as_str(), node.krun().to_str());
    assert_eq!(containerd["default_runtime_name"].as_str(), Some("krun"));
    let runc = &containerd["runtimes"]["runc"]["runtime_type"];
    assert_eq!(runc.as_str(), Some("io.containerd.runc.v2"));
    node.uninstall("containerd", CONFIG_TOML, before).unwrap();
}

#[test]
fn podmans_default_is_krun() {
    let node = Node::new().unwrap();
    let main = "/etc/containers/containers.conf";
    node.install("podman", main, "[engine]\nruntime = \"runc\"\n").unwrap();

    let mut info = Command::new("podman");
    info.env("CONTAINERS_CONF", node.path(DROP_IN)).args(["--storage-driver", "vfs"]);
    for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        info.arg(option).arg(node.path(name));
    }
    info.args(["info", "--format", "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}"]);
    let said = outcome::run(&mut info, None).unwrap();

    assert_eq!(said.stdout().trim(), format!("krun {}", node.krun().display()), "{said:?}");
    node.uninstall("podman", main, "[engine]\nruntime = \"runc\"\n").unwrap();
    assert!(!node.path(DROP_IN).exists());
}

/// kontain where dockerd's socket is `$1`, and nothing else is in /run.
const CHECK: &str = "mount -t tmpfs tmpfs /run; ln -s \"$1\" /run/docker.sock; \
                     exec \"$2\" check --run --json --binary \"$3\"";

#[test]
fn a_check_runs_a_container_and_asks_dockerd() {
    let (krun, kontain) = (built::krun().unwrap(), built::kontain().unwrap());
    let docker = Dockerd::start(&krun, &[]).unwrap();

    let mut check = Command::new("unshare");
    check.args(["--mount", "--propagation", "private", "sh", "-euc", CHECK, "sh"]);
    check.arg(docker.socket()).args([kontain, krun.clone()]);
    let outcome = outcome::run(&mut check, None).unwrap();

    let all: Vec<Value> = serde_json::from_slice(&outcome.stdout).unwrap();
    let found = |id: &str| all.iter().find(|finding| finding["id"] == id).unwrap_or(&Value::Null);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(found("smoke")["status"], "ok", "{outcome:?}");
    assert!(found("smoke")["why"].as_str().unwrap().contains(".kontain.KVM"), "{outcome:?}");
    // A call that does not leave takes 100 ns at least.
    assert!(found("exit")["nanoseconds"].as_u64().unwrap() > 100, "{outcome:?}");
    let docker_runs = format!("docker runs {} as krun", krun.display());
    let said = found("docker-runs")["why"].as_str().unwrap();
    assert!(said.starts_with(&docker_runs), "{outcome:?}");
    docker.ensure_nothing_is_left().unwrap();
}
