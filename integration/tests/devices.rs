//! The rules about devices, on a host whose only cgroup hierarchy is of version 2, and on this one.
//!
//! A hierarchy of version 2 is on every host. In a mount namespace where nothing else is mounted at
//! `/sys/fs/cgroup`, runtimes see a host of version 2 alone, with the controllers that
//! the real host has left for it.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::Command;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use serde_json::{Value, json};

/// Makes the mount namespace's `/sys/fs/cgroup` one of version 2 and becomes the command.
const ENTER: &str =
    r#"umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@""#;

/// Tells of some devices how they can be made and opened: `EPERM` is what rules say. Those with 60 and
/// 61 have no driver, which is another error.
const PROBE: &str = r#"
    for device in 'c 1 3' 'c 1 5' 'c 1 8' 'c 5 0' 'c 5 1' 'c 5 2' 'c 10 200' 'c 10 229' \
        'c 60 1' 'c 60 2' 'c 61 1' 'b 60 1' 'b 61 1'; do
        can=
        rm -f /dev/probe
        said=$(mknod /dev/probe $device 2>&1) && can=" mknod"
        for how in '<' '>' '<>'; do
            [ -e /dev/probe ] || break
            said=$( (eval "exec 3$how /dev/probe") 2>&1)
            case $said in *'not permitted'*) ;; *) can="$can $how" ;; esac
        done
        echo "$device:$can"
    done"#;

/// A bundle whose program tells what it can do with devices under these rules.
fn bundle(rules: &Value) -> Bundle {
    let mut bundle = Bundle::with_args(&["sh", "-c", PROBE]).expect("a bundle can be made");
    let rights = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    let change = |spec: &mut Value| {
        spec["linux"]["resources"] = json!({});
        if !rules.is_null() {
            spec["linux"]["resources"]["devices"] = rules.clone();
        }
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = rights.clone();
        }
    };
    bundle.change(change).expect("it can be changed");
    bundle
}

/// The same call on a host of version 2.
fn on_version_2(command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", ENTER, "sh"]);
    outer.arg(command.get_program()).args(command.get_args());
    outer
}

fn run_on_version_2(runtime: &Runtime, args: &[&str]) -> Outcome {
    outcome::run(&mut on_version_2(&runtime.command(args)), None).expect("it can be started")
}

fn runc() -> Runtime {
    Runtime::runc().expect("runc is installed")
}

fn krun() -> Runtime {
    Runtime::krun().expect("krun is built")
}

/// krun as it runs containers that the host's policy wants to be native.
fn native() -> Runtime {
    let rules = "[[rule]]\nid = \"all\"\nmode = \"native\"\n";
    Runtime::krun_with_policy(rules).expect("krun is built")
}

/// Rules of which runc makes the same in both versions.
fn lists_of_rules() -> [Value; 9] {
    let deny_all = json!({"allow": false, "access": "rwm"});
    let allow_all = json!({"allow": true, "type": "a", "access": "rwm"});
    [
        Value::Null,
        json!([deny_all]),
        json!([allow_all]),
        // As docker has them.
        json!([
            deny_all,
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
            {"allow": true, "type": "b", "major": 60, "minor": 1, "access": "r"},
        ]),
        json!([deny_all, {"allow": true, "type": "c", "major": 60, "access": "rw"}]),
        json!([
            deny_all,
            {"allow": true, "type": "b", "minor": 1, "access": "w"},
            {"allow": true, "type": "c", "major": -1, "minor": 1, "access": "r"},
        ]),
        json!([
            deny_all,
            {"allow": true, "type": "c", "major": 60, "minor": 1, "access": "rw"},
            {"allow": true, "type": "c", "major": 60, "minor": 2, "access": "rw"},
            {"allow": false, "type": "c", "major": 60, "minor": 2, "access": "w"},
        ]),
        // What denies everything undoes what was said before it.
        json!([{"allow": true, "type": "c", "major": 60, "access": "rw"}, deny_all]),
        json!([allow_all, {"allow": false, "type": "b", "major": 60, "minor": 1, "access": "rwm"}]),
    ]
}

