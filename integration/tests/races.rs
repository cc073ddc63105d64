//! Containers are made while another one, with which they share a volume, changes what lies in it: at each moment a
//! name of the volume's is a directory or a link that leads out.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use integration::bundle::Bundle;
use integration::careless::Careless;
use integration::outcome::Outcome;
use integration::runtime::Runtime;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use serde_json::{Value, json};
use tempfile::TempDir;

/// For how long containers of one kind are made, by each of krun's ways.
const WHILE: Duration = Duration::from_millis(900);

/// For how long at most a weakness is looked for that is there.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is said where the other container has won.
const ESCAPE: &str = "outside of the container";

/// Two names in a directory that change places all the time.
struct Swapped {
    directory: TempDir,
}

impl Swapped {
    fn new() -> Result<Self> {
        // Not below /tmp, where the container has a mount of its own.
        Ok(Self {
            directory: tempfile::Builder::new().prefix("krun-swapped").tempdir_in("/var/tmp")?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Swaps `one` and `other` for as long as `work` takes.
    fn during<T>(&self, one: &str, other: &str, work: impl FnOnce() -> T) -> T {
        let [one, other] = [one, other].map(|name| self.path(name));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // What goes wrong here is seen below: nothing is ever found in the other place.
                    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).ok();
                }
            });
            let _end = OverAtTheEnd(&is_over);
            work()
        })
    }
}

/// Says that it is over, also where the work has panicked.
struct OverAtTheEnd<'a>(&'a AtomicBool);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything in a directory, with what is in its files.
fn look(directory: &Path) -> Result<BTreeMap<String, Option<String>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let content = fs::read_to_string(entry.path()).ok();
        found.insert(entry.file_name().to_string_lossy().into_owned(), content);
    }
    Ok(found)
}

/// How often a container was there, and was not.
#[derive(Debug, Default)]
struct Count {
    made: u32,
    refused: u32,
}

/// Makes containers until the time is over and they are enough to say something, and judges each.
fn make(
    runtime: &Runtime,
    bundle: &Bundle,
    (time, is_enough): (Duration, fn(&Count) -> bool),
    judge: impl Fn(&Outcome) -> Result<()>,
) -> Result<Count> {
    let path = bundle.path().to_str().context("a path in UTF-8")?;
    let began = Instant::now();
    let mut count = Count::default();
    while began.elapsed() < time || (!is_enough(&count) && began.elapsed() < PATIENCE) {
        let outcome = runtime.call(["run", "--bundle", path, "race"])?;
        drop(runtime.call(["delete", "--force", "race"])?);
        judge(&outcome)?;
        *(if outcome.is_success() { &mut count.made } else { &mut count.refused }) += 1;
    }
    bundle.footprint.ensure_nothing_is_left()?;
    Ok(count)
}

/// Shows where the program is, and all that is mounted.
const SHOW: &str = "readlink /proc/self/cwd; cat /proc/self/mountinfo";

/// What a container may be given in the volume, which is at `/vol`.
const KINDS: [&str; 7] = ["tmpfs", "tmpfs below", "directory", "file", "cgroup", "work", "device"];

