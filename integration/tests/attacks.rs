//! Attacks that other runtimes fell for, on the side of the host: links in the image, working directories that are
//! descriptors, names that are paths, wishes of the image's own.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use integration::bundle::Bundle;
use integration::footprint::CGROUPS;
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::json;
use tempfile::TempDir;

/// Directories in which something is made or mounted before the program runs, as [`works_everywhere`] asks for it.
const PLACES: [&str; 7] = ["dev", "proc", "sys", "etc", "tmp", "run", "opt"];

/// Those that may lead to another directory of the image's. A container whose `dev`, `proc` or `sys` does is refused.
const SOUND: [&str; 4] = ["etc", "tmp", "run", "opt"];

/// Files by which other runtimes let an image choose its isolation.
const WISHES: [&str; 5] = [".krun_config.json", ".krun_vm.json", ".kontain", "kmsnap", "krun.toml"];

/// How long a bundle that is made to take long may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of the host's that nobody may change.
struct Canary(TempDir);

impl Canary {
    fn new() -> Result<Self> {
        // Not below /tmp, where the container has a mount of its own.
        let directory = tempfile::Builder::new().prefix("krun-canary").tempdir_in("/var/tmp")?;
        for name in ["ptmx", "null", "fd", "shadow"] {
            fs::write(directory.path().join(name), "the host's")?;
        }
        fs::create_dir(directory.path().join("pts"))?;
        Ok(Self(directory))
    }

    /// Everything in it, with its content, and whether something is mounted there.
    fn look(&self) -> Result<(BTreeMap<String, Option<String>>, bool)> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.0.path())? {
            let entry = entry?;
            let content = fs::read_to_string(entry.path()).ok();
            found.insert(entry.file_name().to_string_lossy().into_owned(), content);
        }
        let path = self.0.path().to_string_lossy();
        Ok((found, fs::read_to_string("/proc/self/mountinfo")?.contains(&*path)))
    }
}

/// Puts a link to `target` in the place of a directory of the image's.
fn replace_by_link(bundle: &Bundle, place: &str, target: &Path) -> Result<()> {
    let place = bundle.in_rootfs(place);
    if place.is_dir() {
        fs::remove_dir_all(&place)?;
    }
    symlink(target, &place).with_context(|| format!("{}", place.display()))
}

fn run(runtime: &Runtime, bundle: &Bundle) -> Result<Outcome> {
    let path = bundle.path().to_str().context("a path in UTF-8")?;
    let outcome = runtime.call(["run", "--bundle", path, "attack"])?;
    drop(runtime.call(["delete", "--force", "attack"])?);
    bundle.footprint.ensure_nothing_is_left()?;
    Ok(outcome)
}

/// Has mounts, a device and the working directory made in each of the [`PLACES`].
fn works_everywhere(bundle: &mut Bundle) -> Result<()> {
    let source = bundle.path().join("source");
    fs::write(&source, "the bundle's\n")?;
    fs::write(bundle.in_rootfs("etc/hosts"), "")?;
    for directory in ["run", "opt"] {
        fs::create_dir(bundle.in_rootfs(directory))?;
    }
    bundle.change(|spec| {
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                               "options": ["nosuid", "noexec", "nodev", "ro"]}));
            for file in ["/etc/hosts", "/run/made/file", "/opt/made/file"] {
                mounts.push(json!({"destination": file, "type": "bind", "source": source,
                                   "options": ["bind", "ro"]}));
            }
        }
        spec["process"]["cwd"] = json!("/opt/work");
        spec["linux"]["devices"] =
            json!([{"path": "/opt/null", "type": "c", "major": 1, "minor": 3}]);
    })
}

fn both() -> [Runtime; 2] {
    let native = Runtime::krun_natively().expect("krun is built");
    [Runtime::krun().expect("krun is built"), native]
}

/// Shows that it has all of what is made and mounted.
const SEE_ALL: &str =
    "pwd; cat /etc/hosts /run/made/file /opt/made/file; ls -d /sys/kernel /dev/null /opt/null";

/// How the output of [`SEE_ALL`] ends in a container that has it.
const ALL: &str =
    "/work\nthe bundle's\nthe bundle's\nthe bundle's\n/dev/null\n/opt/null\n/sys/kernel\n";

