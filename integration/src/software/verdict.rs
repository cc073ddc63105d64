//! Compares what a suite's tests say by runc and by krun.

use std::collections::BTreeSet;
use std::fmt;

use super::Share;
use super::results::{Results, Said};

/// One in so many tests of a suite may be a known failure: 2 %.
const TESTS_PER_KNOWN_FAILURE: usize = 50;

/// How the results of krun compare to those of runc.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    passed: usize,
    by_neither: usize,
    by_krun_only: usize,
    listed: usize,
    /// What must not be, one line each.
    pub(super) problems: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, by_neither, by_krun_only, listed, problems } = self;
        write!(f, "passed by both {passed}, failed/skipped by both {by_neither}, listed {listed}")?;
        if *by_krun_only > 0 {
            write!(f, ", passed by krun only {by_krun_only}")?;
        }
        if !problems.is_empty() {
            write!(f, ", problems {}", problems.len())?;
        }
        Ok(())
    }
}

/// Compares the results of this share of one suite, of which these tests are known to fail by krun.
pub(super) fn compare(
    share: Share,
    runc: &Results,
    krun: &Results,
    known: &BTreeSet<&str>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let tests: BTreeSet<_> = runc.0.keys().chain(krun.0.keys()).map(String::as_str).collect();
    for test in &tests {
        verdict.judge(test, runc.of(test), krun.of(test), known.contains(test));
    }
    if share == Share::Third {
        // What is listed can be in the rest.
        return verdict;
    }
    for test in known.difference(&tests) {
        verdict.problems.push(format!("listed, and no such test: {test}"));
    }
    if known.len() * TESTS_PER_KNOWN_FAILURE > tests.len() {
        let (known, tests) = (known.len(), tests.len());
        verdict.problems.push(format!("{known} of {tests} tests are listed, more than 2 %"));
    }
    verdict
}

impl Verdict {
    fn judge(&mut self, test: &str, runc: Option<Said>, krun: Option<Said>, is_listed: bool) {
        match (runc, krun, is_listed) {
            (_, Some(Said::Ok), true) => {
                self.problems.push(format!("listed in known-failures.toml, and passes: {test}"));
            }
            (Some(Said::Ok), Some(Said::Ok), false) => self.passed += 1,
            (Some(Said::Ok), _, true) => self.listed += 1,
            (Some(Said::Ok), krun, false) => {
                self.problems.push(format!("{}: {test}", by_krun(krun)));
            }
            (Some(Said::Failed | Said::Skipped), Some(Said::Ok), false) => self.by_krun_only += 1,
            (Some(Said::Failed | Said::Skipped), _, _) => self.by_neither += 1,
            (None, _, _) => self.problems.push(format!("not reported by runc: {test}")),
        }
    }
}

/// What krun made of a test that passes by runc.
fn by_krun(said: Option<Said>) -> &'static str {
    match said {
        Some(Said::Ok) => "passes",
        Some(Said::Failed) => "fails",
        Some(Said::Skipped) => "is skipped",
        None => "is not reported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares results that are written as a suite writes them.
    fn judge(runc: &str, krun: &str, known: &[&str]) -> Verdict {
        let parse = |text| Results::parse(text).unwrap();
        compare(Share::All, &parse(runc), &parse(krun), &known.iter().copied().collect())
    }

    /// Fifty tests that pass, so that one may be listed.
    fn fifty() -> String {
        let lines: Vec<_> = (0..50).map(|n| format!("ok {n}\n")).collect();
        lines.concat()
    }

    #[track_caller]
    fn assert_one_problem(verdict: &Verdict, words: &str) {
        let one = verdict.problems.len() == 1 && verdict.problems[0].contains(words);
        assert!(one, "{:?} is not one problem with {words:?}", verdict.problems);
    }

    #[test]
    fn equal_results_have_no_problem_and_are_counted() {
        let results = "ok a\nok b\nfailed c\nskipped d\n";

        let verdict = judge(results, results, &[]);

        assert!(verdict.problems.is_empty(), "{verdict:?}");
        let counts = "passed by both 2, failed/skipped by both 2, listed 0";
        assert_eq!(verdict.to_string(), counts);
    }

    #[test]
    fn a_test_that_only_runc_passes_is_a_problem() {
        assert_one_problem(&judge("ok a", "failed a", &[]), "fails: a");
        assert_one_problem(&judge("ok a", "skipped a", &[]), "is skipped: a");
        assert_one_problem(&judge("ok a\nok b", "ok b", &[]), "is not reported: a");
    }

    #[test]
    fn every_difference_is_told() {
        let verdict = judge("ok a\nok b\nok c", "failed a\nok b\nskipped c", &[]);

        assert_eq!(verdict.problems, ["fails: a", "is skipped: c"]);
    }

    #[test]
    fn what_runc_does_not_pass_says_nothing() {
        let verdict = judge("failed a\nskipped b\nfailed c", "ok a\nfailed b", &[]);

        assert!(verdict.problems.is_empty(), "{verdict:?}");
        assert_eq!((verdict.by_krun_only, verdict.by_neither), (1, 2));
    }

    #[test]
    fn a_test_that_only_krun_reports_is_a_problem() {
        assert_one_problem(&judge("ok a", "ok a\nok b", &[]), "not reported by runc: b");
        assert_one_problem(&judge("ok a", "ok a\nfailed b", &[]), "not reported by runc: b");
    }

    #[test]
    fn a_listed_test_may_fail() {
        for krun in ["failed bad\n", "skipped bad\n", ""] {
            let verdict = judge(&(fifty() + "ok bad\n"), &(fifty() + krun), &["bad"]);

            assert!(verdict.problems.is_empty(), "{verdict:?}");
            assert_eq!((verdict.passed, verdict.listed), (50, 1));
        }
    }

    #[test]
    fn a_listed_test_that_passes_is_a_problem() {
        let verdict = judge(&fifty(), &fifty(), &["7"]);

        assert_one_problem(&verdict, "listed in known-failures.toml, and passes: 7");
    }

    #[test]
    fn a_listed_test_that_does_not_exist_is_a_problem() {
        assert_one_problem(&judge(&fifty(), &fifty(), &["old"]), "no such test: old");
    }

    #[test]
    fn a_listed_test_can_be_in_the_rest_of_the_suite() {
        let results = Results::parse("ok a").unwrap();

        let verdict = compare(Share::Third, &results, &results, &["rest"].into());

        assert!(verdict.problems.is_empty(), "{verdict:?}");
    }

    #[test]
    fn more_than_one_listed_test_in_fifty_is_a_problem() {
        let fine = fifty().replace("ok 49\n", "");
        let verdict = judge(&(fine.clone() + "ok bad\n"), &(fine + "failed bad\n"), &["bad"]);
        assert!(verdict.problems.is_empty(), "{verdict:?}");

        let fine = fifty().replace("ok 48\nok 49\n", "");
        let verdict = judge(&(fine.clone() + "ok bad\n"), &(fine + "failed bad\n"), &["bad"]);
        assert_one_problem(&verdict, "1 of 49 tests are listed");
    }
}
