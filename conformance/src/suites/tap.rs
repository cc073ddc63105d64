//! The Test Anything Protocol, as the suites write it.

use serde::{Deserialize, Serialize};

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It passed.
    Passed,
    /// It failed, took too long, or did not come to its turn.
    Failed,
    /// It did not apply, and said so.
    Skipped,
}

/// A test's name, and what became of it.
pub(super) type Point = (String, Verdict);

/// The tests that a program has reported. The second of one name is `name (2)`.
pub(super) fn points(output: &str) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for (name, verdict) in output.lines().filter_map(point) {
        let same = |(earlier, _): &&Point| {
            earlier.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_number(rest))
        };
        let name = match points.iter().filter(same).count() {
            0 => name.to_owned(),
            n => format!("{name} ({})", n + 1),
        };
        points.push((name, verdict));
    }
    points
}

/// Whether these are the words that [`points`] appends.
fn is_number(words: &str) -> bool {
    let number = words.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// Whether a plan was announced, and as many tests reported.
pub(super) fn keeps_its_plan(output: &str) -> bool {
    let plan = output.lines().find_map(|line| line.strip_prefix("1..")?.trim().parse().ok());
    plan.is_none_or(|plan: usize| plan == output.lines().filter_map(point).count())
}

/// `ok 7 - name # SKIP reason`, with or without the dash and the reason.
fn point(line: &str) -> Option<(&str, Verdict)> {
    let (passed, rest) = match line.strip_prefix("ok ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("not ok ")?),
    };
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let text = rest[end..].trim_start().trim_start_matches("- ");
    let (name, directive) = match text.rfind('#') {
        Some(place) => (&text[..place], text[place + 1..].trim().to_lowercase()),
        None => (text, String::new()),
    };
    let is = |word: &str| directive.starts_with(word);
    let verdict = match passed {
        true if is("skip") => Verdict::Skipped,
        true => Verdict::Passed,
        false if is("todo") => Verdict::Skipped,
        false => Verdict::Failed,
    };
    let has_directive = ["skip", "todo", "timeout"].into_iter().any(is);
    let name = if has_directive { name } else { text };
    // A test that is skipped may have no name but its reason.
    Some((if name.trim().is_empty() { text } else { name.trim() }, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_three_dialects_are_understood() {
        let cases = [
            ("ok 1 - has expected hostname", "has expected hostname", Verdict::Passed),
            ("not ok 13 - has soft limit", "has soft limit", Verdict::Failed),
            ("ok 2 runc create #1 of 2", "runc create #1 of 2", Verdict::Passed),
            ("ok 3 runc ps # skip test requires root", "runc ps", Verdict::Skipped),
            ("not ok 4 tty # timeout after 60s", "tty", Verdict::Failed),
            ("ok 5 - test-mount #SKIP", "test-mount", Verdict::Skipped),
            ("not ok 6 - later # todo", "later", Verdict::Skipped),
            ("ok 7 - # SKIP no sysctl", "# SKIP no sysctl", Verdict::Skipped),
        ];
        for (line, name, verdict) in cases {
            assert_eq!(points(line), [(name.to_owned(), verdict)], "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_tests() {
        assert_eq!(points("TAP version 13\n  ok 1 - inside\n# ok 2\nokay 3\n1..0\n"), []);
    }

    #[test]
    fn tests_of_one_name_are_counted() {
        let names = points("ok 1 - a\nnot ok 2 - a\nok 3 - ab\nok 4 - a\n");

        let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "a (2)", "ab", "a (3)"]);
    }

    #[test]
    fn a_plan_is_a_promise() {
        assert!(keeps_its_plan("ok 1 - a\nnot ok 2 - b\n1..2\n"));
        assert!(keeps_its_plan("nothing announced\n"));
        assert!(!keeps_its_plan("1..3\nok 1 a\n"));
    }
}
