//! The monitor's own filter, as others see it: the kernel has it for every process of a container in virtual
//! machines, the program is not told, and has the rights that it has under runc. What the filter refuses is in the
//! monitor's own tests.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;

use integration::outcome;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

const LINES: [&str; 3] = ["Cap", "NoNewPrivs", "Seccomp"];

/// What the host is told of a container's first process.
fn outside(sleeper: &Sleeper) -> Vec<String> {
    let pid = sleeper.runtime.state("web").expect("state")["pid"].to_string();
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let told = text.lines().filter(|line| LINES.iter().any(|name| line.starts_with(name)));
    told.map(str::to_owned).collect()
}

/// The same with other lines about filters.
fn with_filters(lines: &[String], mode: u32, count: u32) -> Vec<String> {
    let changed = lines.iter().map(|line| match line.split_once(":\t") {
        Some(("Seccomp", _)) => format!("Seccomp:\t{mode}"),
        Some(("Seccomp_filters", _)) => format!("Seccomp_filters:\t{count}"),
        _ => line.clone(),
    });
    changed.collect()
}

fn krun() -> Runtime {
    Runtime::krun().expect("krun is built")
}

#[test]
fn a_monitor_has_a_filter_that_its_program_is_not_told_of() {
    let grep = ["web", "busybox", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/self/status"];
    let of_first = [&grep[..5], &["/proc/1/status"]].concat();
    for (no_new_privileges, uid) in [(true, 0), (false, 0), (false, 7)] {
        let change = |spec: &mut Value| {
            spec["linux"]["seccomp"] = Value::Null;
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["process"]["user"] = json!({"uid": uid, "gid": uid});
        };
        let runc = Sleeper::changed(Runtime::runc().expect("runc is installed"), change);
        let confined = Sleeper::changed(krun(), change);
        let unconfined = Sleeper::changed(krun().with_options(["--no-monitor-filter"]), change);
        let expected = outside(&runc);

        assert_eq!(outside(&confined), with_filters(&expected, 2, 1), "{uid}");
        assert_eq!(outside(&unconfined), expected, "{uid}");
        for args in [&grep[..], &of_first] {
            let [expected, confined, unconfined] =
                [&runc, &confined, &unconfined].map(|sleeper| sleeper.exec(args, None));
            for got in [confined, unconfined] {
                let difference = outcome::difference(&expected, &got);
                assert!(difference.is_none(), "{args:?} {uid}: {}", difference.unwrap_or_default());
            }
            assert!(expected.is_success(), "{expected:?}");
        }
        [runc, confined, unconfined].into_iter().for_each(Sleeper::finish);
    }
}

/// With a profile the filter stands in the place of one that the kernel would only count.
#[test]
fn with_a_profile_there_are_as_many_filters_as_with_runc() {
    let change = |spec: &mut Value| {
        spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]});
    };
    let runc = Sleeper::changed(Runtime::runc().expect("runc is installed"), change);
    let confined = Sleeper::changed(krun(), change);
    let unconfined = Sleeper::changed(krun().with_options(["--no-monitor-filter"]), change);

    let expected = outside(&runc);
    assert_eq!(expected, with_filters(&expected, 2, 1));
    assert_eq!(outside(&confined), expected);
    assert_eq!(outside(&unconfined), expected);
    [runc, confined, unconfined].into_iter().for_each(Sleeper::finish);
}
