//! The host's policy: containers that run natively, as by runc, and ones that are denied.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use integration::bundle::Bundle;
use integration::outcome::{self, Outcome};
use integration::runtime::{ALL_NATIVE, Runtime};
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

fn native() -> Runtime {
    Runtime::krun_natively().expect("krun is built")
}

fn runc() -> Runtime {
    Runtime::runc().expect("runc is installed")
}

/// What `sh -c` prints in a container with this specification, by one runtime.
fn printed(runtime: &Runtime, script: &str, change: impl Fn(&mut Value)) -> Outcome {
    let mut bundle =
        Bundle::with_args(&["/bin/sh", "-c", script]).expect("it works for every runtime");
    bundle.change(change).expect("it works for every runtime");
    let path = bundle.path().to_str().expect("it works for every runtime");
    let outcome =
        runtime.call(["run", "--bundle", path, "web"]).expect("it works for every runtime");
    bundle.footprint.ensure_nothing_is_left().expect("it works for every runtime");
    outcome
}

/// Compares what a program sees natively, by runc and by krun.
#[track_caller]
fn assert_same(script: &str, change: impl Fn(&mut Value)) -> Outcome {
    let expected = printed(&runc(), script, &change);
    let got = printed(&native(), script, &change);
    let difference = outcome::difference(&expected, &got);
    assert!(difference.is_none(), "{script}: {}", difference.unwrap_or_default());
    got
}

#[test]
fn a_native_program_finds_what_it_finds_under_runc() {
    for script in [
        "echo out; echo err >&2; exit 7",
        "uname -r; id; pwd; env; busybox hostname; umask",
        "cat /proc/1/comm; busybox grep memory: /proc/self/cgroup | wc -l",
        "busybox grep -E '^(Cap|NoNewPrivs|Seccomp|Sig[BC]|Threads|NSpid|Uid|Gid|Groups)' /proc/self/status",
        "busybox cut -d' ' -f5- /proc/self/mountinfo | busybox sed 's/ - .*//' | busybox sort",
        "ls -l /proc/self/fd | wc -l; ulimit -a",
        "kill -9 $$",
        "nosuchprogram",
    ] {
        let ended = assert_same(script, |_| {});
        assert!(!ended.stdout().contains(".kontain."), "{ended:?}");
    }
}

#[test]
fn a_native_programs_seccomp_profile_is_the_kernels() {
    let profile = |no_new_privileges: Option<bool>| {
        move |spec: &mut Value| {
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [
                    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                    {"names": ["nosuchcall"], "action": "SCMP_ACT_KILL"},
                ],
            });
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
        }
    };

    for no_new_privileges in [Some(true), Some(false), None] {
        let script =
            "busybox grep -E '^(Seccomp:|NoNewPrivs)' /proc/self/status; busybox mkdir /tmp/a";
        let ended = assert_same(script, profile(no_new_privileges));
        assert!(ended.stdout().contains("Seccomp:\t2"), "{ended:?}");
        assert!(ended.stderr().contains("No space left"), "{ended:?}");
    }
}

#[test]
fn further_programs_run_as_the_container_does() {
    let native = Sleeper::new(native());
    let vm = Sleeper::new(Runtime::krun_with_policy("").unwrap());

    let release = |sleeper: &Sleeper| sleeper.exec(&["web", "uname", "-r"], None).stdout();
    assert!(!release(&native).contains(".kontain."));
    assert!(release(&vm).ends_with(".kontain.KVM\n"));
    // The rules of the day do not change what a container is.
    fs::write(vm.runtime.policy_file().unwrap(), ALL_NATIVE).unwrap();
    assert!(release(&vm).ends_with(".kontain.KVM\n"));

    for (sleeper, mode, rule) in [(native, "native", "all"), (vm, "vm", "default")] {
        let state = sleeper.runtime.state("web").unwrap();
        assert_eq!((&state["mode"], &state["rule"]), (&json!(mode), &json!(rule)));
        let table = sleeper.runtime.must(["list"]).unwrap().stdout();
        let line: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line[line.len() - 2..], [mode, rule], "{table}");
        sleeper.finish();
    }
}

#[test]
fn a_native_container_needs_no_monitor_and_is_handled_like_any_other() {
    let mut bundle = Bundle::with_args(&["/bin/sleep", "1000"]).unwrap();
    bundle.change(|_| {}).unwrap();
    let path = bundle.path().to_str().unwrap().to_owned();
    let runtime = native();
    runtime.must(["--km", "/nonexistent", "create", "--bundle", &path, "web"]).unwrap();
    runtime.must(["start", "web"]).unwrap();

    runtime.must(["pause", "web"]).unwrap();
    assert_eq!(runtime.status("web").unwrap(), "paused");
    runtime.must(["resume", "web"]).unwrap();
    runtime.must(["kill", "web", "KILL"]).unwrap();
    runtime.wait_for_status("web", "stopped").unwrap();
    runtime.must(["delete", "web"]).unwrap();
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_denied_container_leaves_nothing() {
    let rules = "[[rule]]\nid = \"no-admin\"\nmode = \"deny\"\nreason = \"ask the platform \
                 team\"\nmatch.network = \"own\"\n";
    let runtime = Runtime::krun_with_policy(rules).unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();

    let denied = runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), "web"]).unwrap();

    assert!(!denied.is_success());
    let file = runtime.policy_file().unwrap();
    let expected =
        format!("denied by the policy's rule no-admin ({}): ask the platform team", file.display());
    assert!(denied.stderr().contains(&expected), "{denied:?}");
    assert!(runtime.state_entries().is_empty());
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_policy_that_cannot_be_trusted_or_read_stops_every_container() {
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    let path = bundle.path().to_str().unwrap().to_owned();
    let run = |runtime: &Runtime| runtime.call(["run", "--bundle", &path, "web"]).unwrap();

    let broken = Runtime::krun_with_policy("[[rule]]\nid = 7\n").unwrap();
    let said = run(&broken);
    assert!(
        !said.is_success() && said.stderr().contains("10-test.toml: TOML parse error at line 2"),
        "{said:?}"
    );

    let open = native();
    fs::set_permissions(open.policy_file().unwrap(), Permissions::from_mode(0o666)).unwrap();
    let said = run(&open);
    assert!(!said.is_success() && said.stderr().contains("chmod go-w"), "{said:?}");
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_policy_explains_itself() {
    let rules = "preset = \"ecs\"\n[[rule]]\nid = \"batch\"\nmode = \"deny\"\n\
                 match.cgroup_parent = \"batch-*.slice\"\n";
    let runtime = Runtime::krun_with_policy(rules).unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    let config = bundle.path().join("config.json");

    let said = runtime.must(["policy", "test", config.to_str().unwrap()]).unwrap().stdout();

    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(
        lines[0].starts_with("batch (") && lines[0].contains("no: cgroup_parent is "),
        "{said}"
    );
    assert!(
        lines[1].starts_with("ecs-agent (") && lines[1].contains(", preset ecs): no: "),
        "{said}"
    );
    assert_eq!(lines[3], "mode vm by rule default");

    let absent = runtime.call(["policy", "test", "/nonexistent/config.json"]).unwrap();
    assert!(
        !absent.is_success() && absent.stderr().contains("/nonexistent/config.json"),
        "{absent:?}"
    );
}
