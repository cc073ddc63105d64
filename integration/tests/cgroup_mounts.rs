//! What a container sees of its cgroups, and may change of them: by krun as by runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::bundle::Bundle;
use integration::outcome::Outcome;
use integration::runtime::Runtime;
use serde_json::{Value, json};

/// The mounts without their sources, which are only names, the limits, and whether they can be lifted.
const LOOK: &str = "busybox grep cgroup /proc/mounts | busybox cut -d' ' -f2- | busybox sort; ls /sys/fs/cgroup; \
    cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
    for file in memory/memory.limit_in_bytes memory.max; do \
        [ ! -e $file ] || ( echo 100000000 > $file ) 2>&1; \
    done; cat memory/memory.limit_in_bytes memory.max 2>/dev/null";

/// Runs [`LOOK`] in a container with a mount of cgroups that has these options.
fn look(runtime: &Runtime, options: &[&str], change: impl FnOnce(&mut Value)) -> Outcome {
    let mut bundle = Bundle::with_args(&["/bin/sh", "-c", LOOK]).expect("a bundle can be made");
    bundle
        .change(|spec| {
            let cgroups = json!({
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": options
            });
            let sys = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"});
            spec["mounts"].as_array_mut().expect("mounts").extend([sys, cgroups]);
            spec["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
            change(spec);
        })
        .expect("the bundle can be changed");
    let outcome = runtime.call(["run", "--bundle", &bundle.path().to_string_lossy(), "web"]);
    bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
    outcome.expect("the runtime can be started")
}

/// Runs it by runc and by krun, with a virtual machine and without, which must show the same. Returns
/// what all print.
#[track_caller]
fn assert_same(options: &[&str], change: impl Fn(&mut Value)) -> String {
    let runtimes = Runtime::all().expect("runc, and a built krun");
    let [expected, got, native] = runtimes.map(|runtime| look(&runtime, options, &change));
    assert_eq!(got, expected);
    assert_eq!(native, expected, "natively");
    assert!(got.is_success() || got.stderr.is_empty(), "{got:?}");
    got.stdout()
}

#[test]
fn a_container_cannot_write_what_is_mounted_read_only() {
    let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];

    let seen = assert_same(&options, |_| {});

    assert_eq!(seen.matches("67108864").count(), 2, "{seen}");
    assert!(seen.contains("Read-only file system"), "{seen}");
}

#[test]
fn a_container_may_write_what_is_mounted_for_writing() {
    let seen = assert_same(&["nosuid", "noexec", "nodev", "relatime"], |_| {});

    assert_eq!(seen.matches("67108864").count(), 1, "{seen}");
}

#[test]
fn a_namespace_for_cgroups_changes_nothing_of_it() {
    let add = |spec: &mut Value| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({"type": "cgroup"}));
    };

    let seen = assert_same(&["nosuid", "noexec", "nodev", "relatime", "ro"], add);

    assert!(seen.contains("Read-only file system"), "{seen}");
}
