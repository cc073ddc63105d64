//! The end of what a suite has printed, for the message of a test that fails.

use std::fs;
use std::path::Path;

/// How many lines are shown.
const LINES: usize = 80;

/// The last lines of a log, below a line that says where all of it is.
pub(super) fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    format!("--- the end of {}\n{}", path.display(), tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let lines: Vec<_> = (0..LINES + 10).map(|n| n.to_string()).collect();
        fs::write(&log, lines.join("\n")).unwrap();

        let tail = tail(&log);

        assert_eq!(tail.lines().count(), LINES + 1, "{tail}");
        assert!(tail.ends_with("\n88\n89"), "{tail}");
    }

    #[test]
    fn a_log_that_does_not_exist_is_empty() {
        assert!(tail(Path::new("/nonexistent/log")).contains("/nonexistent/log"));
    }
}
