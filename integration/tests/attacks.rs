//! Attacks that other runtimes fell for, on the side of the host: links in the image, working directories that are
//! descriptors, names that are paths, wishes of the image's own.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use integration::bundle::Bundle;
use integration::careless::Careless;
use integration::footprint::CGROUPS;
use integration::outcome::{self, End, Outcome};
use integration::runtime::{ALL_NATIVE, Runtime};
use integration::sleeper::Sleeper;
use serde_json::json;
use tempfile::TempDir;

/// Directories in which something is made or mounted before the program runs, as [`works_everywhere`] asks for it.
const PLACES: [&str; 7] = ["dev", "proc", "sys", "etc", "tmp", "run", "opt"];

/// Those that may lead to another directory of the image's. A container whose `dev`, `proc` or `sys` does is refused.
const SOUND: [&str; 4] = ["etc", "tmp", "run", "opt"];

/// Files by which other runtimes let an image choose its isolation.
const WISHES: [&str; 5] = [".krun_config.json", ".krun_vm.json", ".kontain", "kmsnap", "krun.toml"];

/// Numbers that a descriptor of the runtime's may have.
const DESCRIPTORS: Range<u32> = 3..20;

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

/// Where a bundle's image has a policy of its own.
const POLICY: &str = "etc/kontain/policy.d";

/// A bundle whose image wants to run natively, and to have a file of the host's written.
fn wishing(canary: &Canary) -> Result<Bundle> {
    let bundle = Bundle::with_args(&["/bin/uname", "-r"])?;
    for name in WISHES {
        symlink(canary.0.path().join("shadow"), bundle.in_rootfs(name))?;
    }
    fs::create_dir_all(bundle.in_rootfs(POLICY))?;
    fs::write(bundle.in_rootfs(POLICY).join("0.toml"), ALL_NATIVE)?;
    Ok(bundle)
}

/// Which of these wishes come true.
fn granted(runtime: &Runtime, canary: &Canary, bundle: &Bundle) -> Result<Vec<&'static str>> {
    let before = canary.look()?;
    let outcome = run(runtime, bundle)?;
    ensure!(outcome.is_success(), "{outcome:?}");
    let is_native = !outcome.stdout().contains("kontain");
    let native = is_native.then_some("it runs natively");
    let written = (canary.look()? != before).then_some("a file of the host's was written");
    Ok(native.into_iter().chain(written).collect())
}

#[test]
fn an_images_wishes_are_nobodys_command() {
    let canary = Canary::new().unwrap();
    let bundle = wishing(&canary).unwrap();

    assert!(granted(&Runtime::krun().unwrap(), &canary, &bundle).unwrap().is_empty());
}

#[test]
fn a_runtime_that_does_what_an_image_wishes_is_found() {
    let canary = Canary::new().unwrap();
    let bundle = wishing(&canary).unwrap();
    let policy = [OsString::from("--policy-dir"), bundle.in_rootfs(POLICY).into()];
    let obedient = Runtime::krun().unwrap().with_options(policy);

    assert_eq!(granted(&obedient, &canary, &bundle).unwrap(), ["it runs natively"]);
    let careless = Careless::with("links").unwrap();
    let granted = granted(&careless.runtime, &canary, &bundle).unwrap();
    assert!(granted.contains(&"a file of the host's was written"), "{granted:?}");
}

