//! Fields of `config.json` that are easily taken and forgotten: a container of krun's must see what
//! one of runc's sees.
//!
//! Debian's runc is older than some fields. There the expectation is what the system's own tools
//! (`chrt`, `ionice`, `setarch`) do with the same program.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

/// What a container with this change prints and how it ends, without what differs between any two.
fn run(runtime: &Runtime, script: &str, change: impl Fn(&mut Value, &Path)) -> Outcome {
    let mut bundle = Bundle::with_args(&["sh", "-c", script]).expect("a bundle can be made");
    let directory = bundle.path().to_owned();
    bundle.change(|spec| change(spec, &directory)).expect("the test can be prepared");
    let arguments = ["run".as_ref(), "--bundle".as_ref(), directory.as_os_str(), "web".as_ref()];
    let mut outcome = runtime.call(arguments).expect("the test can be prepared");
    let cgroup = bundle.footprint.cgroup().to_owned();
    let words =
        [(directory.to_str().expect("its name is text"), "BUNDLE"), (cgroup.as_str(), "CGROUP")];
    let mut text = outcome.stdout();
    for (word, name) in words {
        text = text.replace(word, name);
    }
    outcome.stdout = text.into_bytes();
    bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
    outcome
}

#[track_caller]
fn assert_same(script: &str, change: impl Fn(&mut Value, &Path)) {
    assert_same_but_for(script, str::to_owned, change);
}

/// Compares what is left of the output, line by line.
#[track_caller]
fn assert_same_but_for(
    script: &str,
    left: impl Fn(&str) -> String,
    change: impl Fn(&mut Value, &Path),
) {
    let runtimes =
        [Runtime::runc().expect("runc is installed"), Runtime::krun().expect("krun is built")];
    let [expected, got] = runtimes.map(|runtime| {
        let mut outcome = run(&runtime, script, &change);
        let lines: Vec<_> = outcome.stdout().lines().map(&left).collect();
        outcome.stdout = lines.join("\n").into_bytes();
        outcome
    });
    assert!(expected.is_success(), "{expected:?}");
    let difference = outcome::difference(&expected, &got);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

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

fn add_mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().expect("it is a list").push(mount);
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

/// A tmpfs on the host whose mounts propagate, until it is dropped.
struct SharedMount<'a>(&'a Path);

impl<'a> SharedMount<'a> {
    fn make(path: &'a Path) -> Self {
        fs::create_dir_all(path).expect("the test can be prepared");
        let place = path.to_str().expect("its name is text");
        must(&["mount", "-t", "tmpfs", "tmpfs", place]);
        must(&["mount", "--make-shared", place]);
        fs::write(path.join("file"), "text\n").expect("the test can be prepared");
        std::os::unix::fs::symlink("file", path.join("link")).expect("the test can be prepared");
        fs::create_dir(path.join("below")).expect("the test can be prepared");
        must(&[
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            path.join("below").to_str().expect("its name is text"),
        ]);
        Self(path)
    }
}

impl Drop for SharedMount<'_> {
    fn drop(&mut self) {
        must(&["umount", "--recursive", self.0.to_str().expect("its name is text")]);
    }
}

#[track_caller]
fn must(words: &[&str]) -> String {
    let outcome = outcome::run(Command::new(words[0]).args(&words[1..]), None)
        .expect("the test can be prepared");
    assert!(outcome.is_success(), "{words:?}: {outcome:?}");
    outcome.stdout()
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

/// Gives the container a user namespace whose root is an ordinary user of the host.
fn add_user_namespace(spec: &mut Value, directory: &Path) {
    const ROOT: u32 = 100_000;
    let mapping = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    spec["linux"]["namespaces"].as_array_mut().expect("it is a list").push(json!({"type": "user"}));
    // The directory is a temporary one, which only its owner may enter.
    let mode = PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory, mode).expect("the test can be prepared");
    must(&[
        "chown",
        "-hR",
        "100000:100000",
        directory.join("rootfs").to_str().expect("its name is text"),
    ]);
}

/// Adds a bind mount of `source` in which the owners 1000 and 1001 are 5 and 6, or another file's.
fn add_mapped_mount(spec: &mut Value, destination: &str, source: &Path, options: &[&str]) {
    let mapping = |from, to| json!([{"containerID": from, "hostID": to, "size": 1}]);
    add_mount(
        spec,
        json!({"destination": destination, "type": "bind", "source": source, "options": options,
               "uidMappings": mapping(1000, 5), "gidMappings": mapping(1001, 6)}),
    );
}

