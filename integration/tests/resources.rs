//! The verbs about what a container may use and uses, by krun and by runc: `update`, `events`; and
//! those that need no container: `spec`, `checkpoint`, `restore`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome, TIME_LIMIT};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

fn krun() -> Runtime {
    Runtime::krun().expect("krun is built")
}

fn runc() -> Runtime {
    Runtime::runc().expect("runc is installed")
}

/// Calls both with the same options of `update`, which must do the same to the cgroups.
#[track_caller]
fn assert_same_update(both: &[Sleeper; 2], options: &[&str]) {
    let [expected, got] = both.each_ref().map(|sleeper| {
        let args = ["update"].iter().chain(options).chain(&["web"]);
        let outcome = sleeper.runtime.call(args).expect("it can be started");
        (outcome.end, sleeper.settings())
    });
    assert_eq!(got.0, expected.0, "{options:?}");
    assert_eq!(got.1, expected.1, "{options:?}");
}

/// One sleeping container of each runtime, with these limits.
fn limited(resources: &Value) -> [Sleeper; 3] {
    [runc(), krun(), Runtime::krun_natively().expect("krun is built")].map(|runtime| {
        Sleeper::changed(runtime, |document| {
            for (part, limits) in resources.as_object().expect("an object") {
                document["linux"]["resources"][part] = limits.clone();
            }
        })
    })
}

/// The numbers of one of the host's disks.
fn a_disk() -> (u64, u64) {
    let disks = fs::read_dir("/sys/block").expect("sysfs").flatten().map(|entry| entry.path());
    let disk = disks.into_iter().find(|path| path.join("device").exists()).expect("a disk");
    let text = fs::read_to_string(disk.join("dev")).expect("a disk has a number");
    let (major, minor) = text.trim().split_once(':').expect("two numbers");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}

#[test]
fn a_container_begins_with_the_limits_of_its_bundle() {
    let (major, minor) = a_disk();
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let all = limited(&json!({
        "memory": {
            "limit": 67_108_864, "reservation": 33_554_432, "swap": 134_217_728,
            "swappiness": 10, "disableOOMKiller": true
        },
        "cpu": {"shares": 100, "quota": 20000, "period": 40000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 50},
        "blockIO": {
            "throttleReadBpsDevice": rate(1 << 20), "throttleWriteIOPSDevice": rate(77)
        },
    }));
    let lines = [
        "blkio.throttle.read_bps_device",
        "blkio.throttle.write_iops_device",
        "memory.oom_control",
        "devices.list",
        "io.max",
    ];
    let [runc, krun, native] =
        all.each_ref().map(|one| (one.settings(), lines.map(|file| one.cgroup_file(file))));

    assert_eq!(krun, runc);
    assert_eq!(native, runc);
    assert_eq!(all[1].cgroup_file("pids.max").as_deref(), Some("50"));
    all.into_iter().for_each(Sleeper::finish);
}

#[test]
fn who_makes_a_container_does_not_count_among_its_processes() {
    let native = Runtime::krun_natively().expect("krun is built");
    for (runtime, limit) in [(runc(), 1), (native, 1), (krun(), 2)] {
        let mut bundle = Bundle::with_args(&["/bin/echo", "alone"]).unwrap();
        bundle
            .change(|document| document["linux"]["resources"]["pids"] = json!({"limit": limit}))
            .unwrap();

        let run =
            runtime.call(["run", "--bundle", bundle.path().to_str().unwrap(), "web"]).unwrap();

        // A virtual machine has a thread of KVM's besides.
        assert_eq!((run.end, run.stdout()), (End::Exited(0), "alone\n".into()), "{run:?}");
        bundle.footprint.ensure_nothing_is_left().unwrap();
    }
}

