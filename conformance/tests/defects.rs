//! Defects of libcontainer, which krun is made with, that must not show. Each has a test:
//!
//! | | what libcontainer, or youki, does | the test |
//! |---|---|---|
//! | D1 | any signal makes a created or paused container stopped | here, and `life_cycle.rs`: `a_signal_that_is_ignored_…` |
//! | D2 | a process is known by its number alone | `a_stranger_with_the_number_of_a_process_that_ended_…` |
//! | D3 | `noNewPrivileges: false` with a profile fails | `integration/tests/native.rs`: `further_programs_…` |
//! | D4 | `rprivate`, `rshared`, `rslave` of the root are refused | `every_propagation_of_the_root_is_taken` |
//! | D5 | a program needs `PATH`, even an absolute one | `a_program_needs_no_path_variable` |
//! | D6 | idmapped mounts and personalities fall by the wayside | `integration/tests/fields.rs`: `owners_in_a_mount_…`, `scheduler_…` |
//! | D7 | a container in a frozen cgroup waits for ever | `a_frozen_cgroup_takes_no_container` |
//! | D8 | `run` misses its child's end | `a_hundred_short_runs_come_to_an_end` |
//! | D9 | `start` returns before the program begins | `start_returns_when_the_program_has_begun` and the next one |
//! | D10 | errors have other words, codes and log lines | `documents.rs`, `run.rs`: `a_program_that_cannot_…` |
//! | D11 | `features` and versions are those of 2023 | `features_are_those_of_the_specification` |
//! | D12 | order and duplicates of variables are lost | `variables_keep_their_order_and_the_last_one_counts` |
//! | D13 | a waiting process is called `youki` | `a_waiting_process_says_whose_it_is` |
//! | D14 | a cgroup that is in use keeps `delete` from its work | `a_cgroup_in_use_does_not_keep_a_container` |
//! | D15 | verbs and options have other names | `every_verb_and_option_of_runcs_is_there` |
//! | D16 | `exec` keeps all capabilities where the container has all | `exec_drops_what_it_is_not_given` |
//! | D17 | every call copies the binary into memory | `a_waiting_process_is_no_copy_in_memory` |
//! | D18 | a profile is ignored with a warning | `integration/tests/native.rs`: `a_profile_says_the_same_…` |

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};
use conformance::{Stage, assert_same, failure};
use integration::bundle::Bundle;
use integration::outcome::{self, TIME_LIMIT};
use integration::runtime::Runtime;
use rustix::process::{Pid, WaitOptions};
use serde_json::{Value, json};

/// A process that lives until it is killed.
const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// Where the kernel keeps the process number that it gave last.
const LAST_NUMBER: &str = "/proc/sys/kernel/ns_last_pid";

/// krun with virtual machines and natively, and a bundle for each.
fn each_way(args: &[&str]) -> [(Runtime, Bundle); 2] {
    [Runtime::krun(), Runtime::krun_natively()].map(|runtime| {
        let bundle = Bundle::with_args(args).expect("a bundle can be made");
        (runtime.expect("krun is built"), bundle)
    })
}

fn pid(runtime: &Runtime) -> i32 {
    let pid = runtime.state("box").expect("it has a state")["pid"].as_i64();
    pid.and_then(|pid| i32::try_from(pid).ok()).expect("a process number")
}

#[test]
fn a_paused_container_stays_paused_when_it_is_signalled() {
    assert_same(&SLEEP, |stage| {
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        stage.runtime.must(["pause", "box"])?;
        let signalled = failure(&stage.runtime.call(["kill", "box", "CONT"])?);
        let status = stage.runtime.status("box")?;
        stage.runtime.must(["resume", "box"])?;
        Ok((signalled, status, stage.runtime.status("box")?))
    });
}

/// Starts processes until one has this number, which is free.
fn stranger(number: i32) -> Result<Child> {
    for _ in 0..200 {
        fs::write(LAST_NUMBER, (number - 1).to_string()).context("choose a number")?;
        let mut child = Command::new("/bin/busybox").args(["sleep", "1000"]).spawn()?;
        if child.id().cast_signed() == number {
            return Ok(child);
        }
        child.kill()?;
        child.wait()?;
    }
    bail!("{number} is always somebody else's")
}

