//! Where hooks before a container's start run: on the host's side, by krun as by runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration::bundle::Bundle;
use integration::runtime::Runtime;
use serde_json::json;

/// Tells of the hook's namespace of mounts, its cgroups, whether it may open a device that the container may
/// not, and what it finds of the container's cgroups; at last it changes the container's rules and limits.
const HOOK: &str = r#"#!/bin/sh
exec >>"$1" 2>&1
state=$(cat)
pid=${state##*\"pid\":}
pid=${pid%%[!0-9]*}
echo "$2"
readlink /proc/self/ns/mnt
cat /proc/self/cgroup
(: </dev/loop-control) && echo opens
of() { sed -n "s/^[0-9]*:$1:\(.*\)/\1/p" "/proc/$pid/cgroup"; }
devices=/sys/fs/cgroup/devices$(of devices)
if [ -d "$devices" ]; then
    cat "/sys/fs/cgroup/memory$(of memory)/memory.limit_in_bytes"
    echo 'c 60:7 rwm' >"$devices/devices.allow"
    sort "$devices/devices.list"
else
    cat "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")/memory.max"
fi
"#;

#[test]
fn hooks_of_the_host_see_the_host_and_the_containers_cgroups() {
    let runtimes = Runtime::all().expect("runc, and a built krun");
    let [expected, got, native] = runtimes.map(|runtime| {
        let mut bundle = Bundle::with_args(&["/bin/true"]).expect("a bundle can be made");
        let [script, told] = ["hook", "told"].map(|name| bundle.path().join(name));
        fs::write(&script, HOOK).expect("it can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let hook = |point: &str| json!([{"path": script, "args": ["hook", told, point]}]);
        let hooks = json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
        });
        bundle
            .change(|spec| {
                spec["hooks"] = hooks;
                spec["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
            })
            .expect("it can be changed");
        let run = runtime.call(["run", "--bundle", &*bundle.path().to_string_lossy(), "web"]);
        let run = run.expect("it can be started");
        assert!(run.is_success(), "{run:?}");
        bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
        fs::read_to_string(&told).expect("the hooks have told")
    });

    assert_eq!(got, expected);
    assert_eq!(native, expected, "natively");
    for part in ["prestart", "createRuntime", "opens", "67108864"] {
        assert!(got.contains(part), "{part}: {got}");
    }
    let own = fs::read_link("/proc/self/ns/mnt").expect("procfs");
    assert_eq!(got.matches(&*own.to_string_lossy()).count(), 2, "{got}");
}

/// runc ends the row at the first that fails; the specification wants a warning, and the container's life and
/// the other hooks to go on.
#[test]
fn after_a_failed_hook_at_poststart_or_poststop_the_others_run() {
    let [_, krun, native] = Runtime::all().expect("runc, and a built krun");
    for runtime in [krun, native] {
        let mut bundle = Bundle::with_args(&["/bin/true"]).expect("a bundle can be made");
        let told = bundle.path().join("told");
        let hooks = |point: &str| {
            let last = format!("echo {point} >>{}", told.display());
            json!([
                {"path": "/bin/false"},
                {"path": "/no/such/hook"},
                {"path": "/bin/sh", "args": ["sh", "-c", last]},
            ])
        };
        let all = json!({"poststart": hooks("poststart"), "poststop": hooks("poststop")});
        bundle.change(|spec| spec["hooks"] = all).expect("it can be changed");

        let run = runtime.call(["run", "--bundle", &*bundle.path().to_string_lossy(), "web"]);

        let run = run.expect("it can be started");
        assert!(run.is_success(), "{run:?}");
        assert_eq!(fs::read_to_string(&told).expect("hooks have told"), "poststart\npoststop\n");
        for words in
            ["poststart hook #0", "poststart hook #1", "poststop hook #0", "poststop hook #1"]
        {
            let text = run.stderr();
            let line = text.lines().find(|line| line.contains(words));
            assert!(line.is_some_and(|line| line.contains("level=warning")), "{words}: {run:?}");
        }
        bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
    }
}
