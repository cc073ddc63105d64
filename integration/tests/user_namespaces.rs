//! User namespaces, and mounts whose owners are mapped, with and without one: krun against runc, or what a
//! kernel shows.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use integration::bundle::Bundle;
use integration::changed_bundle::{SharedMount, add_mount, assert_same, must, run};
use integration::outcome::{self, End};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::{Value, json};

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

#[test]
fn a_user_namespace_is_joined_with_mounts_of_ones_own() {
    let mut bundle = Bundle::with_args(&["sleep", "1000"]).unwrap();
    let directory = bundle.path().to_owned();
    bundle.change(|spec| add_user_namespace(spec, &directory)).unwrap();
    let runtime = Runtime::runc().unwrap();
    runtime.create(bundle.path(), "web").unwrap();
    runtime.must(["start", "web"]).unwrap();
    let sleeper = Sleeper { runtime, bundle };
    let path = format!("/proc/{}/ns/user", sleeper.processes()[0]);

    assert_same(WHO, |spec, directory| {
        add_user_namespace(spec, directory);
        for namespace in spec["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
            if namespace["type"] == "user" {
                namespace["path"] = json!(path);
            }
        }
    });

    sleeper.finish();
}
