//! Attacks that other runtimes fell for, on the side of the host: links in the image, working directories that are
//! descriptors, names that are paths, wishes of the image's own. Each look for damage is first shown to find some.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use integration::bundle::Bundle;
use integration::outcome::Outcome;
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use serde_json::json;
use tempfile::TempDir;

/// Directories that runtimes work in before the program runs, and those that other monitors' helpers used.
const PLACES: [&str; 8] = ["dev", "proc", "sys", "etc", "tmp", "run", "bin/../opt", "opt"];

/// Files by which other runtimes let an image choose its isolation.
const WISHES: [&str; 5] = [".krun_config.json", ".krun_vm.json", ".kontain", "kmsnap", "krun.toml"];

/// How long a bundle that is made to take long may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of the host's that nobody may change.
struct Canary(TempDir);

impl Canary {
    fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("krun-canary").tempdir()?;
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
    let place = bundle.in_rootfs(place.trim_start_matches("bin/../"));
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

fn both() -> [Runtime; 2] {
    let native = Runtime::krun_natively().expect("krun is built");
    [Runtime::krun().expect("krun is built"), native]
}

#[test]
fn links_of_an_image_lead_to_no_directory_of_the_hosts() {
    for runtime in both() {
        for place in PLACES {
            let canary = Canary::new().unwrap();
            let before = canary.look().unwrap();
            let absolute = canary.0.path().to_owned();
            let relative = Path::new("../../../../../..").join(absolute.strip_prefix("/").unwrap());
            for target in [absolute, relative] {
                let bundle =
                    Bundle::with_args(&["/bin/sh", "-c", "echo x > /tmp/y; : > /dev/z"]).unwrap();
                replace_by_link(&bundle, place, &target).unwrap();

                drop(run(&runtime, &bundle).unwrap());

                assert_eq!(canary.look().unwrap(), before, "{place} by {}", target.display());
            }
        }
    }
}

/// The look finds what a runtime does that puts paths together as texts.
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
    for runtime in both() {
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
        for number in 3..20 {
            let cwd = format!("/proc/self/fd/{number}");
            let outcome = sleeper.exec(&["--cwd", &cwd, "web", "/bin/sh", "-c", &script], None);

            assert!(!outcome.stdout().contains("the host's"), "{outcome:?}");
        }
        sleeper.finish();
    }
}

#[test]
fn a_cgroups_path_leads_out_of_no_hierarchy() {
    let name = format!("krun-escape-{}", std::process::id());
    let runtime = Runtime::krun().unwrap();
    for path in [format!("/../{name}"), format!("../../{name}"), format!("/a/../../../{name}")] {
        let mut bundle = Bundle::with_args(&["/bin/true"]).unwrap();
        bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!(path)).unwrap();

        let arguments = ["create", "--bundle", bundle.path().to_str().unwrap(), "attack"];
        let outcome = runtime.call(arguments).unwrap();
        let escaped = ["/sys/fs/cgroup", "/sys/fs", "/sys", "/"]
            .map(|directory| Path::new(directory).join(&name));
        let escaped = escaped.iter().filter(|place| place.exists()).collect::<Vec<_>>();
        drop(runtime.call(["delete", "--force", "attack"]).unwrap());

        // Where cgroups are of version 2 alone, the first of these is their top.
        let inside = usize::from(Path::new("/sys/fs/cgroup/cgroup.controllers").exists());
        assert!(escaped.len() <= inside, "{escaped:?}: {outcome:?}");
    }
}

#[test]
fn a_running_container_listens_nowhere() {
    let sleeper = Sleeper::new(Runtime::krun().unwrap());
    for process in sleeper.processes() {
        for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            assert!(!target.starts_with("socket:"), "{}: {target}", entry.path().display());
        }
    }
    sleeper.finish();
}

#[test]
fn a_config_json_made_to_take_long_does_not() {
    let runtime = Runtime::krun().unwrap();
    let bundle = Bundle::with_args(&["/bin/true"]).unwrap();
    let good = serde_json::to_string(&bundle.spec).unwrap();
    let with = |text: &str| good.replacen("\"TERM=dumb\"", text, 1);
    let deep = format!("{{\"a\":{}{}", "[".repeat(1 << 20), good.trim_start_matches('{'));
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
        // Linux takes no variable of this length; of many that are called the same one is left.
        assert_eq!(
            outcome.is_success(),
            ["doubled", "many"].contains(&what),
            "{what}: {outcome:?}"
        );
    }
}