/// The owners that a kernel shows where 1000:1001 is mapped, and where nothing is. This runc does not
/// know the fields, and the others that are installed do not run on hosts of this kind.
#[test]
fn owners_in_a_mount_are_mapped_as_the_bundle_says() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("shared");
    let _shared = SharedMount::make(&source);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    fs::write(source.join("below/file"), "").unwrap();
    for path in [&file, &source.join("file"), &source.join("below/file")] {
        chown(path, Some(1000), Some(1001)).unwrap();
    }
    let script = "stat -c %u:%g file; cd /; stat -c '%n %u:%g' one/file one/below/file all/file all/below/file \
                  both/file both/below/file both/new disk; touch disk 2>&1";

    let got = run(&Runtime::krun().unwrap(), script, |spec, _| {
        add_mapped_mount(spec, "/one", &source, &["rbind", "idmap"]);
        add_mapped_mount(spec, "/all", &source, &["rbind", "ridmap"]);
        add_mapped_mount(spec, "/both", &source, &["rbind", "ridmap"]);
        let options = json!(["mode=755"]);
        add_mount(
            spec,
            json!({"destination": "/both/new", "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
        add_mapped_mount(spec, "/disk", &file, &["bind", "ro"]);
        spec["process"]["cwd"] = json!("/one");
    });

    let lines = "5:6\none/file 5:6\none/below/file 1000:1001\nall/file 5:6\nall/below/file 5:6\n\
                 both/file 5:6\nboth/below/file 5:6\nboth/new 0:0\ndisk 5:6\n\
                 touch: disk: Read-only file system\n";
    assert_eq!((got.stdout().as_str(), got.stderr().as_str()), (lines, ""));
}

#[test]
fn owners_in_a_mount_are_mapped_as_in_the_containers_user_namespace() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    chown(&file, Some(1000), Some(1001)).unwrap();

    let script = "stat -c %u:%g /volume /volume/file; touch /volume/new; stat -c %u:%g /volume/new";
    let got = run(&Runtime::krun().unwrap(), script, |spec, bundle| {
        add_user_namespace(spec, bundle);
        let options = json!(["bind", "idmap"]);
        add_mount(
            spec,
            json!({"destination": "/volume", "source": directory.path(), "options": options}),
        );
    });

    assert_eq!((got.stdout().as_str(), got.stderr().as_str()), ("0:0\n1000:1001\n0:0\n", ""));
    assert_eq!(fs::metadata(directory.path().join("new")).unwrap().uid(), 0);
}

#[test]
fn a_file_system_whose_owners_cannot_be_mapped_is_told() {
    let got = run(&Runtime::krun().unwrap(), "true", |spec, _| {
        add_mapped_mount(spec, "/kernel", Path::new("/sys/kernel"), &["bind"]);
    });

    let words =
        "failed to set MOUNT_ATTR_IDMAP on /sys/kernel: Invalid argument (maybe the filesystem";
    assert!(!got.is_success() && got.stderr().contains(words), "{got:?}");
}

/// What tells one user namespace, and the rights in it, from another.
const WHO: &str = "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
                   cat /proc/self/cgroup; ls -ln / | while read mode _ user group _; do \
                   echo $mode $user $group; done; while read line; do case $line in \
                   Cap*) echo $line;; esac; done < /proc/self/status; touch /tmp/x 2>&1; true";

#[test]
fn a_container_with_a_user_namespace_is_as_with_runc() {
    for (uid, groups) in [(0, json!([])), (1000, json!([5, 6]))] {
        assert_same(WHO, |spec, directory| {
            add_user_namespace(spec, directory);
            spec["process"]["user"] = json!({"uid": uid, "gid": uid, "additionalGids": groups});
        });
    }
}

#[test]
fn exec_goes_into_the_containers_user_namespace() {
    let both = [Runtime::runc().unwrap(), Runtime::krun().unwrap()].map(|runtime| {
        let mut bundle = Bundle::with_args(&["sleep", "1000"]).unwrap();
        let directory = bundle.path().to_owned();
        let change = |spec: &mut Value| {
            add_user_namespace(spec, &directory);
            add_mount(
                spec,
                json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                       "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
            );
        };
        bundle.change(change).unwrap();
        runtime.create(bundle.path(), "web").unwrap();
        runtime.must(["start", "web"]).unwrap();
        Sleeper { runtime, bundle }
    });

    for options in [&[][..], &["--user", "1000:1001"], &["--additional-gids", "7"]] {
        let script = format!("{WHO}; exit 7");
        let words = [options, &["web", "sh", "-c", &script]].concat();
        let [expected, got] = both.each_ref().map(|sleeper| {
            let mut outcome = sleeper.exec(&words, None);
            let cgroup = sleeper.bundle.footprint.cgroup();
            outcome.stdout = outcome.stdout().replace(cgroup, "CGROUP").into_bytes();
            outcome
        });
        assert_eq!(got.end, End::Exited(7), "{options:?}: {got:?}");
        let difference = outcome::difference(&expected, &got);
        assert!(difference.is_none(), "{options:?}: {}", difference.unwrap_or_default());
    }
    let [expected, got] =
        both.each_ref().map(|sleeper| sleeper.exec(&["web", "nosuchprogram"], None));
    assert_eq!(got.end, expected.end);
    assert!(got.stderr().contains("executable file not found in $PATH"), "{got:?}");
    // runc wants a terminal of its own for this.
    let terminal = both[1].exec(&["--tty", "web", "tty"], None);
    assert_eq!(terminal.stdout().trim(), "/dev/pts/0", "{terminal:?}");
    both.into_iter().for_each(Sleeper::finish);
}