#[test]
fn a_stranger_with_the_number_of_a_process_that_ended_is_left_alone() {
    // As a shim does: so the container's process is this test's to wait for.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    assert_same(&SLEEP, |stage| {
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        let number = pid(&stage.runtime);
        stage.runtime.must(["kill", "box", "KILL"])?;
        rustix::process::waitpid(Pid::from_raw(number), WaitOptions::empty())?;
        let mut stranger = stranger(number)?;

        let status = stage.runtime.status("box");
        let killed = stage.runtime.call(["kill", "box", "KILL"]).map(|outcome| failure(&outcome));
        let deleted = stage.runtime.call(["delete", "--force", "box"]);
        let lives = stranger.try_wait()?.is_none();
        stranger.kill()?;
        stranger.wait()?;
        Ok((status?, killed?, deleted?.end, lives))
    });
}

#[test]
fn every_propagation_of_the_root_is_taken() {
    for propagation in ["rprivate", "rshared", "rslave", "private", "slave", ""] {
        assert_same(&["/bin/true"], |stage| {
            stage.bundle.change(|spec| spec["linux"]["rootfsPropagation"] = json!(propagation))?;
            Ok(stage.with_bundle(&["run"], &["box"])?.end)
        });
    }
}

#[test]
fn a_program_needs_no_path_variable() {
    assert_same(&["/bin/env"], |stage| {
        stage.bundle.change(|spec| spec["process"]["env"] = json!(["A=b"]))?;
        let run = stage.with_bundle(&["run"], &["box"])?;
        Ok((run.end, run.stdout()))
    });
}

/// The cgroups of the stage's containers that hold this file, on either version.
fn cgroup_with(stage: &Stage, file: &str) -> Result<PathBuf> {
    let below = format!("{}/container", &stage.bundle.footprint.cgroup()[1..]);
    let hierarchies = [["freezer", "unified", ""], ["pids", "unified", ""]];
    let places = hierarchies[usize::from(file == "cgroup.procs")];
    for place in places.map(|name| Path::new("/sys/fs/cgroup").join(name)) {
        if !place.join("cgroup.procs").exists() {
            continue;
        }
        fs::create_dir_all(place.join(&below))?;
        if place.join(&below).join(file).exists() {
            return Ok(place.join(below));
        }
        fs::remove_dir(place.join(&below))?;
    }
    bail!("no cgroup has {file}")
}

