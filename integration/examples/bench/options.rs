//! The command line: `bench [--rounds N] [--output DIRECTORY] [GROUP…]`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where a run of everything is written.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Life,
    Micro,
    Macro,
    Memory,
}

/// Every group, with its name, in the order of measuring.
const GROUPS: [(&str, Group); 4] = [
    ("life", Group::Life),
    ("micro", Group::Micro),
    ("macro", Group::Macro),
    ("memory", Group::Memory),
];

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) groups: Vec<Group>,
    rounds: Option<usize>,
    output: Option<PathBuf>,
    is_whole: bool,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { groups: Vec::new(), rounds: None, output: None, is_whole: false };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--rounds" => {
                    let rounds: usize =
                        args.next().unwrap_or_default().parse().context("--rounds")?;
                    options.rounds = Some(rounds.max(1));
                }
                "--output" => options.output = Some(args.next().context("--output")?.into()),
                name => options.groups.push(group(name)?),
            }
        }
        if options.groups.is_empty() {
            options.groups = GROUPS.map(|(_, group)| group).into();
            options.is_whole = true;
        }
        Ok(options)
    }

    /// Rounds of a measurement that by itself makes this many.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(usual)
    }

    /// Where the report goes; a part of it goes to standard output.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        let whole = (self.is_whole && self.rounds.is_none()).then(|| Path::new(DOCS).to_owned());
        self.output.clone().or(whole)
    }
}

fn group(name: &str) -> Result<Group> {
    match GROUPS.iter().find(|(known, _)| *known == name) {
        Some((_, group)) => Ok(*group),
        None => {
            bail!("{name}: expected life, micro, macro, memory, --rounds N or --output DIRECTORY")
        }
    }
}