/// Asks for something of this kind where the volume has a directory or a link.
fn ask(kind: &str, source: &Path, spec: &mut Value) {
    let mount = |destination: &str, kind: &str, source: &Path| {
        let options = if kind == "bind" { json!(["bind"]) } else { json!([]) };
        json!({"destination": destination, "type": kind, "source": source, "options": options})
    };
    let wish = match kind {
        "tmpfs" => mount("/vol/swap", "tmpfs", Path::new("race")),
        "tmpfs below" => mount("/vol/swap/made/below", "tmpfs", Path::new("race")),
        "directory" => mount("/vol/swap/directory", "bind", &source.join("directory/race")),
        "file" => mount("/vol/swap/file", "bind", &source.join("race")),
        "cgroup" => mount("/vol/swap/cgroup", "cgroup", Path::new("race")),
        "work" => {
            spec["process"]["cwd"] = json!("/vol/swap/work");
            return;
        }
        _ => {
            spec["linux"]["devices"] =
                json!([{"path": "/vol/swap/null", "type": "c", "major": 1, "minor": 3}]);
            return;
        }
    };
    spec["mounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(wish.clone()));
}

/// Whether a container sees what it was to be given, be it where the link leads within its root.
fn has(kind: &str, shown: &str) -> bool {
    match kind {
        "tmpfs" | "tmpfs below" => shown.contains(" - tmpfs race "),
        "directory" | "file" => shown.contains("/race /"),
        "cgroup" => shown.contains("/cgroup/"),
        "work" => shown.lines().next().is_some_and(|cwd| cwd.ends_with("/work")),
        _ => true,
    }
}

/// Makes containers with this in a volume of which a name is swapped.
fn race(runtime: &Runtime, kind: &str, time: Duration) -> Result<Count> {
    let volume = Swapped::new()?;
    let outside = tempfile::Builder::new().prefix("krun-outside").tempdir_in("/var/tmp")?;
    fs::write(outside.path().join("file"), "the host's")?;
    fs::create_dir(volume.path("swap"))?;
    symlink(outside.path(), volume.path("link"))?;
    let mut bundle = Bundle::with_args(&["/bin/sh", "-c", SHOW])?;
    let source = bundle.path().join("source");
    fs::create_dir_all(source.join("directory/race"))?;
    fs::write(source.join("race"), "")?;
    fs::create_dir(bundle.in_rootfs("vol"))?;
    let before = look(outside.path())?;
    bundle.change(|spec| {
        let shared = json!({"destination": "/vol", "type": "bind", "options": ["rbind"],
                            "source": volume.directory.path()});
        spec["mounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(shared.clone()));
        ask(kind, &source, spec);
    })?;
    let judge = |outcome: &Outcome| {
        let found = look(outside.path())?;
        ensure!(found == before, "{ESCAPE}: {before:?} became {found:?}: {outcome:?}");
        let shown = outcome.stdout();
        let is_outside =
            shown.contains("(unreachable)") || outcome.is_success() && !has(kind, &shown);
        ensure!(!is_outside, "{ESCAPE}: {outcome:?}");
        Ok(())
    };
    // A cgroup stands for many mounts, all of which would have to find the directory.
    let is_enough =
        if kind == "cgroup" { |_: &Count| true } else { |count: &Count| count.made > 0 };
    let count =
        volume.during("swap", "link", || make(runtime, &bundle, (time, is_enough), judge))?;
    let mounted = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounted.contains(&*outside.path().to_string_lossy()), "{ESCAPE}: {mounted}");
    Ok(count)
}

fn both() -> Result<[Runtime; 2]> {
    Ok([Runtime::krun()?, Runtime::krun_natively()?])
}

#[test]
fn no_mount_is_led_out_by_a_directory_that_becomes_a_link() {
    for runtime in both().unwrap() {
        for kind in KINDS {
            let count =
                race(&runtime, kind, WHILE).unwrap_or_else(|error| panic!("{kind}: {error:#}"));

            assert!(count.made > 0 || kind == "cgroup", "{kind}: {count:?}");
        }
    }
}

#[test]
fn a_runtime_that_such_a_directory_leads_out_is_found() {
    for kind in ["tmpfs", "tmpfs below", "file"] {
        let careless = Careless::with("races").unwrap();

        let found = race(&careless.runtime, kind, PATIENCE).map_err(|error| format!("{error:#}"));

        assert!(found.as_ref().is_err_and(|words| words.contains(ESCAPE)), "{kind}: {found:?}");
    }
}

/// Makes containers whose `/dev` is a volume in which `null` is swapped for a link to what is to be masked from them.
fn race_for_null(runtime: &Runtime, time: Duration) -> Result<Count> {
    let volume = Swapped::new()?;
    let mut bundle = Bundle::with_args(&["/bin/cat", "/data/masked"])?;
    for name in ["masked", "secret"] {
        fs::write(bundle.in_rootfs("data").join(name), format!("the {name} file's"))?;
    }
    make_null(&volume.path("null"))?;
    symlink("/data/secret", volume.path("link"))?;
    bundle.change(|spec| {
        spec["mounts"][1] = json!({"destination": "/dev", "type": "bind", "options": ["rbind"],
                                   "source": volume.directory.path()});
        spec["linux"]["maskedPaths"] = json!(["/data/masked"]);
    })?;
    let judge = |outcome: &Outcome| {
        let shown = outcome.stdout();
        ensure!(shown.is_empty(), "{ESCAPE}: {outcome:?}");
        Ok(())
    };
    let is_enough = |count: &Count| count.made > 0 && count.refused > 0;
    volume.during("null", "link", || make(runtime, &bundle, (time, is_enough), judge))
}

fn make_null(path: &Path) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).context("mknod null")
}

#[test]
fn no_null_device_that_becomes_a_link_uncovers_what_is_masked() {
    for runtime in both().unwrap() {
        let count = race_for_null(&runtime, 2 * WHILE).unwrap();

        assert!(count.made > 0 && count.refused > 0, "{count:?}");
    }
}

#[test]
fn a_runtime_that_such_a_device_deceives_is_found() {
    let careless = Careless::with("null").unwrap();

    let found = race_for_null(&careless.runtime, PATIENCE).map_err(|error| format!("{error:#}"));

    assert!(found.as_ref().is_err_and(|words| words.contains(ESCAPE)), "{found:?}");
}