/// By which working directories a program gets at the host: those of `run`, and those of `exec`.
fn ways_out(runtime: Runtime) -> Result<Vec<String>> {
    let canary = Canary::new()?;
    let file = canary.0.path().join("shadow");
    let script = format!("cat ./../../../../../../..{} ; readlink /proc/self/cwd", file.display());
    let in_directory = |cwd: &str| {
        let mut bundle = Bundle::with_args(&["/bin/sh", "-c", &script])?;
        bundle.change(|spec| spec["process"]["cwd"] = json!(cwd))?;
        run(&runtime, &bundle)
    };
    let is_out = |outcome: &Outcome| outcome.stdout().contains("the host's");
    let mut found = Vec::new();
    // A working directory that can be had.
    let allowed = in_directory("/proc/self/fd")?;
    ensure!(allowed.stdout().ends_with("/fd\n"), "{allowed:?}");
    for number in DESCRIPTORS {
        if is_out(&in_directory(&format!("/proc/self/fd/{number}"))?) {
            found.push(format!("run: {number}"));
        }
    }
    // So with a further program.
    let sleeper = Sleeper::new(runtime);
    let exec = |cwd: &str| sleeper.exec(&["--cwd", cwd, "web", "/bin/sh", "-c", &script], None);
    let allowed = exec("/proc/self/fd");
    ensure!(allowed.stdout().ends_with("/fd\n"), "{allowed:?}");
    for number in DESCRIPTORS {
        if is_out(&exec(&format!("/proc/self/fd/{number}"))) {
            found.push(format!("exec: {number}"));
        }
    }
    sleeper.finish();
    Ok(found)
}

#[test]
fn no_descriptor_of_kruns_is_a_way_to_the_host() {
    for runtime in both() {
        assert_eq!(ways_out(runtime).unwrap(), [""; 0]);
    }
}

#[test]
fn a_runtime_that_leaves_a_directory_of_the_hosts_open_is_found() {
    let careless = Careless::with("descriptors").unwrap();

    assert_eq!(ways_out(careless.runtime).unwrap(), ["run: 7", "exec: 7"]);
}

/// Where a cgroup of this name is, or a directory above the hierarchies that a path leads to which is taken as a text.
fn places_of(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path());
    let above = [CGROUPS, "/sys/fs", "/sys", "/"].map(PathBuf::from);
    hierarchies.chain(above).map(|place| place.join(name)).filter(|place| place.exists()).collect()
}

/// Creates a container with this path, and looks where there is a cgroup of this name, before and after its end.
fn cgroups_of(
    runtime: &Runtime,
    path: &str,
    name: &str,
) -> Result<(Outcome, Vec<PathBuf>, Vec<PathBuf>)> {
    let mut bundle = Bundle::with_args(&["/bin/true"])?;
    bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!(path))?;
    let directory = bundle.path().to_str().context("a path in UTF-8")?;
    let outcome = runtime.call(["create", "--bundle", directory, "attack"])?;
    let found = places_of(name);
    drop(runtime.call(["delete", "--force", "attack"])?);
    let left = places_of(name);
    bundle.footprint.ensure_nothing_is_left()?;
    Ok((outcome, found, left))
}

/// Paths that lead upwards to this name.
fn upwards(name: &str) -> [String; 3] {
    [format!("/../{name}"), format!("../../{name}"), format!("/a/../../../{name}")]
}

#[test]
fn a_cgroups_path_leads_out_of_no_hierarchy() {
    let name = format!("krun-escape-{}", std::process::id());
    let runtime = Runtime::krun().unwrap();
    // The look finds a cgroup, and that it has gone.
    let (outcome, found, left) = cgroups_of(&runtime, &format!("/{name}"), &name).unwrap();
    assert!(outcome.is_success() && !found.is_empty() && left.is_empty(), "{found:?} {outcome:?}");

    for path in upwards(&name) {
        let (outcome, found, left) = cgroups_of(&runtime, &path, &name).unwrap();

        assert!(found.is_empty() && left.is_empty(), "{path}: {found:?}, {left:?}: {outcome:?}");
        assert_eq!(outcome.end, End::Exited(1), "{path}: {outcome:?}");
        assert!(outcome.stderr().contains("linux.cgroupsPath"), "{path}: {outcome:?}");
    }
}

#[test]
fn a_runtime_that_puts_cgroups_paths_together_as_texts_is_found() {
    let name = format!("krun-astray-{}", std::process::id());
    let careless = Careless::with("cgroups").unwrap();
    let [upwards, ..] = upwards(&name);

    let (_, found, left) = cgroups_of(&careless.runtime, &upwards, &name).unwrap();

    assert!(!found.is_empty() && left.is_empty(), "{found:?} {left:?}");
}

/// Names of the sockets among a process's descriptors.
fn sockets(process: &str) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    targets.filter(|target| target.starts_with("socket:")).collect()
}

