//! The report: Markdown, and a plot for each table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tables::{Cell, Row, Table, three_digits};
use crate::{machine, plot, targets};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    tables: Vec<Table>,
    facts: Vec<(String, String)>,
    /// Of krun's memory, in KiB.
    peak: Option<i64>,
}

const INTRODUCTION: &str = "# Benchmarks

Written by `make bench`, which measures everything anew; `integration/bench` runs parts of it. Contestants take
turns, so ratios within this run say more than the times. A ratio is in parentheses behind its
time, throughput or size.

**native** is Linux itself, **km** a program in a virtual machine without a container, **krun vm** a container
in virtual machines, **krun native** one without, **runsc** gVisor's runtime with `--platform=ptrace`.
";

impl Report {
    pub(crate) fn new(tables: Vec<Table>, peak: Option<i64>, others: f64) -> Result<Self> {
        Ok(Self { tables, facts: machine::facts(others)?, peak })
    }

    /// Writes `benchmarks.md` and the plots.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        fs::create_dir_all(directory)?;
        write("benchmarks.md", &self.text())?;
        for table in &self.tables {
            write(&plot_name(table), &plot::svg(table))?;
        }
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        let facts = self.facts.iter().map(|(what, which)| [escaped(what), escaped(which)]);
        let mut text = INTRODUCTION.to_owned();
        text += "\n## What was measured on\n\n";
        text += &lines(&["", ""], facts);
        text += "\n## Targets\n\n";
        text += &lines(&["", "target", "measured", ""], targets::lines(&self.tables));
        for table in &self.tables {
            text += &section(table);
        }
        let peak = |peak| {
            format!("\nThe largest process of krun's in a container's life takes {peak} KiB.\n")
        };
        text + &self.peak.map(peak).unwrap_or_default()
    }
}

fn section(table: &Table) -> String {
    let Table { title, text, columns, baseline, .. } = table;
    let header: Vec<&str> = [""].into_iter().chain(columns.iter().map(String::as_str)).collect();
    let rows = table.rows.iter().map(|row| {
        let cells = columns.iter().map(|column| cell(row, column, baseline));
        [row.name.clone()].into_iter().chain(cells).collect::<Vec<_>>()
    });
    let rows = lines(&header, rows);
    let plot = format!("![{title}, as a ratio to {baseline}]({})", plot_name(table));
    let failures = failures(table);
    format!("\n## {title}\n\n{text}\n\n{rows}{failures}\n{plot}\n")
}

fn cell(row: &Row, column: &str, baseline: &str) -> String {
    let Some(median) = row.median(column) else {
        let failed = matches!(row.cells.get(column), Some(Cell::Failed(_)));
        return if failed { "fails" } else { "–" }.to_owned();
    };
    let shown = row.unit.show(median);
    match row.ratio(column, baseline) {
        Some(ratio) if column != baseline => format!("{shown} ({}×)", three_digits(ratio)),
        _ => shown,
    }
}

/// Why cells have no number, once for each reason.
fn failures(table: &Table) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for row in &table.rows {
        for (contestant, cell) in &row.cells {
            let Cell::Failed(reason) = cell else { continue };
            let reason = format!("{contestant}: {}", escaped(reason));
            match said.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, rows)) => rows.push(&row.name),
                None => said.push((reason, vec![&row.name])),
            }
        }
    }
    let line = |(reason, rows): (String, Vec<&str>)| format!("- {reason} ({})\n", rows.join("; "));
    let lines: String = said.into_iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nWhat fails, and why:\n\n{lines}") }
}

fn lines<R: AsRef<[String]>>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let head = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    let rows = rows.into_iter().map(|row| format!("| {} |\n", row.as_ref().join(" | ")));
    [head].into_iter().chain(rows).collect()
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn plot_name(table: &Table) -> String {
    format!("benchmarks-{}.svg", table.key)
}
