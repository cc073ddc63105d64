//! Fields of `config.json` that are easily taken and forgotten: a container of krun's must see what
//! one of runc's sees.
//!
//! Debian's runc is older than some fields. There the expectation is what the system's own tools
//! (`chrt`, `ionice`, `setarch`) do with the same program.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use integration::changed_bundle::{
    SharedMount, add_mount, assert_same, assert_same_but_for, must, run,
};
use integration::outcome::End;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

/// A line of `mountinfo` without numbers that are the kernel's choice, and without a tmpfs's mode, which
/// this runc sets in another way than later ones.
fn mount(line: &str) -> String {
    let Some((before, after)) = line.split_once(" - ") else { return line.to_owned() };
    let names: Vec<_> = before.split(' ').skip(3).map(without_number).collect();
    format!("{} - {}", names.join(" "), after.replace(",mode=755", ""))
}

/// `shared:12` as `shared`.
fn without_number(word: &str) -> &str {
    word.split_once(':').map_or(word, |(name, _)| name)
}

#[test]
fn cgroups_are_mounted_as_the_bundle_says_and_only_the_containers_own() {
    let script = "exec 2>&1; cat /proc/self/mountinfo; cd /sys/fs/cgroup; for d in *; do echo $d; done; \
                  echo 0 > pids/pids.max; echo 0 > systemd/cgroup.procs; true";

    assert_same_but_for(script, mount, |spec, _| {
        let options = json!(["nosuid", "noexec", "nodev", "relatime", "ro"]);
        add_mount(
            spec,
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["rw"]}),
        );
        add_mount(
            spec,
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}),
        );
    });
}

#[test]
fn a_container_is_in_the_hierarchies_without_limits_too() {
    for namespace in [false, true] {
        assert_same("cat /proc/self/cgroup", |spec, _| {
            if namespace {
                spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
            }
        });
    }
}

#[test]
fn a_volumes_propagation_is_the_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("shared");
    let _shared = SharedMount::make(&source);

    for root in ["rslave", "shared"] {
        for option in ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"]
        {
            // The lines of the root itself are left out: this runc does not yet set it to `shared`.
            let script = "while read line; do case $line in */data*) echo $line;; esac; done \
                          < /proc/self/mountinfo";
            assert_same_but_for(script, mount, |spec, _| {
                spec["linux"]["rootfsPropagation"] = json!(root);
                let options = json!(["rbind", option]);
                add_mount(
                    spec,
                    json!({"destination": "/data", "type": "bind", "source": source, "options": options}),
                );
            });
        }
    }
}

#[test]
fn links_in_a_mount_without_them_lead_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("shared");
    let _shared = SharedMount::make(&source);

    for option in ["nosymfollow", "symfollow", "rnosymfollow", "rsymfollow"] {
        assert_same_but_for("cat /data/link 2>&1; cat /proc/self/mountinfo", mount, |spec, _| {
            let options = json!(["rbind", option]);
            add_mount(
                spec,
                json!({"destination": "/data", "type": "bind", "source": source, "options": options}),
            );
        });
    }
}

#[test]
fn a_file_system_has_the_flags_of_its_mount() {
    let script = "cat /proc/self/mountinfo; busybox touch /data/x && ls /data";

    for options in [
        &["sync", "nodev"][..],
        &["mand", "noatime"],
        &["dirsync", "size=64k"],
        &["lazytime", "sync", "size=64k"],
        &["silent", "acl", "iversion"],
        &["loud", "noacl", "noiversion", "nolazytime", "async"],
    ] {
        assert_same_but_for(script, mount, |spec, _| {
            add_mount(
                spec,
                json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options}),
            );
        });
    }
}

