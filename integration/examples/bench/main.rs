//! `make bench`: what km and krun cost, beside Linux itself and other runtimes, in one run.
//!
//! Four groups of measurements, each a table: the *life* of a container, single calls (*micro*), programs
//! (*macro*), and *memory*. All contestants take turns, so that whatever else the machine does meets all of
//! them; medians count, and ratios between them say more than they do. A run of all groups writes
//! `docs/benchmarks.md` and its plots. `integration/bench` says how it is called.
//!
//! A contestant that cannot run here, or cannot run one of the programs, is in the tables with its reason.

#![forbid(unsafe_code)]

mod contestants;
mod docker;
mod life;
mod machine;
mod macros;
mod memory;
mod micro;
mod options;
mod place;
mod plot;
mod report;
mod servers;
mod services;
mod specification;
mod tables;
mod targets;
mod view;
mod works;

use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};

use contestants::Contestants;
use options::{Group, Options};
use report::Report;
use tables::Table;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    refuse_shared_mounts()?;
    let others = machine::other_work()?;
    // Before any other child: the peak of krun's memory is that of all children so far.
    let peak = options.groups.contains(&Group::Life).then(life::peak_of_krun).transpose()?;

    let mut tables = Vec::new();
    for group in &options.groups {
        tables.extend(measure(*group, &options)?);
    }
    let report = Report::new(tables, peak, others)?;
    match options.directory() {
        Some(directory) => report.write(&directory)?,
        None => std::io::stdout().write_all(report.text().as_bytes())?,
    }
    Ok(())
}

fn measure(group: Group, options: &Options) -> Result<Vec<Table>> {
    match group {
        Group::Life => life::measure(options),
        Group::Micro => Ok(vec![micro::measure(options)?]),
        Group::Macro => macros::measure(options),
        Group::Memory => Ok(vec![memory::measure(&Contestants::containers()?)?]),
    }
}

/// What is mounted here must not appear in, nor be taken from, the rest of the machine.
fn refuse_shared_mounts() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    ensure!(!mounts.contains(" shared:"), "mounts are shared: call this by integration/bench");
    Ok(())
}

/// Tells whoever waits what is going on.
fn say(what: &str) {
    // Nobody may be there.
    drop(writeln!(std::io::stderr(), "bench: {what}"));
}
