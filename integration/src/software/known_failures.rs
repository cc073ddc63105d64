//! `known-failures.toml`: tests that pass by runc and not by krun, each with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    known: Vec<Row>,
}

/// One `[[known]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    suite: String,
    test: String,
    reason: String,
}

/// Tests that are known to fail, by suite.
#[derive(Debug)]
pub(super) struct KnownFailures(BTreeMap<String, BTreeSet<String>>);

impl KnownFailures {
    /// Reads the list in this directory, whose rows may name these suites.
    pub(super) fn read(dir: &Path, suites: &[String]) -> Result<Self> {
        let path = dir.join("known-failures.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text, suites).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, suites: &[String]) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Row { suite, test, reason } in file.known {
            ensure!(suites.contains(&suite), "there is no suite {suite:?}");
            ensure!(!reason.trim().is_empty(), "{suite}: {test:?} has no reason");
            let tests = known.entry(suite.clone()).or_default();
            ensure!(tests.insert(test.clone()), "{suite}: {test:?} is listed twice");
        }
        Ok(Self(known))
    }

    /// Tests of this suite.
    pub(super) fn of(&self, suite: &str) -> BTreeSet<&str> {
        self.0.get(suite).into_iter().flatten().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KnownFailures> {
        KnownFailures::parse(text, &["git".to_owned(), "shell".to_owned()])
    }

    fn row(suite: &str, test: &str) -> String {
        format!("[[known]]\nsuite = '{suite}'\ntest = '{test}'\nreason = 'because'\n")
    }

    #[test]
    fn rows_belong_to_their_suite() {
        let text = row("git", "a") + &row("git", "b c") + &row("shell", "a");

        let known = parse(&text).unwrap();

        assert_eq!(known.of("git"), BTreeSet::from(["a", "b c"]));
        assert_eq!(known.of("shell"), BTreeSet::from(["a"]));
        assert_eq!(known.of("perl"), BTreeSet::new());
    }

    #[test]
    fn a_list_may_be_empty() {
        assert!(parse("# Nothing.\n").unwrap().of("git").is_empty());
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        let cases = [
            (row("perl", "a"), "no suite"),
            (row("git", "a") + &row("git", "a"), "twice"),
            (row("git", "a").replace("because", " "), "no reason"),
            (row("git", "a").replace("reason", "cause"), "unknown field"),
            (row("git", "a").replace("[[known]]", "[[row]]"), "unknown field"),
            ("[[known]]\nsuite = 'git'\ntest = 'a'\n".to_owned(), "missing field"),
        ];
        for (text, words) in cases {
            let message = format!("{:#}", parse(&text).unwrap_err());
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }
}
