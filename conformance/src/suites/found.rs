//! What a program reported, kept in a file, so that a run that ended early can be taken up again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use integration::built;
use serde::{Deserialize, Serialize};

use super::groups::{self, Group};
use super::tap::{Point, Verdict};
use super::world::Mode;

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

    /// Writes the file.
    pub(super) fn keep(&self, group: &Group, mode: Mode) -> Result<()> {
        let path = file(group, mode)?;
        let place = path.parent().context("a file has a directory")?;
        fs::create_dir_all(place)?;
        // A run may be killed at any moment: there is the whole file or none.
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(&unfinished, &path).with_context(|| format!("write {}", path.display()))
    }

    /// What is in the file, unless what was judged, or what judges, is newer.
    pub(super) fn kept(group: &Group, mode: Mode) -> Result<Option<Self>> {
        let path = file(group, mode)?;
        let Ok(written) = fs::metadata(&path).and_then(|file| file.modified()) else {
            return Ok(None);
        };
        for other in judged()? {
            let changed = fs::metadata(&other).and_then(|file| file.modified());
            if changed.with_context(|| format!("look at {}", other.display()))? > written {
                return Ok(None);
            }
        }
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).map(Some).with_context(|| path.display().to_string())
    }
}

fn file(group: &Group, mode: Mode) -> Result<PathBuf> {
    let name = format!("{}.{}", group.name, mode.name());
    Ok(groups::directory()?.join("found").join(group.suite.name()).join(name))
}

/// What a result depends on.
fn judged() -> Result<[PathBuf; 5]> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipe = groups::directory()?.join("recipe");
    Ok([built::krun()?, built::km()?, ours.join("world"), ours.join("as-crun"), recipe])
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
}