#[test]
fn a_frozen_cgroup_takes_no_container() {
    assert_same(&SLEEP, |stage| {
        let states = [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")];
        let freezer = states.iter().find_map(|(file, freeze, thaw)| {
            Some((cgroup_with(stage, file).ok()?, file, freeze, thaw))
        });
        let (cgroup, file, freeze, thaw) = freezer.context("there is a freezer")?;
        fs::write(cgroup.join(file), freeze)?;

        let refused = stage.with_bundle(&["create"], &["box"])?;

        fs::write(cgroup.join(file), thaw)?;
        fs::remove_dir(&cgroup).ok();
        let words = refused.stderr().contains("container's cgroup unexpectedly frozen");
        Ok((refused.end, words, stage.runtime.state_entries()))
    });
}

#[test]
fn a_hundred_short_runs_come_to_an_end() {
    let (runtime, bundle) = each_way(&["/bin/true"]).into_iter().next_back().unwrap();
    let run = ["run", "--bundle", bundle.path().to_str().unwrap(), "box"];
    for _ in 0..100 {
        runtime.must(run).unwrap();
    }
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

/// A hook that notes the arguments of the process in the state it is given.
fn noting_hook(into: &Path) -> Value {
    let script = format!(
        "read -r state; pid=$(echo \"$state\" | /bin/busybox grep -o '\"pid\":[0-9]*'); \
         /bin/busybox tr '\\0' ' ' < /proc/${{pid#*:}}/cmdline > {}",
        into.display()
    );
    json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
}

#[test]
fn start_returns_when_the_program_has_begun() {
    // runc's `start` may return a moment earlier.
    for (runtime, mut bundle) in each_way(&SLEEP) {
        let noted = bundle.path().join("noted");
        bundle.change(|spec| spec["hooks"] = json!({"poststart": noting_hook(&noted)})).unwrap();
        runtime.create(bundle.path(), "box").unwrap();
        runtime.must(["start", "box"]).unwrap();
        let title = fs::read_to_string(format!("/proc/{}/cmdline", pid(&runtime))).unwrap();

        assert_eq!(title, "/bin/sleep\x001000\0");
        assert_eq!(fs::read_to_string(noted).unwrap(), "/bin/sleep 1000 ");
        runtime.must(["delete", "--force", "box"]).unwrap();
    }
}

#[test]
fn a_program_that_is_gone_at_start_is_not_taken_for_a_running_one() {
    assert_same(&["/bin/busybox", "sleep", "1000"], |stage| {
        stage.create("box")?;
        fs::remove_file(stage.bundle.in_rootfs("bin/busybox"))?;
        stage.runtime.call(["start", "box"])?;
        stage.runtime.wait_for_status("box", "stopped")
    });
}

#[test]
fn features_are_those_of_the_specification() {
    let features = |runtime: Result<Runtime>| -> Value {
        let printed = runtime.unwrap().must(["features"]).unwrap();
        serde_json::from_slice(&printed.stdout).unwrap()
    };
    let [expected, got] = [features(Runtime::runc()), features(Runtime::krun())];
    let names = |value: &Value, pointer: &str| -> BTreeSet<String> {
        let names = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        names.map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
    };

    assert_eq!(got["ociVersionMin"], "1.0.0");
    let newest = got["ociVersionMax"].as_str().unwrap();
    assert!(newest.starts_with("1.") && newest >= "1.2", "{newest}");
    let lists = [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
    ];
    for list in lists {
        let (expected, got) = (names(&expected, list), names(&got, list));
        // Architectures of other machines are no loss: nothing here makes their calls.
        let is_of_others = |name: &str| name.starts_with("SCMP_ARCH") && !name.contains("X86");
        let missing: Vec<_> =
            expected.difference(&got).filter(|name| !is_of_others(name)).collect();
        assert!(missing.is_empty() && !got.is_empty(), "{list}: {missing:?}");
    }
    assert_eq!(got["linux"]["seccomp"]["enabled"], json!(true));
    assert!(names(&got, "/linux/seccomp/actions").contains("SCMP_ACT_ERRNO"));
}

#[test]
fn variables_keep_their_order_and_the_last_one_counts() {
    assert_same(&["/bin/env"], |stage| {
        let variables = ["Z=1", "PATH=/bin", "B=first", "A=2", "B=last", "M=", "HOME=/tmp"];
        stage.bundle.change(|spec| spec["process"]["env"] = json!(variables))?;
        Ok(stage.with_bundle(&["run"], &["box"])?.stdout())
    });
}

#[test]
fn a_waiting_process_says_whose_it_is() {
    for (runtime, bundle) in each_way(&SLEEP) {
        runtime.create(bundle.path(), "box").unwrap();
        let of =
            |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pid(&runtime))).unwrap();

        assert_eq!(of("comm"), "krun:[2:INIT]\n");
        assert!(!of("cmdline").contains("youki"), "{}", of("cmdline"));
        runtime.must(["delete", "--force", "box"]).unwrap();
    }
}

#[test]
fn a_waiting_process_is_no_copy_in_memory() {
    for (runtime, bundle) in each_way(&SLEEP) {
        runtime.create(bundle.path(), "box").unwrap();
        let program = fs::read_link(format!("/proc/{}/exe", pid(&runtime))).unwrap();

        assert!(!program.to_string_lossy().contains("memfd"), "{}", program.display());
        runtime.must(["delete", "--force", "box"]).unwrap();
    }
}