#[test]
fn a_container_can_do_with_devices_what_runcs_can() {
    for rules in lists_of_rules() {
        let bundle = bundle(&rules);
        let call = ["run", "--bundle", bundle.path().to_str().unwrap(), "web"];

        let expected = run_on_version_2(&runc(), &call);
        let got = run_on_version_2(&krun(), &call);
        let got_natively = run_on_version_2(&native(), &call);
        let got_on_version_1 = krun().call(call).unwrap();

        assert!(expected.stdout().lines().count() == 13, "{rules}: {expected:?}");
        for (how, got) in [("2", got), ("2, natively", got_natively), ("1", got_on_version_1)] {
            let difference = outcome::difference(&expected, &got).unwrap_or_default();
            assert!(difference.is_empty(), "{rules}, version {how}: {difference}");
        }
        bundle.footprint.ensure_nothing_is_left().unwrap();
    }
}

#[test]
fn rules_hold_for_exec_and_from_the_first_process_on() {
    let bundle = bundle(&json!([{"allow": false, "access": "rwm"}]));
    let path = bundle.path().to_str().unwrap();
    let told = [runc(), krun()].map(|runtime| {
        let created = run_on_version_2(&runtime, &["create", "--bundle", path, "web"]);
        let told = run_on_version_2(&runtime, &["exec", "web", "sh", "-c", PROBE]);
        let deleted = run_on_version_2(&runtime, &["delete", "--force", "web"]);

        assert!(created.is_success() && deleted.is_success(), "{created:?} {deleted:?}");
        assert!(told.stdout().contains("b 60 1: mknod\n"), "{told:?}");
        told
    });

    assert_eq!(outcome::difference(&told[0], &told[1]), None);
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn the_cgroup_has_the_controllers_for_its_limits() {
    let mut bundle = bundle(&Value::Null);
    let limits = json!([{"pageSize": "2MB", "limit": 4 << 20}]);
    bundle.change(|spec| spec["linux"]["resources"]["hugepageLimits"] = limits).unwrap();
    let file = format!("/sys/fs/cgroup{}/container/hugetlb.2MB.max", bundle.footprint.cgroup());

    for runtime in [runc(), krun()] {
        let path = bundle.path().to_str().unwrap();
        let created = run_on_version_2(&runtime, &["create", "--bundle", path, "web"]);
        let mut read = Command::new("cat");
        let limit = outcome::run(&mut on_version_2(read.arg(&file)), None).unwrap();
        let deleted = run_on_version_2(&runtime, &["delete", "--force", "web"]);

        assert!(created.is_success() && deleted.is_success(), "{created:?} {deleted:?}");
        assert_eq!(limit.stdout(), "4194304\n", "{limit:?}");
        bundle.footprint.ensure_nothing_is_left().unwrap();
    }
}

#[test]
fn a_rule_that_cannot_be_obeyed_is_refused_as_by_runc() {
    let bundle = bundle(&json!([
        {"allow": true, "type": "c", "major": 60, "access": "rw"},
        {"allow": false, "type": "c", "major": 60, "minor": 1, "access": "w"},
    ]));
    let call = ["run", "--bundle", bundle.path().to_str().unwrap(), "web"];

    for refused in [
        run_on_version_2(&runc(), &call),
        run_on_version_2(&krun(), &call),
        krun().call(call).unwrap(),
    ] {
        assert_eq!(refused.end, End::Exited(1), "{refused:?}");
        let words = "cannot punch hole in existing wildcard rule";
        assert!(refused.stderr().contains(words), "{refused:?}");
    }
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn rules_that_cannot_be_enforced_let_no_container_come_to_be() {
    let bundle = bundle(&json!([{"allow": false, "access": "rwm"}]));
    let runtime = krun();
    let call = runtime.command(["run", "--bundle", bundle.path().to_str().unwrap(), "web"]);
    let mut without_rights = Command::new("setpriv");
    without_rights.args(["--bounding-set", "-sys_admin,-bpf"]);
    without_rights.arg(call.get_program()).args(call.get_args());

    let refused = outcome::run(&mut on_version_2(&without_rights), None).unwrap();

    assert_eq!(refused.end, End::Exited(1), "{refused:?}");
    let words = "device rules: load a BPF program of ";
    assert!(refused.stderr().contains(words), "{refused:?}");
    assert!(refused.stderr().contains("operation not permitted"), "{refused:?}");
    assert_eq!(runtime.state_entries(), Vec::<String>::new());
    bundle.footprint.ensure_nothing_is_left().unwrap();
}
