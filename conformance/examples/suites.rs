//! `make conformance`: other people's suites for runc, crun and krun.
//!
//!     suites [--quick] [runtime-tools|runc|crun]... [--only PROGRAM]
//!
//! Whole suites write `conformance/RESULTS.md`, which then has these alone; less than that goes to
//! standard output.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use conformance::suites::{self, Scope, Suite};

const USAGE: &str = "usage: [--quick] [runtime-tools|runc|crun]... [--only PROGRAM]";

fn main() -> Result<()> {
    let mut scope = Scope::Everything;
    let mut chosen = Vec::new();
    let mut only = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match Suite::ALL.into_iter().find(|suite| suite.name() == word) {
            Some(suite) => chosen.push(suite),
            None if word == "--quick" => scope = Scope::Quick,
            None if word == "--only" => only = words.next(),
            None => bail!("{word:?} is no suite: {USAGE}"),
        }
    }
    let chosen = if chosen.is_empty() { Suite::ALL.to_vec() } else { chosen };
    let report = suites::run(&chosen, only.as_deref(), scope)?;

    let mut out = std::io::stdout();
    if only.is_none() && scope == Scope::Everything {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        fs::write(results, report.text()?)?;
    } else {
        out.write_all(report.text()?.as_bytes())?;
    }
    out.write_all(report.summary().as_bytes())?;
    report.judge()
}
