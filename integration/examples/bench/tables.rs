//! What was measured: tables of rows, one for each thing that is done, with a cell for each contestant.

use std::collections::BTreeMap;

use integration::outcome::Outcome;

/// What a row's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A time: less is better.
    Nanoseconds,
    /// A throughput: more is better.
    PerSecond,
    /// Memory: less is better.
    Bytes,
}

/// What a contestant did.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// A number of each round.
    Measured(Vec<f64>),
    /// Why there is none.
    Failed(String),
}

/// One thing that is done by all.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) cells: BTreeMap<String, Cell>,
}

/// A table, whose ratios are to one of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its name in links and in the names of files.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// What a reader must know to understand it.
    pub(crate) text: String,
    pub(crate) columns: Vec<String>,
    pub(crate) baseline: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Row {
    pub(crate) fn new(name: &str, unit: Unit) -> Self {
        Self { name: name.to_owned(), unit, cells: BTreeMap::new() }
    }

    /// Adds a round's number, unless the contestant has failed.
    pub(crate) fn add(&mut self, contestant: &str, number: f64) {
        let cell = self.cells.entry(contestant.to_owned());
        if let Cell::Measured(numbers) = cell.or_insert_with(|| Cell::Measured(Vec::new())) {
            numbers.push(number);
        }
    }

    /// Notes why a contestant has no numbers.
    pub(crate) fn fail(&mut self, contestant: &str, reason: &str) {
        self.cells.insert(contestant.to_owned(), Cell::Failed(reason.to_owned()));
    }

    /// Whether a contestant has failed here.
    pub(crate) fn has_failed(&self, contestant: &str) -> bool {
        matches!(self.cells.get(contestant), Some(Cell::Failed(_)))
    }

    /// The median of a contestant's rounds.
    pub(crate) fn median(&self, contestant: &str) -> Option<f64> {
        match self.cells.get(contestant)? {
            Cell::Measured(numbers) => median(numbers),
            Cell::Failed(_) => None,
        }
    }

    /// A contestant's median as a multiple of another's.
    pub(crate) fn ratio(&self, contestant: &str, baseline: &str) -> Option<f64> {
        let ratio = self.median(contestant)? / self.median(baseline)?;
        ratio.is_finite().then_some(ratio)
    }

    /// How many times as well a contestant does as another.
    pub(crate) fn speed(&self, contestant: &str, than: &str) -> Option<f64> {
        let ratio = self.ratio(contestant, than)?;
        Some(if self.unit == Unit::PerSecond { ratio } else { ratio.recip() })
    }
}

impl Unit {
    /// A number with a unit that suits it.
    pub(crate) fn show(self, number: f64) -> String {
        const MIB: f64 = 1024.0 * 1024.0;
        match self {
            Self::Nanoseconds if number >= 1e9 => format!("{} s", three_digits(number / 1e9)),
            Self::Nanoseconds if number >= 1e6 => format!("{} ms", three_digits(number / 1e6)),
            Self::Nanoseconds if number >= 1e3 => format!("{} µs", three_digits(number / 1e3)),
            Self::Nanoseconds => format!("{} ns", three_digits(number)),
            Self::PerSecond if number >= 1e4 => format!("{} k/s", three_digits(number / 1e3)),
            Self::PerSecond => format!("{}/s", three_digits(number)),
            Self::Bytes => format!("{} MiB", three_digits(number / MIB)),
        }
    }
}

/// What a failed command says for itself, for [`Cell::Failed`].
pub(crate) fn reason(outcome: &Outcome) -> String {
    let said = outcome.stderr();
    let line = said.lines().find(|line| !line.trim().is_empty());
    line.map_or_else(|| format!("{:?}", outcome.end), |line| line.chars().take(240).collect())
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// A number with as many decimals as mean something.
pub(crate) fn three_digits(number: f64) -> String {
    match number.abs() {
        n if n >= 99.95 => format!("{number:.0}"),
        n if n >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
