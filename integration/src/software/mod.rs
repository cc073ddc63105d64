//! Suites of other people's programs, each run by runc and by krun and compared test by test.
//!
//! `integration/software/README.md` says what a suite is. Here is what happens to one: the image
//! is checked, two containers run one after the other, each in a throw-away overlay of it, and
//! the two lists of results are compared. Whatever the suite printed and reported stays in
//! `target/software/out/SUITE/RUNTIME`, for whoever reads a failure.

mod container;
mod image;
mod known_failures;
mod log;
mod results;
mod spec;
mod verdict;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::built;
use crate::outcome::End;
use crate::runtime::Runtime;
use known_failures::KnownFailures;
use results::Results;

/// A suite that runs longer hangs. Two of these fit into what the test runner gives a test.
const TIME_LIMIT: Duration = Duration::from_mins(10);

/// The variable that says how much of the long suites runs: `all` or, without it, `third`.
const SHARE: &str = "KRUN_SUITES";

/// How much of the suites that are lists of files or programs is run. Those that are one program are
/// always run whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// As much as `make test` has time for.
    Third,
    /// What `make suites` runs.
    All,
}

impl Share {
    fn asked() -> Result<Self> {
        match std::env::var(SHARE).as_deref() {
            Err(std::env::VarError::NotPresent) | Ok("third") => Ok(Self::Third),
            Ok("all") => Ok(Self::All),
            other => bail!("{SHARE}: found {other:?}, expected \"all\" or \"third\""),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Third => "third",
            Self::All => "all",
        })
    }
}

/// The directory of the suites, the image's recipe and the known failures.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("software")
}

/// The image's root filesystem. It is not to be written to.
pub fn image() -> Result<PathBuf> {
    image::find()
}

/// Names of all suites, which are the names of their scripts.
pub fn suites() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory().join("suites"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Fails when a row of the list of known failures cannot be one.
pub fn check_known_failures() -> Result<()> {
    KnownFailures::read(&directory(), &suites()?).map(drop)
}

/// Runs a suite by runc and by krun, and returns the counts, or fails with every difference.
pub fn compare(suite: &str) -> Result<String> {
    let known = KnownFailures::read(&directory(), &suites()?)?;
    let image = image::find()?;
    let out = built::target_dir()?.join("software/out").join(suite);
    let share = Share::asked()?;

    let runc = run(&Runtime::runc()?, suite, share, &image, &out.join("runc"))?;
    let krun = run(&Runtime::krun()?, suite, share, &image, &out.join("krun"))?;

    let verdict = verdict::compare(share, &runc, &krun, &known.of(suite));
    let log = out.join("krun/log");
    ensure!(
        verdict.problems.is_empty(),
        "{suite}: {verdict}\n{}\n{}",
        verdict.problems.join("\n"),
        log::tail(&log)
    );
    Ok(format!("{suite}, {share}: {verdict}"))
}

/// Runs a suite to its end by one runtime, and returns what its tests said.
fn run(runtime: &Runtime, suite: &str, share: Share, image: &Path, out: &Path) -> Result<Results> {
    let container = container::Container::new(suite, share, image, out)?;
    let end = container.run(runtime, TIME_LIMIT)?;
    let name = runtime.program().display();
    let tail = || log::tail(&container.log());
    let end = end.with_context(|| {
        format!("{suite} by {name} has not ended within {TIME_LIMIT:?}\n{}", tail())
    })?;
    ensure!(end == End::Exited(0), "{suite} by {name} ended as {end:?}\n{}", tail());

    let text = fs::read_to_string(container.results())
        .with_context(|| format!("{suite} by {name} has no results\n{}", tail()))?;
    Results::parse(&text).with_context(|| format!("{suite} by {name}\n{}", tail()))
}
