//! Suites that others wrote, run for runc, crun and krun on one host.
//!
//! A test of a suite judges krun when runc passes it: then krun passes it, too, with virtual machines and
//! natively, or `known-gaps.toml` says why not. A gap that has closed must be taken out of that list. What
//! runc fails or skips here says nothing, because it may be the host that lacks something.
//!
//! [`groups`] knows the programs, [`world`] runs one, [`tap`] reads what it says, [`found`] keeps it, [`report`]
//! writes the tables.

mod found;
mod groups;
mod known_gaps;
mod report;
mod tap;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use found::Found;
use groups::Group;
pub use groups::{Scope, Suite};
use known_gaps::KnownGaps;
pub use report::Report;
use tap::Verdict;
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

/// A program for one runtime, and how it was run.
#[derive(Debug)]
struct Ran {
    group: String,
    mode: Mode,
    found: Found,
}

/// What a program reported, by the runtime.
type Seen = BTreeMap<Mode, Found>;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Choice {
    /// These suites.
    pub suites: Vec<Suite>,
    /// This one program of each, or all.
    pub only: Option<String>,
    /// How much of them.
    pub scope: Scope,
    /// Whether what an earlier run has found for this krun is not run again.
    pub resume: bool,
}

impl Choice {
    /// Whether all of the suites is run.
    pub fn is_whole(&self) -> bool {
        self.only.is_none() && self.scope == Scope::Everything
    }

    fn groups(&self) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        for suite in &self.suites {
            groups.extend(suite.groups(self.scope)?);
        }
        groups.retain(|group| self.only.as_ref().is_none_or(|name| *name == group.name));
        ensure!(!groups.is_empty(), "there is no program {:?}", self.only);
        Ok(groups)
    }
}

/// Runs what is chosen, and reports.
pub fn run(choice: Choice) -> Result<Report> {
    world::check_host()?;
    groups::check()?;
    let gaps = KnownGaps::read()?;
    let groups = choice.groups()?;
    world::sweep()?;
    let mut seen = vec![Seen::new(); groups.len()];
    if choice.resume {
        for (group, seen) in groups.iter().zip(&mut seen) {
            for mode in group.suite.modes(choice.scope) {
                seen.extend(Found::kept(group, *mode)?.map(|found| (*mode, found)));
            }
        }
    }
    run_all(&groups, &mut seen, choice.scope)?;
    runc_again(&groups, &mut seen)?;
    let (mut rows, mut ran) = (Vec::new(), Vec::new());
    for (group, mut seen) in groups.iter().zip(seen) {
        for mode in Mode::OURS {
            try_again(group, mode, &mut seen, &gaps)?;
        }
        rows.extend(rows_of(group, &seen));
        let name = |(mode, found)| Ran { group: group.name.clone(), mode, found };
        ran.extend(seen.into_iter().map(name));
    }
    Ok(Report { rows, gaps, ran, choice })
}

/// Runs each program for each runtime for which it has not been run, those that take long first.
fn run_all(groups: &[Group], seen: &mut [Seen], scope: Scope) -> Result<()> {
    let modes = |at: usize| groups[at].suite.modes(scope);
    let all = (0..groups.len()).flat_map(|at| modes(at).iter().map(move |mode| (at, *mode)));
    let mut jobs: Vec<_> = all.filter(|(at, mode)| !seen[*at].contains_key(mode)).collect();
    jobs.sort_by_key(|(at, _)| !groups[*at].is_slow());
    run_each(groups, seen, jobs)
}

/// Runs these programs, which are named by their places, some at a time.
fn run_each(groups: &[Group], seen: &mut [Seen], jobs: Vec<(usize, Mode)>) -> Result<()> {
    let jobs: Mutex<VecDeque<(usize, Mode)>> = Mutex::new(jobs.into());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let seen = Mutex::new(seen);
    let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<()> {
        while let Some((at, mode)) = next() {
            let mut found = seen()[at].get(&mode).cloned().unwrap_or_default();
            run_once(&groups[at], mode, &mut found)?;
            seen()[at].insert(mode, found);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

/// Runs the program once, or once more, and keeps what it says.
fn run_once(group: &Group, mode: Mode, found: &mut Found) -> Result<()> {
    let judged = found::judged(mode)?;
    let begun = Instant::now();
    let points = world::run(group, mode)?;
    found.add(points, begun.elapsed());
    found.keep(judged, group, mode)
}

/// Runs runc's programs with failed tests once more: what runc passes then judges krun, too, and a slow
/// moment does not excuse it.
fn runc_again(groups: &[Group], seen: &mut [Seen]) -> Result<()> {
    let is_due = |found: &Found| found.tries == 1 && found.has_failure();
    let jobs = (0..groups.len())
        .filter(|at| groups[*at].suite.gives_runc_another_try())
        .filter(|at| seen[*at].get(&Mode::Runc).is_some_and(is_due))
        .map(|at| (at, Mode::Runc))
        .collect();
    run_each(groups, seen, jobs)
}

/// Runs the program alone while tests fail that should pass.
fn try_again(group: &Group, mode: Mode, seen: &mut Seen, gaps: &KnownGaps) -> Result<()> {
    let place = |row: &Row| (row.suite, row.test(), mode);
    let fails = |row: &Row| row.judges() && !row.passed(mode) && gaps.get(&place(row)).is_none();
    while rows_of(group, seen).iter().any(fails) {
        let found = seen.entry(mode).or_default();
        if found.tries >= TRIES {
            break;
        }
        run_once(group, mode, found)?;
    }
    Ok(())
}

/// A row for each test, in the order in which the first runtime that knows it reports it.
fn rows_of(group: &Group, seen: &Seen) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (mode, found) in seen {
        for (name, verdict) in &found.points {
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
