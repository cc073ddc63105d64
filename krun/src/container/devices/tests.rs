//! Rules against a plain reading of them, and programs in the kernel, in a cgroup of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use procfs::process::Process;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use spec_compat::Config;

use super::decision::Decision;
use super::rules::{Access, Devices, Kind, Rule};
use super::{decide, enforce};

/// Numbers of which Linux leaves it to the user what they are: no driver has them.
const NUMBERS: [u32; 2] = [60, 61];

/// What a process may ask for at a time.
const ASKED: [&str; 4] = ["m", "r", "w", "rw"];

/// All single devices that these tests know.
fn known_devices() -> Vec<Devices> {
    let kinds = [Kind::Block, Kind::Character];
    let numbers = kinds.iter().flat_map(|kind| NUMBERS.map(|major| (*kind, major)));
    let each = numbers.flat_map(|(kind, major)| NUMBERS.map(|minor| (kind, major, minor)));
    each.map(|(kind, major, minor)| Devices { kind, major: Some(major), minor: Some(minor) })
        .collect()
}

/// Rules of which many meet in some device.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let number = || option::of(prop::sample::select(&NUMBERS[..]));
    let devices = (prop::sample::select(&[Kind::Block, Kind::Character][..]), number(), number())
        .prop_map(|(kind, major, minor)| Devices { kind, major, minor });
    let access = prop::sample::select(&["r", "w", "m", "rw", "rm", "wm", "rwm"][..]);
    let rule = (any::<bool>(), option::weighted(0.9, devices), access).prop_map(
        |(allow, devices, access)| Rule { allow, devices, access: Access::parse(access) },
    );
    vec(rule, 0..7)
}

/// What the last rule about it says of one device and one access.
fn plainly_allowed(rules: &[Rule], device: &Devices, access: Access) -> bool {
    let is_about = |rule: &&Rule| {
        rule.devices.is_none_or(|devices| {
            devices.cover(device) && !rule.access.in_common_with(access).is_empty()
        })
    };
    rules.iter().rfind(is_about).is_some_and(|rule| rule.allow)
}

/// What a decision says: one exception must allow all of it, or deny some of it.
fn is_allowed(decision: &Decision, device: &Devices, access: Access) -> bool {
    let mut exceptions = decision.exceptions.iter().filter(|(devices, _)| devices.cover(device));
    if decision.allow_by_default {
        !exceptions.any(|(_, held)| !held.in_common_with(access).is_empty())
    } else {
        exceptions.any(|(_, held)| access.without(*held).is_empty())
    }
}