#[test]
fn an_access_is_what_is_known_of_it() {
    let [expected, got, natively] = Runtime::all().unwrap().map(|runtime| {
        run(&runtime, "cat /dev/null; echo text > /dev/null; echo $?", |spec, _| {
            spec["linux"]["resources"]["devices"] = json!([
                {"allow": false, "access": "rwm"},
                {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwa"},
            ]);
        })
    });

    assert_eq!(expected.stdout(), "0\n", "{expected:?}");
    for krun in [got, natively] {
        assert_eq!((krun.end, krun.stdout()), (expected.end, expected.stdout()), "{krun:?}");
        assert!(krun.stderr().contains("ignoring what is not r, w or m in"), "{krun:?}");
    }
}

#[test]
fn a_mount_on_a_link_to_nowhere_is_where_the_link_leads() {
    let script = "cat /proc/self/mountinfo; ls /etc /made /made/of; cat /etc/link /made/of/file";

    assert_same_but_for(script, mount, |spec, directory| {
        let rootfs = directory.join("rootfs");
        for (target, link) in [("../made/of/file", "etc/link"), ("/made/tmp", "tmp/link")] {
            symlink(target, rootfs.join(link)).unwrap();
        }
        fs::write(directory.join("source"), "text\n").unwrap();
        let source = directory.join("source");
        add_mount(
            spec,
            json!({"destination": "/etc/link", "type": "bind", "source": source, "options": ["bind", "ro"]}),
        );
        add_mount(spec, json!({"destination": "/tmp/link", "type": "tmpfs", "source": "tmpfs"}));
    });
}

#[test]
fn no_link_to_nowhere_leads_a_mount_out_of_the_root_file_system() {
    for runtime in Runtime::all().unwrap() {
        let outside = tempfile::tempdir().unwrap();
        let got = run(&runtime, "cat /link", |spec, directory| {
            symlink(outside.path().join("new"), directory.join("rootfs/link")).unwrap();
            fs::write(directory.join("source"), "text\n").unwrap();
            let source = directory.join("source");
            add_mount(
                spec,
                json!({"destination": "/link", "type": "bind", "source": source, "options": ["bind"]}),
            );
        });

        assert_eq!(got.stdout(), "text\n", "{got:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

#[test]
fn devices_are_made_wherever_the_bundle_says() {
    let script = "busybox stat -c '%n %F %a %u:%g %t,%T' /null /new/below/zero /new/pipe /etc/there \
                  /dev/near; echo to nowhere > /null && busybox head -c 2 /new/below/zero | busybox od -c";

    assert_same(script, |spec, directory| {
        fs::write(directory.join("rootfs/etc/there"), "").unwrap();
        spec["linux"]["devices"] = json!([
            {"path": "/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/new/below/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1, "gid": 2},
            {"path": "/new/pipe", "type": "p", "fileMode": 0o600},
            {"path": "/etc/there", "type": "b", "major": 60, "minor": 1},
            {"path": "/dev/near", "type": "b", "major": 60, "minor": 1},
        ]);
    });
}

#[test]
fn a_bind_mount_without_its_option_is_refused() {
    for runtime in Runtime::all().unwrap() {
        let refused = run(&runtime, "true", |spec, directory| {
            add_mount(
                spec,
                json!({"destination": "/data", "type": "bind", "source": directory, "options": ["ro"]}),
            );
        });

        assert_eq!(refused.end, End::Exited(1), "{refused:?}");
    }
}

#[test]
fn memory_comes_from_where_the_bundle_says() {
    // Debian's runc does not know the field.
    for runtime in [Runtime::krun().unwrap(), Runtime::krun_natively().unwrap()] {
        for (mode, shown) in [("MPOL_BIND", "bind:0"), ("MPOL_INTERLEAVE", "interleave:0")] {
            let got = run(&runtime, "head -n 2 /proc/self/numa_maps", |spec, _| {
                spec["linux"]["memoryPolicy"] = json!({"mode": mode, "nodes": "0"});
            });

            let policies: Vec<_> = got
                .stdout()
                .lines()
                .filter_map(|line| Some(line.split(' ').nth(1)?.to_owned()))
                .collect();
            assert_eq!(policies, [shown, shown], "{got:?}");
        }
    }
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    let script = "ls -ld /data /new /etc /etc/*; touch /etc/new 2>&1; cat /etc/passwd";

    // Without the date.
    let left = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        if line.starts_with(['d', '-']) {
            format!("{} {} {} {:?}", words[0], words[2], words[3], words.last())
        } else {
            line.to_owned()
        }
    };
    assert_same_but_for(script, left, |spec, directory| {
        let mode = PermissionsExt::from_mode(0o2750);
        fs::set_permissions(directory.join("rootfs/data"), mode).unwrap();
        fs::create_dir_all(directory.join("rootfs/new")).unwrap();
        for (destination, options) in [
            ("/data", json!(["nosuid"])),
            ("/new", json!([])),
            ("/etc", json!(["tmpcopyup", "ro"])),
        ] {
            add_mount(
                spec,
                json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}),
            );
        }
    });
}

/// A change of the specification, and the system's tool that does the same to a program.
type Field<'a> = (&'a str, Value, &'a [&'a str]);

/// What the script prints in krun's container with the field, and by busybox below the tool.
#[track_caller]
fn assert_same_as_natively(script: &str, (pointer, value, tool): &Field<'_>) {
    let krun = Runtime::krun().expect("krun is built");
    let got = run(&krun, script, |spec, _| {
        let (section, name) = pointer.rsplit_once('/').expect("the test can be prepared");
        spec.pointer_mut(section).expect("the test can be prepared")[name] = value.clone();
    });

    let words = [*tool, &["busybox", "sh", "-c", script]].concat();
    assert_eq!(got.stderr(), "");
    assert_eq!(got.stdout(), must(&words), "{value}");
}

