//! What a suite reports: one line for each of its tests.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// What a suite says of one of its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ok,
    Failed,
    Skipped,
}

/// What a suite says of all its tests, by name.
#[derive(Debug)]
pub(super) struct Results(pub(super) BTreeMap<String, Said>);

impl Results {
    /// Reads lines `ok NAME`, `failed NAME`, `skipped NAME`.
    ///
    /// A name that comes twice, a line of another form and a list without a line are mistakes of
    /// the suite: a comparison of such results could miss a failure.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut results = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let said = match line.split_once(' ') {
                Some(("ok", _)) => Said::Ok,
                Some(("failed", _)) => Said::Failed,
                Some(("skipped", _)) => Said::Skipped,
                _ => bail!("line {number} of the results is no result: {line:?}"),
            };
            let name = line.split_once(' ').map_or("", |(_, name)| name);
            ensure!(!name.trim().is_empty(), "line {number} of the results names no test");
            let before = results.insert(name.to_owned(), said);
            ensure!(before.is_none(), "the results have two tests with the name {name:?}");
        }
        ensure!(!results.is_empty(), "the results have no test");
        Ok(Self(results))
    }

    /// What is said of a test, if it is reported at all.
    pub(super) fn of(&self, test: &str) -> Option<Said> {
        self.0.get(test).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_line_are_read() {
        let results = Results::parse("ok a\nfailed b c  d\nskipped e\n").unwrap();

        assert_eq!(results.of("a"), Some(Said::Ok));
        assert_eq!(results.of("b c  d"), Some(Said::Failed));
        assert_eq!(results.of("e"), Some(Said::Skipped));
        assert_eq!(results.of("b"), None);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for text in ["", "ok", "ok ", "ok  \n", "passed a", "ok a\n\nok b", "Ok a", " ok a"] {
            assert!(Results::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let message = Results::parse("ok a\nok b\nfailed a").unwrap_err().to_string();

        assert!(message.contains("\"a\""), "{message}");
    }
}