#[test]
fn update_changes_the_limits_that_runc_changes() {
    let both = Sleeper::both();
    let before = both[1].settings();

    for options in [
        &["--memory", "64m"][..],
        &["--memory", "128M", "--memory-reservation", "100000000"],
        &["--memory", "33554432"],
        &["--memory=-1"],
        &["--cpu-share", "512"],
        &["--cpu-period", "50000", "--cpu-quota", "25000"],
        &["--cpu-period", "10000", "--cpu-quota", "5000"],
        &["--cpu-quota=-1"],
        &["--cpuset-cpus", "0"],
        &["--cpuset-mems", "0"],
        &["--pids-limit", "77"],
        &["--pids-limit=-1"],
        &["--pids-limit", "9", "--cpuset-cpus", "7000"],
        &["--memory", "much"],
    ] {
        assert_same_update(&both, options);
    }

    assert_ne!(both[1].settings(), before, "something was changed");
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn update_takes_a_resources_section_from_a_file_or_standard_input() {
    let both = Sleeper::both();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resources.json");
    let section = json!({
        "memory": {"limit": 67_108_864, "reservation": 33_554_432},
        "cpu": {"shares": 100, "quota": 20000, "period": 40000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 50}
    });
    fs::write(&file, section.to_string()).unwrap();

    assert_same_update(&both, &["--resources", file.to_str().unwrap()]);
    assert_eq!(both[1].cgroup_file("pids.max").as_deref(), Some("50"));

    for sleeper in &both {
        let mut command = sleeper.runtime.command(["update", "--resources", "-", "web"]);
        let input = br#"{"pids": {"limit": 51}}"#;
        assert!(outcome::run(&mut command, Some(input)).unwrap().is_success());
        assert_eq!(sleeper.cgroup_file("pids.max").as_deref(), Some("51"));
    }
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn update_of_what_does_not_run_is_refused() {
    for sleeper in Sleeper::both() {
        sleeper.runtime.must(["kill", "web", "KILL"]).unwrap();
        sleeper.runtime.wait_for_status("web", "stopped").unwrap();

        let stopped = sleeper.runtime.call(["update", "--pids-limit", "5", "web"]).unwrap();
        let unknown = sleeper.runtime.call(["update", "--pids-limit", "5", "nobody"]).unwrap();

        assert_eq!(stopped.end, End::Exited(1), "{stopped:?}");
        assert_eq!(unknown.end, End::Exited(1), "{unknown:?}");
        assert!(unknown.stderr().contains("container does not exist"), "{unknown:?}");
        sleeper.finish();
    }
}

/// The paths of all fields, without those of lists' elements.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    for (name, value) in value.as_object().into_iter().flatten() {
        fields(value, &format!("{path}/{name}"), found);
    }
}