#[test]
fn scheduler_priority_and_personality_are_those_of_the_bundle() {
    // The 19th and 41st words of `stat` are the nice value and the policy, of `cat` and of the shell.
    let script = "set -- $(cat /proc/self/stat); echo ${19} ${41}; set -- $(cat /proc/$$/stat); \
                  echo ${19} ${41}; busybox ionice -p $$; cat /proc/self/personality; \
                  busybox uname -m; busybox sh -c 'busybox ionice; busybox uname -m'";
    let fields: [Field<'_>; 7] = [
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 3}),
            &["chrt", "-b", "0", "nice", "-n", "3"],
        ),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 5}), &["nice", "-n", "5"]),
        ("/process/scheduler", json!({"policy": "SCHED_IDLE"}), &["chrt", "-i", "0"]),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            &["chrt", "-R", "-b", "0"],
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
            &["ionice", "-c", "2", "-n", "6"],
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
            &["ionice", "-c", "3"],
        ),
        ("/linux/personality", json!({"domain": "LINUX32"}), &["setarch", "linux32"]),
    ];
    for field in &fields {
        assert_same_as_natively(script, field);
    }
}

#[test]
fn a_time_namespace_has_the_offsets_of_the_bundle() {
    let krun = Runtime::krun().unwrap();
    let offsets = json!({"boottime": {"secs": 9_000_000}, "monotonic": {"secs": 7, "nanosecs": 5}});

    let got = run(&krun, "cat /proc/self/timens_offsets", |spec, _| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        spec["linux"]["timeOffsets"] = offsets.clone();
    });

    let words: Vec<_> = got.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["monotonic", "7", "5", "boottime", "9000000", "0"], "{got:?}");
}

#[test]
fn limits_sysctls_and_paths_are_those_of_the_bundle() {
    let script = "cat /proc/self/limits /proc/1/limits /proc/sys/net/ipv4/ip_forward \
                  /proc/sys/kernel/shmmax /proc/self/oom_score_adj; ls /etc /data; \
                  touch /data/x 2>&1; cat /proc/keys";

    assert_same(script, |spec, _| {
        let limit =
            |kind: &str| json!({"type": format!("RLIMIT_{kind}"), "soft": 4096, "hard": 8192});
        let limits = ["NOFILE", "CORE", "FSIZE", "NPROC", "MSGQUEUE", "SIGPENDING", "CPU", "LOCKS"];
        spec["process"]["rlimits"] = limits.map(limit).into_iter().collect();
        spec["process"]["oomScoreAdj"] = json!(123);
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "12345"});
        spec["linux"]["maskedPaths"] = json!(["/etc", "/proc/keys", "/nosuch", "/proc/nosuch/x"]);
        spec["linux"]["readonlyPaths"] = json!(["/data", "/nosuch"]);
    });
}

#[test]
fn every_program_of_a_container_has_its_oom_score() {
    let both = [Runtime::runc().unwrap(), Runtime::krun().unwrap()].map(|runtime| {
        Sleeper::changed(runtime, |spec| spec["process"]["oomScoreAdj"] = json!(123))
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("process.json");

    for score in [json!(77), Value::Null] {
        let section = json!({
            "args": ["cat", "/proc/self/oom_score_adj"], "cwd": "/", "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0}, "oomScoreAdj": score
        });
        fs::write(&file, section.to_string()).unwrap();
        let [expected, got] = both
            .each_ref()
            .map(|sleeper| sleeper.exec(&["--process", file.to_str().unwrap(), "web"], None));
        assert_eq!(expected.stdout(), "123\n");
        assert_eq!(got, expected);
    }
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let deadline = json!({
        "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 20_000_000, "period": 20_000_000
    });
    let cases = [
        ("/process/scheduler", deadline, "SCHED_FLAG_RESET_ON_FORK"),
        (
            "/linux/resources",
            json!({"unified": {"hugetlb.2MB.max": "0"}}),
            "cannot use unified on cgroup v1",
        ),
        (
            "/mounts/0/uidMappings",
            json!([{"containerID": 0, "hostID": 1, "size": 1}]),
            "id-mapped mounts are only supported for bind-mounts",
        ),
        ("/linux/mountLabel", json!("a:b:c:s0"), "linux.mountLabel: selinux is disabled"),
    ];
    for (pointer, value, words) in cases {
        let got = run(&Runtime::krun().unwrap(), "true", |spec, _| {
            let (section, name) = pointer.rsplit_once('/').unwrap();
            spec.pointer_mut(section).unwrap()[name] = value.clone();
        });

        assert!(!got.is_success() && got.stderr().contains(words), "{got:?}");
    }
}

#[test]
fn a_label_without_selinux_is_refused_in_the_same_words() {
    const REFUSED: &str =
        "selinux label is specified in config, but selinux is disabled or not supported";
    for runtime in [Runtime::runc().unwrap(), Runtime::krun().unwrap()] {
        let created = run(&runtime, "true", |spec, _| {
            spec["process"]["selinuxLabel"] = json!("a:b:c:s0");
        });
        assert!(created.end == End::Exited(1) && created.stderr().contains(REFUSED), "{created:?}");

        let sleeper = Sleeper::new(runtime);
        let got = sleeper.exec(&["--process-label", "a:b:c:s0", "web", "true"], None);
        assert!(got.end == End::Exited(255) && got.stderr().contains(REFUSED), "{got:?}");
        // None is no label.
        assert!(sleeper.exec(&["--process-label", "", "web", "true"], None).is_success());
        sleeper.finish();
    }
}