#[test]
fn links_of_an_image_lead_to_no_directory_of_the_hosts() {
    for runtime in both() {
        let mut bundle = Bundle::with_args(&["/bin/sh", "-c", SEE_ALL]).unwrap();
        works_everywhere(&mut bundle).unwrap();
        let unchanged = run(&runtime, &bundle).unwrap();
        assert!(unchanged.stdout().ends_with(ALL), "{unchanged:?}");

        for place in PLACES {
            let canary = Canary::new().unwrap();
            let before = canary.look().unwrap();
            let absolute = canary.0.path().to_owned();
            let relative = Path::new("../../../../../..").join(absolute.strip_prefix("/").unwrap());
            // With a directory of this name in the image the links lead there.
            for (target, is_inside) in
                [(&absolute, false), (&absolute, true), (&relative, false), (&relative, true)]
            {
                let script = format!("{SEE_ALL}; echo x > /tmp/y; : > /dev/z");
                let mut bundle = Bundle::with_args(&["/bin/sh", "-c", &script]).unwrap();
                works_everywhere(&mut bundle).unwrap();
                if is_inside {
                    fs::create_dir_all(bundle.in_rootfs(&absolute.to_string_lossy()[1..])).unwrap();
                }
                replace_by_link(&bundle, place, target).unwrap();

                let outcome = run(&runtime, &bundle).unwrap();

                assert_eq!(canary.look().unwrap(), before, "{place} by {}", target.display());
                assert!(!outcome.stdout().contains("the host's"), "{place}: {outcome:?}");
                if is_inside && SOUND.contains(&place) {
                    assert!(outcome.stdout().ends_with(ALL), "{place}: {outcome:?}");
                }
            }
        }
    }
}

/// The look at the canary finds what a runtime does that puts paths together as texts.
#[test]
fn a_runtime_that_follows_links_of_an_image_is_found() {
    let canary = Canary::new().unwrap();
    let before = canary.look().unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    replace_by_link(&bundle, "dev", canary.0.path()).unwrap();

    fs::remove_file(bundle.in_rootfs("dev/ptmx")).unwrap();
    symlink("pts/ptmx", bundle.in_rootfs("dev/ptmx")).unwrap();

    assert_ne!(canary.look().unwrap(), before);
}

#[test]
fn an_images_wishes_are_nobodys_command() {
    let canary = Canary::new().unwrap();
    let before = canary.look().unwrap();
    let runtime = Runtime::krun().unwrap();
    let bundle = Bundle::with_args(&["/bin/uname", "-r"]).unwrap();
    for name in WISHES {
        symlink(canary.0.path().join("shadow"), bundle.in_rootfs(name)).unwrap();
    }
    fs::create_dir_all(bundle.in_rootfs("etc/kontain/policy.d")).unwrap();
    let rule = "[[rule]]\nid = \"all\"\nmode = \"native\"\n";
    fs::write(bundle.in_rootfs("etc/kontain/policy.d/0.toml"), rule).unwrap();

    let outcome = run(&runtime, &bundle).unwrap();

    assert!(outcome.stdout().contains("kontain"), "{outcome:?}");
    assert_eq!(canary.look().unwrap(), before);
}

#[test]
fn no_descriptor_of_kruns_is_a_way_to_the_host() {
    let canary = Canary::new().unwrap();
    let file = canary.0.path().join("shadow");
    let script = format!("cat ./../../../../../../..{} ; readlink /proc/self/cwd", file.display());
    // Whoever has a directory of the host's as his own finds the file.
    let mut natively = Command::new("/bin/sh");
    let natively = outcome::run(natively.args(["-c", &script]).current_dir("/proc/self/fd"), None);
    assert!(natively.unwrap().stdout().contains("the host's"));
    for runtime in both() {
        // A working directory that can be had.
        let mut bundle = Bundle::with_args(&["/bin/sh", "-c", &script]).unwrap();
        bundle.change(|spec| spec["process"]["cwd"] = json!("/proc/self/fd")).unwrap();
        let allowed = run(&runtime, &bundle).unwrap();
        assert!(allowed.stdout().ends_with("/fd\n"), "{allowed:?}");

        let bundles = (3..20).map(|number| {
            let mut bundle = Bundle::with_args(&["/bin/sh", "-c", &script]).unwrap();
            let cwd = format!("/proc/self/fd/{number}");
            bundle.change(|spec| spec["process"]["cwd"] = json!(cwd)).unwrap();
            bundle
        });
        for bundle in bundles {
            let outcome = run(&runtime, &bundle).unwrap();

            assert!(!outcome.stdout().contains("the host's"), "{outcome:?}");
        }
        // So with a further program.
        let sleeper = Sleeper::new(runtime);
        let allowed =
            sleeper.exec(&["--cwd", "/proc/self/fd", "web", "/bin/sh", "-c", &script], None);
        assert!(allowed.stdout().ends_with("/fd\n"), "{allowed:?}");
        for number in 3..20 {
            let cwd = format!("/proc/self/fd/{number}");
            let outcome = sleeper.exec(&["--cwd", &cwd, "web", "/bin/sh", "-c", &script], None);

            assert!(!outcome.stdout().contains("the host's"), "{outcome:?}");
        }
        sleeper.finish();
    }
}

