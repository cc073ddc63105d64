//! A node of EKS: what nodeadm is given.

use anyhow::Result;
use kontain::{Engine, NodeError, Wish};

use crate::place::{Node, wish, wish_default};

const DROP_IN: &str = "/etc/eks/nodeadm.d/50-kontain.yaml";
const MERGED: &str = "/run/eks/nodeadm/config.json";
const CONTAINERD: &str = "/usr/bin/containerd";
/// What programs of containerd's have in them, between much else: the paths of its modules.
const VERSION_1: &str =
    "github.com/containerd/containerd/cmd\0github.com/containerd/containerd/vendor/x\0";
const VERSION_2: &str =
    "github.com/containerd/containerd/api\0github.com/containerd/containerd/v2/cmd\0";

/// A node with a containerd of this version, in a program of some length.
fn node(version: &str) -> Result<Node> {
    let program = format!("{}{version}{}", "x".repeat((1 << 20) - 20), "y".repeat(100));
    let node = Node::with(CONTAINERD, program)?;
    node.write("/usr/bin/nodeadm", "")?;
    node.mode(CONTAINERD, 0o755)?;
    Ok(node)
}

#[test]
fn the_drop_in_is_of_containerds_version_and_goes_again() {
    for (version, words) in [
        (VERSION_1, "version = 2\n      [plugins.'io.containerd.grpc.v1.cri'"),
        (VERSION_2, "version = 3\n      [plugins.'io.containerd.cri.v1.runtime'"),
    ] {
        let node = node(version).unwrap();
        let before = node.all().unwrap();

        node.install_all(Engine::Eks, &wish()).unwrap();

        let text = node.read(DROP_IN).unwrap();
        assert!(text.contains(words), "{text}");
        assert!(!node.plan(Engine::Eks, &wish()).unwrap().is_needed());
        node.uninstall_all(Engine::Eks).unwrap();
        assert_eq!(node.all().unwrap(), before);
    }
}

/// The shipped documents, which validators look at, are what is installed.
#[test]
fn it_is_the_document_that_is_shipped() {
    for (version, shipped) in [
        (VERSION_1, include_str!("../../../eks/nodeadm/containerd-1.yaml")),
        (VERSION_2, include_str!("../../../eks/nodeadm/containerd-2.yaml")),
    ] {
        let node = node(version).unwrap();
        node.install_all(Engine::Eks, &wish()).unwrap();
        assert_eq!(node.read(DROP_IN).unwrap(), shipped);
    }
    let node = node(VERSION_2).unwrap();
    let named = Wish { name: "vm".to_owned(), ..wish() };
    node.install_all(Engine::Eks, &named).unwrap();
    let text = node.read(DROP_IN).unwrap();
    assert!(text.contains("runtimes.vm]") && text.contains("runtimes.vm.options]"), "{text}");
}

#[test]
fn a_containerd_that_is_another_one_now_gets_its_own() {
    let node = node(VERSION_1).unwrap();
    node.install_all(Engine::Eks, &wish()).unwrap();
    node.write(CONTAINERD, VERSION_2).unwrap();

    node.install_all(Engine::Eks, &wish()).unwrap();

    assert!(node.read(DROP_IN).unwrap().contains("version = 3"));
    node.uninstall_all(Engine::Eks).unwrap();
    assert!(!node.path(DROP_IN).exists());
}

#[test]
fn what_is_not_understood_or_in_the_way_is_refused() {
    for (version, path, text, words) in [
        ("no modules", "/x", "", "its version is none"),
        ("github.com/containerd/containerd/v3/cmd", "/x", "", "its version is 3"),
        (
            VERSION_2,
            MERGED,
            "[plugins.\\\"io.containerd.grpc.v1.cri\\\"]",
            "spec.containerd.config",
        ),
        (VERSION_2, "/etc/eks/nodeadm.d/10-x.yaml", "io.containerd.grpc.v1.cri", "it must be 3"),
        (VERSION_1, "/etc/eks/nodeadm.d/10-x.yaml", "io.containerd.cri.v1.images", "it must be 2"),
        (VERSION_2, DROP_IN, "# mine\n", "move what is in it"),
    ] {
        let node = node(version).unwrap();
        node.write(path, text).unwrap();
        let before = node.all().unwrap();

        let error = node.install_all(Engine::Eks, &wish()).unwrap_err();

        assert!(matches!(error, NodeError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(node.all().unwrap(), before);
    }
    let error =
        node(VERSION_2).unwrap().install_all(Engine::Eks, &wish_default()).unwrap_err().to_string();
    assert!(error.contains("RuntimeClass"), "{error}");
    let error = Node::new().unwrap().install_all(Engine::Eks, &wish()).unwrap_err().to_string();
    assert!(error.contains("kontain install containerd"), "{error}");
}