#[test]
fn a_cgroup_in_use_does_not_keep_a_container() {
    assert_same(&SLEEP, |stage| {
        let file = stage.bundle.path().join("poststop");
        let note = format!("echo gone > {}", file.display());
        let hook = json!([{"path": "/bin/busybox", "args": ["sh", "-c", note]}]);
        stage.bundle.change(|spec| spec["hooks"] = json!({"poststop": hook}))?;
        stage.create("box")?;
        let inner = cgroup_with(stage, "cgroup.procs")?.join("inner");
        fs::create_dir(&inner)?;
        let mut guest = Command::new("/bin/busybox").args(["sleep", "1000"]).spawn()?;
        fs::write(inner.join("cgroup.procs"), guest.id().to_string())?;
        stage.runtime.must(["kill", "box", "KILL"])?;
        stage.runtime.wait_for_status("box", "stopped")?;

        let deleted = stage.runtime.call(["delete", "box"])?;

        guest.kill()?;
        guest.wait()?;
        for directory in [inner.as_path(), inner.parent().context("its parent")?] {
            outcome::eventually(TIME_LIMIT, || {
                fs::remove_dir(directory).is_ok() || !directory.exists()
            });
        }
        Ok((deleted.end, stage.runtime.state_entries(), fs::read_to_string(file).ok()))
    });
}

/// The options that a help text lists, short and long.
fn options(text: &str) -> BTreeSet<&str> {
    let (_, listed) = text.split_once("OPTIONS:").unwrap_or_default();
    let lines = listed.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let names = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split(", "));
    names.filter_map(|name| name.split(' ').next()).collect()
}

#[test]
fn every_verb_and_option_of_runcs_is_there() {
    let (runc, krun) = (Runtime::runc().unwrap(), Runtime::krun().unwrap());
    let verbs = "checkpoint create delete events exec kill list pause ps restore resume run spec \
                 start state update features";
    let mut seen = 0;
    for verb in verbs.split(' ').map(Some).chain([None]) {
        let help = runc.must(verb.into_iter().chain(["--help"])).unwrap().stdout();
        let wanted = options(&help);
        let refused = |option: &&&str| {
            // Without a value, or what else it needs, it fails, but in other words.
            let mut call = krun.command(verb.into_iter().chain([**option]));
            // `spec` writes where it is.
            let said = outcome::run(call.current_dir(krun.root()), None).unwrap().stderr();
            said.contains("unexpected argument") || said.contains("unrecognized")
        };
        let missing: Vec<_> = wanted.iter().filter(refused).collect();
        assert!(missing.is_empty(), "{verb:?}: {missing:?}");
        seen += wanted.len();
    }
    assert!(seen > 60, "{seen} options in runc's help");
}

/// Capabilities by number: `linux/capability.h`.
const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID \
                     SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW \
                     IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT \
                     SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD \
                     LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG \
                     WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

#[test]
fn exec_drops_what_it_is_not_given() {
    assert_same(&SLEEP, |stage| {
        let status = fs::read_to_string("/proc/self/status")?;
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t"));
        let bounding = u64::from_str_radix(bounding.context("a bounding set")?, 16)?;
        let is_had = |(bit, _): &(usize, &str)| bounding >> bit & 1 == 1;
        let all = NAMES.split(' ').enumerate().filter(is_had);
        let all: Vec<_> = all.map(|(_, name)| format!("CAP_{name}")).collect();
        stage.bundle.change(|spec| {
            let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
            spec["process"]["capabilities"] =
                sets.into_iter().map(|set| (set.to_owned(), json!(all))).collect();
        })?;
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        let file = stage.bundle.path().join("process.json");
        let kill = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
        let mut seen = Vec::new();
        for (capabilities, uid) in
            [(Value::Null, 0), (Value::Null, 7), (kill.clone(), 0), (kill, 7)]
        {
            let grep = ["busybox", "grep", "^Cap", "/proc/self/status"];
            let mut section = json!({"args": grep, "cwd": "/", "env": ["PATH=/bin"],
                "user": {"uid": uid, "gid": uid}});
            if !capabilities.is_null() {
                section["capabilities"] = capabilities;
            }
            fs::write(&file, section.to_string())?;
            let path = file.to_string_lossy().into_owned();
            seen.push(stage.runtime.must(["exec", "--process", &path, "box"])?.stdout());
        }
        Ok(seen)
    });
}
