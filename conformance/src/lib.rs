//! The same steps by runc, then by krun with virtual machines and natively, and what was seen compared.
//!
//! A test is a function of a runtime that returns all that may not differ. runc goes first, so
//! a test that asks for too much fails before it judges krun. What may differ (versions, process
//! numbers, wording that nobody matches on) the test leaves out.

#![forbid(unsafe_code)]

pub mod failures;
pub mod suites;

use std::fmt::Debug;

use anyhow::{Context, Result};
use integration::bundle::Bundle;
use integration::outcome::{End, Outcome};
use integration::runtime::Runtime;

/// Phrases of runc's that engines search its errors for, and act upon.
const PHRASES: [&str; 13] = [
    "does not exist",
    "already exists",
    "container not running",
    "container still running",
    "not stopped",
    "cannot start an already running container",
    "cannot start a container that has stopped",
    "executable file not found in $PATH",
    "no such file or directory",
    "permission denied",
    "is a directory",
    "exec: ",
    "unable to start container process",
];

/// A container's bundle, and the runtime that is to run it.
#[derive(Debug)]
pub struct Stage {
    /// The runtime.
    pub runtime: Runtime,
    /// A bundle that is good, unless the test changes it.
    pub bundle: Bundle,
}

impl Stage {
    /// A bundle that runs `args`.
    pub fn new(runtime: Runtime, args: &[&str]) -> Result<Self> {
        Ok(Self { runtime, bundle: Bundle::with_args(args)? })
    }

    /// Removes all containers. Nothing may be left: no state, cgroup, mount or process.
    pub fn finish(self) -> Result<()> {
        for id in self.runtime.state_entries() {
            self.runtime.must(["delete", "--force", &id])?;
        }
        self.bundle.footprint.ensure_nothing_is_left().context("after the steps")
    }

    /// `create` of the bundle, which must succeed.
    pub fn create(&self, id: &str) -> Result<()> {
        self.runtime.create(self.bundle.path(), id)
    }

    /// A call with `--bundle PATH` between these words and the rest.
    pub fn with_bundle(&self, before: &[&str], after: &[&str]) -> Result<Outcome> {
        let path = self.bundle.path().to_string_lossy();
        self.runtime.call([before, &["--bundle", &path], after].concat())
    }
}

/// Runs the steps by runc and by krun, both ways, and panics unless they return the same.
#[track_caller]
pub fn assert_same<T: PartialEq + Debug>(args: &[&str], steps: impl Fn(&mut Stage) -> Result<T>) {
    let expected = run(Runtime::runc(), args, &steps).expect("runc takes the steps");
    for (how, runtime) in [("krun", Runtime::krun()), ("natively", Runtime::krun_natively())] {
        let got = run(runtime, args, &steps).unwrap_or_else(|error| panic!("{how}: {error:#}"));
        assert!(expected == got, "\n=== runc: {expected:#?}\n=== {how}: {got:#?}");
    }
}

fn run<T>(
    runtime: Result<Runtime>,
    args: &[&str],
    steps: &impl Fn(&mut Stage) -> Result<T>,
) -> Result<T> {
    let mut stage = Stage::new(runtime?, args)?;
    let seen = steps(&mut stage)?;
    stage.finish()?;
    Ok(seen)
}

/// What engines see of a failure: the exit status, and which of runc's phrases are in the text.
pub fn failure(outcome: &Outcome) -> (End, Vec<&'static str>) {
    let text = outcome.stderr();
    (outcome.end, PHRASES.into_iter().filter(|phrase| text.contains(phrase)).collect())
}

/// Whether a text is a time as RFC 3339 writes it: `2026-01-02T03:04:05.678Z`, or with an offset.
pub fn is_time(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd";
    let (Some(moment), Some(rest)) = (text.get(..pattern.len()), text.get(pattern.len()..)) else {
        return false;
    };
    let fits =
        |(one, form): (char, char)| if form == 'd' { one.is_ascii_digit() } else { one == form };
    let zone = rest
        .strip_prefix('.')
        .map_or(rest, |rest| rest.trim_start_matches(|one: char| one.is_ascii_digit()));
    let is_offset =
        |zone: &str| zone.len() == 6 && zone.starts_with(['+', '-']) && zone.find(':') == Some(3);
    moment.chars().zip(pattern.chars()).all(fits) && (zone == "Z" || is_offset(zone))
}

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn a_time_has_a_date_and_a_zone() {
        for text in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.6+01:00"] {
            assert!(is_time(text), "{text}");
        }
        for text in ["", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "ä"] {
            assert!(!is_time(text), "{text}");
        }
    }
}