#[test]
fn events_prints_the_fields_that_runc_prints() {
    let both = Sleeper::both();
    for sleeper in &both {
        assert!(sleeper.exec(&["web", "cat", "/bin/busybox"], None).is_success());
    }

    let [expected, got] = both.each_ref().map(|sleeper| {
        let printed = sleeper.runtime.must(["events", "--stats", "web"]).unwrap().stdout();
        let event: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("web")));
        let mut found = BTreeSet::new();
        fields(&event, "", &mut found);
        (event, found)
    });

    // What is 0 is left out, and that is not the runtime's choice.
    let may_be_zero = |field: &&String| {
        !["/blkio/", "/throttling/", "/failcnt", "/max", "/cache", "/usage"]
            .iter()
            .any(|part| field.contains(part))
    };
    let known =
        |found: &BTreeSet<String>| found.iter().filter(may_be_zero).cloned().collect::<Vec<_>>();
    assert_eq!(known(&got.1), known(&expected.1));
    let processes = |event: &Value| event["data"]["pids"]["current"].as_u64().unwrap();
    assert_eq!(processes(&expected.0), 1);
    assert!((1..=2).contains(&processes(&got.0)), "KVM's own thread may be counted: {got:?}");
    assert!(got.0["data"]["memory"]["usage"]["usage"].as_u64() > Some(100_000), "{got:?}");
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn events_tells_of_memory_that_ran_out_and_ends_with_the_container() {
    for runtime in [runc(), krun()] {
        let limit = |spec: &mut Value| {
            spec["linux"]["resources"]["memory"] = json!({"limit": 32 << 20});
        };
        let sleeper = Sleeper::changed(runtime, limit);
        let mut command = sleeper.runtime.command(["events", "--interval", "100ms", "web"]);
        let mut running = outcome::start(&mut command, None).unwrap();
        let has = |part: &str, text: String| text.contains(part);
        let told = outcome::eventually(TIME_LIMIT, || {
            has(r#""type":"stats""#, running.stdout_so_far().unwrap())
        });
        assert!(told, "no statistics");

        let program =
            "x=$(busybox dd if=/dev/zero bs=1M count=64 2>/dev/null | busybox tr '\\0' x)";
        let killed = sleeper.exec(&["web", "sh", "-c", program], None);
        assert!(!killed.is_success(), "{killed:?}");
        let told = outcome::eventually(TIME_LIMIT, || {
            has(r#""type":"oom""#, running.stdout_so_far().unwrap())
        });
        // How often, not even runc's tells alike: up to five times where once is usual.
        assert!(told, "nothing of memory that ran out");

        sleeper.runtime.must(["kill", "web", "KILL"]).unwrap();
        sleeper.runtime.wait_for_status("web", "stopped").unwrap();
        // runc's goes on until the cgroup is gone.
        sleeper.finish();
        let ended = running.finish().unwrap();
        assert!(ended.is_success(), "{ended:?}");
    }
}

fn spec(runtime: &Runtime, directory: &Path, options: &[&str]) -> Outcome {
    let mut command = Command::new(runtime.program());
    command.arg("spec").args(options).current_dir(directory);
    outcome::run(&mut command, None).expect("it can be started")
}

#[test]
fn spec_writes_a_document_as_runc_does() {
    for options in [&[][..], &["--rootless"]] {
        let [expected, got] = [runc(), krun()].map(|runtime| {
            let directory = tempfile::tempdir().unwrap();
            let written = spec(&runtime, directory.path(), options);
            assert!(written.is_success(), "{written:?}");
            let again = spec(&runtime, directory.path(), options);
            assert_eq!(again.end, End::Exited(1));
            assert!(
                again.stderr().contains("File config.json exists. Remove it first"),
                "{again:?}"
            );
            let text = fs::read(directory.path().join("config.json")).unwrap();
            let mut document: Value = serde_json::from_slice(&text).unwrap();
            // What differs between versions of runc: the version, a capability set that is empty by
            // now, and paths that are masked since.
            document["ociVersion"].take();
            document["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
            document["linux"]["maskedPaths"].take();
            document
        });

        assert_eq!(got, expected, "{options:?}");
    }
}

#[test]
fn what_spec_writes_can_be_run() {
    let directory = tempfile::tempdir().unwrap();
    integration::rootfs::make(&directory.path().join("rootfs")).unwrap();
    assert!(
        spec(&krun(), Path::new("/"), &["--bundle", directory.path().to_str().unwrap()])
            .is_success()
    );
    let file = directory.path().join("config.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    document["process"]["terminal"] = json!(false);
    document["process"]["args"] = json!(["echo", "hello"]);
    fs::write(&file, document.to_string()).unwrap();

    let runtime = krun();
    let ran =
        runtime.call(["run", "--bundle", directory.path().to_str().unwrap(), "krun-spec"]).unwrap();

    assert_eq!((ran.end, ran.stdout().as_str()), (End::Exited(0), "hello\n"), "{ran:?}");
}

#[test]
fn snapshots_are_refused_in_words() {
    let sleeper = Sleeper::new(krun());

    for verb in ["checkpoint", "restore"] {
        let refused = sleeper.runtime.call([verb, "--image-path", "/tmp/x", "web"]).unwrap();

        assert_eq!(refused.end, End::Exited(1), "{refused:?}");
        assert!(refused.stderr().contains(&format!("{verb} is not supported")), "{refused:?}");
    }
    assert_eq!(sleeper.runtime.status("web").unwrap(), "running");
    sleeper.finish();
}
