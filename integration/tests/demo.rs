//! `make demo` where `/dev/kvm` is of no use: krun runs a container in an emulated machine.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::{Command, Output};

use integration::built;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");

/// Runs the demo in a mount namespace in which something else stands for `/dev/kvm`.
fn demo_after(change: &str) -> Output {
    let krun = built::krun().expect("krun is built");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{change} && exec \"$@\""), "sh", DEMO]);
    command.env("KRUN_BIN_DIR", krun.parent().expect("it is in a directory"));
    command.env("CARGO_TARGET_DIR", built::target_dir().expect("there is one"));
    command.output().expect("unshare can be started")
}

#[test]
fn without_a_usable_kvm_the_demo_runs_in_an_emulated_machine_and_says_so() {
    let demo = demo_after("mount --bind /dev/null /dev/kvm");

    let shown = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{demo:?}");
    assert!(shown.contains("/dev/kvm is of no use on this machine"), "{shown}");
    assert!(shown.contains("Hello from a container in a virtual machine."), "{shown}");
    let release = shown.lines().filter(|line| line.contains("-amd64.kontain."));
    assert_eq!(release.count(), 1, "the emulated machine's kernel, in a container: {shown}");
}