proptest! {
    #[test]
    fn the_last_rule_about_a_device_and_an_access_decides(rules in rules()) {
        if let Ok(decision) = Decision::of(&rules) {
            for device in known_devices() {
                for letter in ["r", "w", "m"] {
                    let access = Access::parse(letter);
                    prop_assert_eq!(
                        is_allowed(&decision, &device, access),
                        plainly_allowed(&rules, &device, access),
                        "{} {}", device, letter
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_decision_is_written_as_comes_to_that_decision(rules in rules()) {
        if let Ok(decision) = Decision::of(&rules) {
            let written = config(&decision.document());
            let read: Vec<_> = written.device_rules().iter().map(Rule::read).collect();

            prop_assert_eq!(Decision::of(&read), Ok(decision));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn linux_runs_the_program_as_it_is_meant(rules in rules()) {
        if let Ok(decision) = Decision::of(&rules) {
            let mut expected = Vec::new();
            for device in known_devices() {
                let allowed = |asked: &&str| is_allowed(&decision, &device, Access::parse(asked));
                let allowed = ASKED.into_iter().filter(allowed);
                expected.push(allowed.fold(format!("{device}:"), |all, word| all + " " + word));
            }

            prop_assert_eq!(let_through(&decision, &known_devices()), expected);
        }
    }
}

/// A cgroup of version 2, removed with whoever holds it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = Process::myself().unwrap().mountinfo().unwrap();
        let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2");
        let top = mount.expect("the host has a hierarchy of version 2").mount_point;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = top.join(format!("krun-devices-{}-{count}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).unwrap();
    }
}

/// Enters the cgroup, and tells of each `kind major:minor` whether it can be made, read, written, and
/// both. Only the refusal of a cgroup is `EPERM`: these devices have no driver.
const PROBE: &str = r#"
    echo $$ >"$1/cgroup.procs"; shift
    for device; do
        numbers=${device#* }
        said=$(mknod made "${device%% *}" "${numbers%:*}" "${numbers#*:}" 2>&1) && echo "$device m"
        rm -f made
        for try in 'r <' 'w >' 'rw <>'; do
            case $( (eval "exec 3${try#* } 'given $device'") 2>&1) in
                *'not permitted'*) ;;
                *) echo "$device ${try% *}" ;;
            esac
        done
    done"#;

/// What a process may do with each of `devices` in a cgroup with this decision.
fn let_through(decision: &Decision, devices: &[Devices]) -> Vec<String> {
    // A file system on which devices can be opened.
    let directory = tempfile::tempdir_in("/dev").unwrap();
    for device in devices {
        make_node(directory.path(), device);
    }
    let cgroup = Cgroup::make();
    enforce(decision, &cgroup.0).unwrap();
    let names: Vec<_> = devices.iter().map(ToString::to_string).collect();

    let mut probe = Command::new("/bin/sh");
    probe.args(["-c", PROBE, "probe"]).arg(&cgroup.0).args(&names).current_dir(&directory);
    let output = probe.output().unwrap();

    assert!(output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let about = |name: &String| {
        let of_it = said.lines().filter_map(|line| line.strip_prefix(name.as_str()));
        of_it.fold(format!("{name}:"), |all, word| all + word)
    };
    names.iter().map(about).collect()
}

fn make_node(directory: &Path, device: &Devices) {
    let name = device.to_string();
    let (kind, numbers) = name.split_once(' ').unwrap();
    let path = directory.join(format!("given {name}"));
    let made = Command::new("mknod").arg(path).arg(kind).args(numbers.split(':')).status().unwrap();
    assert!(made.success(), "{name}");
}

/// A bundle with these rules.
fn config(rules: &Value) -> Config {
    let document = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": { "args": ["sh"], "cwd": "/" },
        "linux": { "resources": { "devices": rules } },
    });
    Config::parse(document.to_string().as_bytes()).unwrap()
}

fn character(major: u32, minor: u32) -> Devices {
    Devices { kind: Kind::Character, major: Some(major), minor: Some(minor) }
}

#[test]
fn a_later_rule_for_more_devices_ends_an_earlier_one_for_fewer() {
    let rules = json!([
        { "allow": true, "type": "c", "major": 60, "minor": 60, "access": "rw" },
        { "allow": true, "type": "c", "major": 61, "minor": 60, "access": "rw" },
        { "allow": false, "type": "c", "major": 60, "access": "w" },
    ]);

    let decision = decide(&config(&rules)).unwrap();

    let devices = [character(60, 60), character(61, 60)];
    assert_eq!(let_through(&decision, &devices), ["c 60:60: m r", "c 61:60: m r w rw"]);
}

#[test]
fn who_may_not_write_may_not_read_and_write() {
    let rules = json!([
        { "allow": true, "access": "rwm" },
        { "allow": false, "type": "c", "major": 60, "minor": 60, "access": "w" },
    ]);

    let decision = decide(&config(&rules)).unwrap();

    assert_eq!(let_through(&decision, &[character(60, 60)]), ["c 60:60: m r"]);
}

#[test]
fn what_is_denied_among_what_is_allowed_cannot_be_made() {
    let rules = json!([
        { "allow": true, "access": "rwm" },
        { "allow": false, "type": "c", "major": 60, "minor": 60, "access": "rwm" },
    ]);

    let decision = decide(&config(&rules)).unwrap();

    let devices = [character(60, 60), character(60, 61)];
    assert_eq!(let_through(&decision, &devices), ["c 60:60:", "c 60:61: m r w rw"]);
}

#[test]
fn a_part_of_an_exception_cannot_be_taken_back() {
    let allowed = json!({ "allow": true, "type": "c", "major": 60, "access": "rw" });
    for (major, minor) in [(Some(60), Some(1)), (None, Some(1))] {
        let denied =
            json!({ "allow": false, "type": "c", "major": major, "minor": minor, "access": "w" });

        let error = decide(&config(&json!([allowed, denied]))).unwrap_err();

        let expected = "cannot punch hole in existing wildcard rule [c 60:* rw] with [c ";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_device_of_the_bundles_own_is_left_to_the_bundles_rules() {
    let mut document = config(&json!([])).document().clone();
    document["linux"]["devices"] =
        json!([{ "path": "/dev/full", "type": "c", "major": 60, "minor": 60 }]);
    let own = Config::parse(document.to_string().as_bytes()).unwrap();

    let [usual, own] = [config(&json!([])), own].map(|config| decide(&config).unwrap());

    let allows = |decision: &Decision, device| is_allowed(decision, &device, Access::parse("rw"));
    assert!(allows(&usual, character(1, 7)) && !allows(&own, character(1, 7)));
    assert!(allows(&usual, character(1, 5)) && allows(&own, character(1, 5)));
}

#[test]
fn whoever_may_do_everything_has_no_program() {
    let decision = decide(&config(&json!([{ "allow": true, "access": "rwm" }]))).unwrap();

    assert!(decision.allows_everything());
    enforce(&decision, Path::new("/no/cgroup")).unwrap();
}

#[test]
fn what_a_controller_shows_is_recognized() {
    let exception = |access| {
        let devices = Devices { kind: Kind::Character, major: Some(1), minor: None };
        Rule { allow: true, devices: Some(devices), access: Access::parse(access) }
    };
    let all = Rule { allow: true, devices: None, access: Access::parse("rwm") };
    let some = Decision::of(&[exception("wr")]).unwrap();

    assert!(some.is_shown_by("c 1:* rw\n"));
    for other in ["", "c 1:* rwm\n", "c 1:* rw\nc 5:1 rwm\n", "a *:* rwm\n"] {
        assert!(!some.is_shown_by(other), "{other}");
    }
    // It may have exceptions that are not shown.
    assert!(!Decision::of(&[all]).unwrap().is_shown_by("a *:* rwm\n"));
}