/// Where a cgroup of this name is, or a directory above the hierarchies that a path leads to which is taken as a text.
fn places_of(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path());
    let above = [CGROUPS, "/sys/fs", "/sys", "/"].map(PathBuf::from);
    hierarchies.chain(above).map(|place| place.join(name)).filter(|place| place.exists()).collect()
}

#[test]
fn a_cgroups_path_leads_out_of_no_hierarchy() {
    let name = format!("krun-escape-{}", std::process::id());
    let runtime = Runtime::krun().unwrap();
    let create = |path: &str| {
        let mut bundle = Bundle::with_args(&["/bin/true"]).unwrap();
        bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!(path)).unwrap();
        let arguments = ["create", "--bundle", bundle.path().to_str().unwrap(), "attack"];
        let outcome = runtime.call(arguments).unwrap();
        let found = places_of(&name);
        drop(runtime.call(["delete", "--force", "attack"]).unwrap());
        let left = places_of(&name);
        bundle.footprint.ensure_nothing_is_left().unwrap();
        (outcome, found, left)
    };
    // The look finds a cgroup, and that it has gone.
    let (outcome, found, left) = create(&format!("/{name}"));
    assert!(outcome.is_success() && !found.is_empty() && left.is_empty(), "{found:?} {outcome:?}");

    for path in [format!("/../{name}"), format!("../../{name}"), format!("/a/../../../{name}")] {
        let (outcome, found, left) = create(&path);

        assert!(found.is_empty() && left.is_empty(), "{path}: {found:?}, {left:?}: {outcome:?}");
        assert_eq!(outcome.end, End::Exited(1), "{path}: {outcome:?}");
        assert!(outcome.stderr().contains("linux.cgroupsPath"), "{path}: {outcome:?}");
    }
}

/// Names of the sockets among a process's descriptors.
fn sockets(process: &str) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    targets.filter(|target| target.starts_with("socket:")).collect()
}

#[test]
fn a_running_container_listens_nowhere() {
    let sleeper = Sleeper::new(Runtime::krun().unwrap());
    let processes = sleeper.processes();

    assert!(!processes.is_empty(), "`ps` lists the container's process");
    for process in processes {
        let found = sockets(&process.to_string());
        assert!(found.is_empty(), "{process}: {found:?}");
    }
    sleeper.finish();
    // The look finds one.
    let listener = UnixListener::bind(tempfile::tempdir().unwrap().path().join("socket")).unwrap();
    assert_eq!(sockets("self").len(), 1);
    drop(listener);
}

#[test]
fn a_config_json_made_to_take_long_does_not() {
    let runtime = Runtime::krun().unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    let good = serde_json::to_string(&bundle.spec).unwrap();
    let with = |text: &str| good.replacen("\"TERM=dumb\"", text, 1);
    let levels = 1 << 20;
    let nested = format!("{{\"a\":{}{},", "[".repeat(levels), "]".repeat(levels));
    let deep = good.replacen('{', &nested, 1);
    let doubled = good.replacen('{', &format!("{{{}", "\"x\":1,".repeat(1 << 20)), 1);
    let long = with(&format!("\"A={}\"", "x".repeat(60 << 20)));
    let longer = with(&format!("\"A={}\"", "x".repeat(70 << 20)));
    let many = with(&format!("{}\"A=1\"", "\"A=1\",".repeat(1 << 20)));
    for (text, what) in
        [(deep, "deep"), (doubled, "doubled"), (long, "long"), (longer, "longer"), (many, "many")]
    {
        fs::write(bundle.path().join("config.json"), text).unwrap();
        let begin = Instant::now();

        let outcome = run(&runtime, &bundle).unwrap();

        assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", begin.elapsed());
        // An answer of krun's, not a stack that has overflowed. Linux takes no variable of this length; of members
        // and variables that are called the same, one is left.
        let (status, words) = match what {
            "deep" => (1, "not valid JSON: recursion limit exceeded"),
            "long" => (1, "Argument list too long"),
            "longer" => (1, "not valid JSON"),
            _ => (0, ""),
        };
        assert_eq!(outcome.end, End::Exited(status), "{what}: {outcome:?}");
        assert!(outcome.stderr().contains(words), "{what}: {outcome:?}");
    }
}
