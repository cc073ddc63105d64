//! `known-gaps.toml`: tests that pass for runc and not for krun, each with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::groups::Suite;
use super::world::Mode;

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gap: Vec<Gap>,
}

/// One `[[gap]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gap {
    /// The suite's name.
    suite: String,
    /// The program's name and the test's: `hostname: hostname is set correctly`.
    test: String,
    /// `vm`, `native` or `both`.
    mode: String,
    /// Why krun does not pass.
    pub(super) reason: String,
    /// What would have to be made.
    closes: String,
    /// Whether it passes now and then, such as a test that waits for a fixed time.
    #[serde(default)]
    pub(super) sometimes: bool,
}

/// A test, and how krun runs it.
pub(super) type Place = (Suite, String, Mode);

/// Tests that are known to fail.
#[derive(Debug, Default)]
pub(super) struct KnownGaps(BTreeMap<Place, Gap>);

impl KnownGaps {
    /// Reads the list beside this crate.
    pub(super) fn read() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("known-gaps.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut gaps = BTreeMap::new();
        for gap in file.gap {
            let suite = Suite::ALL.into_iter().find(|suite| suite.name() == gap.suite);
            let suite = suite.with_context(|| format!("there is no suite {:?}", gap.suite))?;
            let modes = match gap.mode.as_str() {
                "vm" => &Mode::OURS[..1],
                "native" => &Mode::OURS[1..],
                "both" => &Mode::OURS[..],
                other => anyhow::bail!("{:?}: mode is {other:?}, not vm, native or both", gap.test),
            };
            for text in [&gap.reason, &gap.closes] {
                ensure!(
                    !text.trim().is_empty(),
                    "{:?} does not say why, or what closes it",
                    gap.test
                );
            }
            for mode in modes {
                let place = (suite, gap.test.clone(), *mode);
                let earlier = gaps.insert(place, gap.clone());
                ensure!(earlier.is_none(), "{:?} is listed twice", gap.test);
            }
        }
        Ok(Self(gaps))
    }

    /// The gap at this place.
    pub(super) fn get(&self, place: &Place) -> Option<&Gap> {
        self.0.get(place)
    }

    /// All places.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(test: &str, mode: &str) -> String {
        format!(
            "[[gap]]\nsuite = 'runc'\ntest = '{test}'\nmode = '{mode}'\nreason = 'why'\ncloses = 'what'\n"
        )
    }

    #[test]
    fn a_gap_is_one_of_a_mode_or_of_both() {
        let gaps = KnownGaps::parse(&(gap("a: b", "vm") + &gap("a: c", "both"))).unwrap();

        let at = |test: &str, mode| gaps.get(&(Suite::Runc, test.to_owned(), mode)).is_some();
        assert!(at("a: b", Mode::Vm) && !at("a: b", Mode::Native));
        assert!(at("a: c", Mode::Vm) && at("a: c", Mode::Native));
        assert_eq!(gaps.places().count(), 3);
    }

    #[test]
    fn gaps_that_cannot_be_are_refused() {
        let cases = [
            (gap("a", "vm").replace("runc", "youki"), "no suite"),
            (gap("a", "vm") + &gap("a", "both"), "twice"),
            (gap("a", "all"), "not vm, native or both"),
            (gap("a", "vm").replace("why", " "), "does not say why"),
            (gap("a", "vm").replace("closes", "closed"), "unknown field"),
        ];
        for (text, words) in cases {
            let message = format!("{:#}", KnownGaps::parse(&text).unwrap_err());
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }
}
