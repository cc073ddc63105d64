//! `make conformance`: other people's suites for runc, crun and krun.
//!
//!     suites [--quick] [--resume] [runtime-tools|runc|crun|podman]... [--only PROGRAM]
//!
//! Whole suites write `conformance/RESULTS.md`, which then has these alone; less than that goes to
//! standard output. What a run with this krun has found, `--resume` does not run again: it goes on where a
//! run ended that was killed.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use conformance::suites::{self, Choice, Scope, Suite};

const USAGE: &str =
    "usage: [--quick] [--resume] [runtime-tools|runc|crun|podman]... [--only PROGRAM]";

fn main() -> Result<()> {
    let choice = choice(std::env::args().skip(1))?;
    let is_whole = choice.is_whole();
    let report = suites::run(choice)?;

    let mut out = std::io::stdout();
    if is_whole {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        fs::write(results, report.text()?)?;
    } else {
        out.write_all(report.text()?.as_bytes())?;
    }
    out.write_all(report.summary().as_bytes())?;
    report.judge()
}

fn choice(mut words: impl Iterator<Item = String>) -> Result<Choice> {
    let mut choice =
        Choice { suites: Vec::new(), only: None, scope: Scope::Everything, resume: false };
    while let Some(word) = words.next() {
        match Suite::ALL.into_iter().find(|suite| suite.name() == word) {
            Some(suite) => choice.suites.push(suite),
            None if word == "--quick" => choice.scope = Scope::Quick,
            None if word == "--resume" => choice.resume = true,
            None if word == "--only" => {
                choice.only = Some(words.next().with_context(|| format!("--only what? {USAGE}"))?);
            }
            None => bail!("{word:?} is no suite: {USAGE}"),
        }
    }
    if choice.suites.is_empty() {
        choice.suites = Suite::ALL.to_vec();
    }
    Ok(choice)
}
