//! What a program reported, kept in a file, so that a run that ended early can be taken up again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use integration::{built, outcome};
use serde::{Deserialize, Serialize};

use super::groups::{self, Group};
use super::tap::{Point, Verdict};
use super::world::{self, Mode};

/// What a program reported for one runtime.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Its tests.
    pub(super) points: Vec<Point>,
    /// How often it was run.
    pub(super) tries: usize,
    /// Whether a test passed when it was run again.
    pub(super) gained: bool,
    /// How long it ran, all tries together.
    pub(super) time: Duration,
}

impl Found {
    /// Takes one more run of the program in: of several runs one pass of a test is enough.
    pub(super) fn add(&mut self, points: Vec<Point>, time: Duration) {
        let before = self.passed();
        self.points.retain(|(name, verdict)| {
            *verdict == Verdict::Passed || !points.iter().any(|(other, _)| other == name)
        });
        let old = self.points.clone();
        let is_new = |(name, _): &Point| !old.iter().any(|(other, _)| other == name);
        self.points.extend(points.into_iter().filter(is_new));
        self.gained |= self.tries > 0 && self.passed() > before;
        self.tries += 1;
        self.time += time;
    }

    fn passed(&self) -> usize {
        self.points.iter().filter(|(_, verdict)| *verdict == Verdict::Passed).count()
    }

    /// Whether a test failed.
    pub(super) fn has_failure(&self) -> bool {
        self.points.iter().any(|(_, verdict)| *verdict == Verdict::Failed)
    }

    /// Writes the file, of a run that depended on this.
    pub(super) fn keep(&self, judged: Judged, group: &Group, mode: Mode) -> Result<()> {
        let path = file(group, mode)?;
        let place = path.parent().context("a file has a directory")?;
        fs::create_dir_all(place)?;
        // A run may be killed at any moment: there is the whole file or none.
        let unfinished = path.with_extension("unfinished");
        let kept = Kept { judged, found: self.clone() };
        fs::write(&unfinished, serde_json::to_vec(&kept)?)?;
        fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))
    }

    /// What is in the file, if it was found with what would be run now.
    pub(super) fn kept(group: &Group, mode: Mode) -> Result<Option<Self>> {
        let Ok(text) = fs::read(file(group, mode)?) else { return Ok(None) };
        // What an earlier version of this program has written says nothing.
        let kept: Option<Kept> = serde_json::from_slice(&text).ok();
        let now = judged(mode)?;
        Ok(kept.filter(|kept| kept.judged == now).map(|kept| kept.found))
    }
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    judged: Judged,
    found: Found,
}

fn file(group: &Group, mode: Mode) -> Result<PathBuf> {
    let name = format!("{}.{}", group.name, mode.name());
    Ok(groups::directory()?.join("found").join(group.suite.name()).join(name))
}

/// What a result depends on: files with their hashes, and the runtime with its version.
pub(super) type Judged = BTreeMap<String, String>;

/// What the results of this runtime depend on now.
pub(super) fn judged(mode: Mode) -> Result<Judged> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = groups::directory()?;
    let mut files = match mode {
        Mode::Runc | Mode::Crun => vec![mode.program(&directory)?],
        Mode::Vm | Mode::Native => vec![built::krun()?, built::km()?],
    };
    files.extend(["world", "as-crun", "as-runc", "in-podman"].map(|script| ours.join(script)));
    files.push(directory.join("recipe"));
    // Natively it is the same program.
    let runtime = if mode == Mode::Native { Mode::Vm } else { mode };
    let mut judged = BTreeMap::from([(runtime.name().to_owned(), world::version(runtime)?)]);
    for file in files {
        judged.insert(file.display().to_string(), hash(&file)?);
    }
    Ok(judged)
}

/// A state of a file: its path, its length and when it was changed.
type State = (PathBuf, u64, SystemTime);

/// The SHA-256 of a file, computed once for each state of it.
fn hash(file: &Path) -> Result<String> {
    static KNOWN: Mutex<BTreeMap<State, String>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);

    let status = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?;
    let state = (file.to_owned(), status.len(), status.modified()?);
    if let Some(hash) = known().get(&state) {
        return Ok(hash.clone());
    }
    let sum = outcome::run(Command::new("sha256sum").arg("--").arg(file), None)?;
    let hash = sum.stdout().split(' ').next().unwrap_or_default().to_owned();
    ensure!(sum.is_success() && hash.len() == 64, "the hash of {}: {sum:?}", file.display());
    known().insert(state, hash.clone());
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_runs_one_pass_is_enough() {
        let point = |name: &str, verdict| (name.to_owned(), verdict);
        let second = Duration::from_secs(1);
        let mut found = Found::default();

        found.add(vec![point("a", Verdict::Passed), point("b", Verdict::Failed)], second);
        assert!(!found.gained, "{found:?}");
        let again = [("a", Verdict::Failed), ("b", Verdict::Passed), ("c", Verdict::Failed)];
        found.add(again.map(|(name, verdict)| point(name, verdict)).into(), second);

        let expected = [("a", Verdict::Passed), ("b", Verdict::Passed), ("c", Verdict::Failed)];
        assert_eq!(found.points, expected.map(|(name, verdict)| point(name, verdict)));
        assert_eq!((found.tries, found.gained, found.time), (2, true, 2 * second));
    }

    #[test]
    fn a_file_with_another_content_has_another_hash_whatever_its_time() {
        let file = std::env::temp_dir().join(format!("krun-hash-{}", std::process::id()));
        let time = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let hashes = ["one", "other", "one"].map(|text| {
            fs::write(&file, text).unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            hash(&file).unwrap()
        });
        fs::remove_file(file).unwrap();

        assert_eq!(hashes[0], hashes[2]);
        assert_ne!(hashes[0], hashes[1]);
        assert!(hashes.iter().all(|hash| hash.chars().all(|digit| digit.is_ascii_hexdigit())));
    }
}