/// Sockets of a container's processes, which are its monitors.
fn sockets_of(sleeper: &Sleeper) -> Vec<String> {
    let processes = sleeper.processes();
    assert!(!processes.is_empty(), "`ps` lists the container's process");
    processes.into_iter().flat_map(|process| sockets(&process.to_string())).collect()
}

#[test]
fn a_running_container_listens_nowhere() {
    let sleeper = Sleeper::new(Runtime::krun().unwrap());

    assert_eq!(sockets_of(&sleeper), [""; 0]);
    sleeper.finish();
}

/// What its program has opened the monitor has, too.
#[test]
fn a_monitor_that_listens_is_found() {
    let listen = json!(["/bin/busybox", "nc", "-l", "-p", "7777"]);
    let sleeper = Sleeper::changed(Runtime::krun().unwrap(), |spec| {
        spec["process"]["args"] = listen;
    });

    let is_found = || !sockets_of(&sleeper).is_empty();
    assert!(outcome::eventually(PATIENCE, is_found));
    sleeper.finish();
}

/// This bundle's document made to take long, in several ways.
fn long_documents(bundle: &Bundle) -> Result<[(&'static str, String); 5]> {
    let good = serde_json::to_string(&bundle.spec)?;
    let with = |text: &str| good.replacen("\"TERM=dumb\"", text, 1);
    let levels = 1 << 20;
    let nested = format!("{{\"a\":{}{},", "[".repeat(levels), "]".repeat(levels));
    Ok([
        ("deep", good.replacen('{', &nested, 1)),
        ("doubled", good.replacen('{', &format!("{{{}", "\"x\":1,".repeat(1 << 20)), 1)),
        ("long", with(&format!("\"A={}\"", "x".repeat(60 << 20)))),
        ("longer", with(&format!("\"A={}\"", "x".repeat(70 << 20)))),
        ("many", with(&format!("{}\"A=1\"", "\"A=1\",".repeat(1 << 20)))),
    ])
}

/// Fails unless a runtime has such a document's answer within this time.
fn answers(
    runtime: &Runtime,
    bundle: &Bundle,
    (what, text): &(&str, String),
    patience: Duration,
) -> Result<()> {
    fs::write(bundle.path().join("config.json"), text)?;
    let begin = Instant::now();
    let outcome = run(runtime, bundle)?;
    ensure!(begin.elapsed() < patience, "it took {:?}: {outcome:?}", begin.elapsed());
    // An answer of krun's, not a stack that has overflowed. Linux takes no variable of this length; of members
    // and variables that are called the same, one is left.
    let (status, words) = match *what {
        "deep" => (1, "not valid JSON: recursion limit exceeded"),
        "long" => (1, "Argument list too long"),
        "longer" => (1, "not valid JSON"),
        _ => (0, ""),
    };
    ensure!(outcome.end == End::Exited(status), "another end: {outcome:?}");
    ensure!(outcome.stderr().contains(words), "other words: {outcome:?}");
    Ok(())
}

#[test]
fn a_config_json_made_to_take_long_does_not() {
    let runtime = Runtime::krun().unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    for document in &long_documents(&bundle).unwrap() {
        answers(&runtime, &bundle, document, PATIENCE)
            .unwrap_or_else(|error| panic!("{}: {error:#}", document.0));
    }
}

/// One whose stack ends where a document is deep, and one that takes as long as there are variables, times that.
#[test]
fn a_runtime_that_such_a_config_json_overthrows_is_found() {
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    let documents = long_documents(&bundle).unwrap();
    let [deep, .., many] = &documents;
    let fault = |weakness: &str, document, patience| {
        let careless = Careless::with(weakness).unwrap();
        answers(&careless.runtime, &bundle, document, patience).unwrap_err().to_string()
    };

    let overflow = fault("nesting", deep, PATIENCE);
    assert!(overflow.starts_with("another end: Killed(11)"), "{overflow}");
    let slow = fault("growing", many, Duration::from_secs(2));
    assert!(slow.starts_with("it took "), "{slow}");
}
