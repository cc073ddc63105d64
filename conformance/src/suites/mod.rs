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

/// A program that needed another try.
#[derive(Debug)]
struct Again {
    group: String,
    mode: Mode,
    tries: usize,
}

/// What a program reported, by the runtime.
type Seen = BTreeMap<Mode, Vec<Point>>;

/// Runs the suites, or one program of each, and reports.
pub fn run(suites: &[Suite], only: Option<&str>, scope: Scope) -> Result<Report> {
    world::check_host()?;
    groups::check()?;
    let gaps = KnownGaps::read()?;
    let mut groups = Vec::new();
    for suite in suites {
        groups.extend(suite.groups(scope)?);
    }
    groups.retain(|group| only.is_none_or(|name| name == group.name));
    ensure!(!groups.is_empty(), "there is no program {only:?}");
    world::sweep()?;
    let all = (0..groups.len()).flat_map(|at| modes(scope).iter().map(move |mode| (at, *mode)));
    let mut seen = vec![Seen::new(); groups.len()];
    for (group, mode, points) in run_all(&groups, all)? {
        seen[group].insert(mode, points);
    }
    let mut again = runc_again(&groups, &mut seen)?;
    let mut rows = Vec::new();
    for (group, seen) in groups.iter().zip(&mut seen) {
        for mode in Mode::OURS {
            again.extend(try_again(group, mode, seen, &gaps)?);
        }
        rows.extend(rows_of(group, seen));
    }
    Ok(Report { rows, gaps, again, scope, only: only.map(str::to_owned), suites: suites.to_vec() })
}

/// Whom the programs are run for: those that judge and are judged, and where there is time, crun.
fn modes(scope: Scope) -> &'static [Mode] {
    match scope {
        Scope::Everything => &Mode::ALL,
        Scope::Quick => &[Mode::Runc, Mode::Vm, Mode::Native],
    }
}

/// What each of these programs, which are named by their places, reports for its runtime.
fn run_all(
    groups: &[Group],
    jobs: impl Iterator<Item = (usize, Mode)>,
) -> Result<Vec<(usize, Mode, Vec<Point>)>> {
    let jobs: Mutex<VecDeque<(usize, Mode)>> = Mutex::new(jobs.collect());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || -> Result<Vec<_>> {
        let mut done = Vec::new();
        while let Some((group, mode)) = next() {
            done.push((group, mode, world::run(&groups[group], mode)?));
        }
        Ok(done)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.join().expect("a worker does not panic")?);
        }
        Ok(done)
    })
}

/// Runs runc's programs with failed tests once more: what runc passes then judges krun, too, and a slow
/// moment does not excuse it. Returns those that passed a test for the first time.
fn runc_again(groups: &[Group], seen: &mut [Seen]) -> Result<Vec<Again>> {
    let failed = |points: &Vec<Point>| points.iter().any(|(_, one)| *one == Verdict::Failed);
    let passed =
        |points: &[Point]| points.iter().filter(|(_, one)| *one == Verdict::Passed).count();
    let jobs: Vec<_> = (0..groups.len())
        .filter(|at| seen[*at].get(&Mode::Runc).is_some_and(failed))
        .map(|at| (at, Mode::Runc))
        .collect();
    let mut again = Vec::new();
    for (at, mode, points) in run_all(groups, jobs.into_iter())? {
        let earlier = seen[at].entry(mode).or_default();
        let before = passed(earlier);
        merge(earlier, points);
        if passed(earlier) > before {
            again.push(Again { group: groups[at].name.clone(), mode, tries: 2 });
        }
    }
    Ok(again)
}

/// Runs the program alone while tests fail that should pass.
fn try_again(
    group: &Group,
    mode: Mode,
    seen: &mut Seen,
    gaps: &KnownGaps,
) -> Result<Option<Again>> {
    let mut tries = 1;
    while tries < TRIES {
        let place = |row: &Row| (row.suite, row.test(), mode);
        let fails =
            |row: &Row| row.judges() && !row.passed(mode) && gaps.get(&place(row)).is_none();
        if !rows_of(group, seen).iter().any(fails) {
            break;
        }
        merge(seen.entry(mode).or_default(), world::run(group, mode)?);
        tries += 1;
    }
    Ok((tries > 1).then(|| Again { group: group.name.clone(), mode, tries }))
}

/// Of two runs of a program one pass of a test is enough.
fn merge(points: &mut Vec<Point>, again: Vec<Point>) {
    points.retain(|(name, verdict)| {
        *verdict == Verdict::Passed || !again.iter().any(|(other, _)| other == name)
    });
    let old = points.clone();
    let is_new = |(name, _): &Point| !old.iter().any(|(other, _)| other == name);
    points.extend(again.into_iter().filter(is_new));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_runs_one_pass_is_enough() {
        let point = |name: &str, verdict| (name.to_owned(), verdict);
        let mut points = vec![point("a", Verdict::Passed), point("b", Verdict::Failed)];

        merge(
            &mut points,
            vec![
                point("a", Verdict::Failed),
                point("b", Verdict::Passed),
                point("c", Verdict::Failed),
            ],
        );

        let expected = [("a", Verdict::Passed), ("b", Verdict::Passed), ("c", Verdict::Failed)];
        assert_eq!(points, expected.map(|(name, verdict)| point(name, verdict)));
    }
}
