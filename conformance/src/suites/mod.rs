//! Suites that others wrote, run for runc, crun and krun on one host in one run.
//!
//! A test of a suite judges krun when runc passes it: then krun passes it, too, with virtual machines and
//! natively, or `known-gaps.toml` says why not. A gap that has closed must be taken out of that list. What
//! runc fails or skips here says nothing, because it may be the host that lacks something.
//!
//! [`groups`] knows the programs, [`world`] runs one, [`tap`] reads what it says, [`report`] writes the tables.

mod groups;
mod known_gaps;
mod report;
mod tap;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, ensure};

use groups::Group;
pub use groups::{Scope, Suite};
use known_gaps::KnownGaps;
pub use report::Report;
use tap::{Point, Verdict};
use world::Mode;

/// How often a program is run when krun fails a test that it should pass: many wait for a fixed time, on
/// machines that do other things as well.
const TRIES: usize = 3;

/// Programs that run at a time. Each has processes, mounts and cgroups of its own.
const AT_A_TIME: usize = 2;

/// A test, and what became of it for each runtime.
#[derive(Debug)]
struct Row {
    suite: Suite,
    /// The program that it belongs to.
    group: String,
    name: String,
    verdicts: BTreeMap<Mode, Verdict>,
}

impl Row {
    /// As in `known-gaps.toml`.
    fn test(&self) -> String {
        format!("{}: {}", self.group, self.name)
    }

    fn passed(&self, mode: Mode) -> bool {
        self.verdicts.get(&mode) == Some(&Verdict::Passed)
    }

    /// Whether it says something about krun.
    fn judges(&self) -> bool {
        self.passed(Mode::Runc)
    }
}

/// What a program reported, by the runtime.
type Seen = BTreeMap<Mode, Vec<Point>>;

/// Runs the suites, or one program of each, and reports.
pub fn run(suites: &[Suite], only: Option<&str>, scope: Scope) -> Result<Report> {
    groups::check()?;
    let gaps = KnownGaps::read()?;
    let mut groups = Vec::new();
    for suite in suites {
        groups.extend(suite.groups(scope)?);
    }
    groups.retain(|group| only.is_none_or(|name| name == group.name));
    ensure!(!groups.is_empty(), "there is no program {only:?}");
    world::sweep()?;
    let mut seen = run_all(&groups, modes(scope))?;
    let mut rows = Vec::new();
    for (group, seen) in groups.iter().zip(&mut seen) {
        for mode in Mode::OURS {
            try_again(group, mode, seen, &gaps)?;
        }
        rows.extend(rows_of(group, seen));
    }
    Ok(Report {
        rows,
        gaps,
        is_whole: only.is_none() && scope == Scope::Everything,
        suites: suites.to_vec(),
    })
}

/// Whom the programs are run for: those that judge and are judged, and where there is time, crun.
fn modes(scope: Scope) -> &'static [Mode] {
    match scope {
        Scope::Everything => &Mode::ALL,
        Scope::Quick => &[Mode::Runc, Mode::Vm, Mode::Native],
    }
}

/// What each program reports for each of these runtimes.
fn run_all(groups: &[Group], modes: &[Mode]) -> Result<Vec<Seen>> {
    let jobs = (0..groups.len()).flat_map(|group| modes.iter().map(move |mode| (group, *mode)));
    let jobs: Mutex<VecDeque<(usize, Mode)>> = Mutex::new(jobs.collect());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<_>> {
        let mut done = Vec::new();
        while let Some((group, mode)) = next() {
            done.push((group, mode, world::run(&groups[group], mode)?));
        }
        Ok(done)
    };
    let mut seen = vec![Seen::new(); groups.len()];
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (group, mode, points) in worker.join().expect("a worker does not panic")? {
                seen[group].insert(mode, points);
            }
        }
        Ok(seen)
    })
}

/// Runs the program alone while tests fail that should pass: one pass is enough.
fn try_again(group: &Group, mode: Mode, seen: &mut Seen, gaps: &KnownGaps) -> Result<()> {
    for _ in 1..TRIES {
        let place = |row: &Row| (row.suite, row.test(), mode);
        let fails =
            |row: &Row| row.judges() && !row.passed(mode) && gaps.get(&place(row)).is_none();
        if !rows_of(group, seen).iter().any(fails) {
            break;
        }
        let again = world::run(group, mode)?;
        let points = seen.entry(mode).or_default();
        points.retain(|(name, verdict)| {
            *verdict == Verdict::Passed || !again.iter().any(|(other, _)| other == name)
        });
        let old = points.clone();
        let is_new = |(name, _): &Point| !old.iter().any(|(other, _)| other == name);
        points.extend(again.into_iter().filter(is_new));
    }
    Ok(())
}

/// A row for each test, in the order in which the first runtime that knows it reports it.
fn rows_of(group: &Group, seen: &Seen) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (mode, points) in seen {
        for (name, verdict) in points {
            let place = *places.entry(name).or_insert_with(|| {
                let (suite, group) = (group.suite, group.name.clone());
                rows.push(Row { suite, group, name: name.clone(), verdicts: BTreeMap::new() });
                rows.len() - 1
            });
            rows[place].verdicts.insert(*mode, *verdict);
        }
    }
    rows
}
