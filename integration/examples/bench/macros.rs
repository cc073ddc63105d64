//! Programs: how long they take, and how much servers do for clients outside.

use std::time::{Duration, Instant};

use anyhow::Result;
use integration::outcome;

use crate::contestants::{Contestant, Contestants, NATIVE};
use crate::options::Options;
use crate::place::{ID, Place};
use crate::tables::{Row, Table, Unit, reason};
use crate::works::{self, WORKS, Work};
use crate::{docker, say, servers};

/// Rounds of a short program, and of a long one.
const ROUNDS: usize = 9;
const FEWEST: usize = 3;

/// A contestant that has used this much for a program makes no more than the fewest rounds.
const ENOUGH: Duration = Duration::from_millis(2500);

pub(crate) fn measure(options: &Options) -> Result<Vec<Table>> {
    let place = Place::new()?;
    say("macro: files and programs");
    works::prepare(&place)?;
    servers::prepare(&place)?;
    let contestants = Contestants::programs()?;
    let mut rows = Vec::new();
    for work in WORKS {
        say(&format!("macro, {}", work.name));
        rows.push(time(&place, &contestants, work, options)?);
    }
    rows.extend(servers::measure(&place, &contestants, options));
    let programs = Table {
        key: "macro",
        title: "Programs",
        text: format!(
            "A program's time is that from `posix_spawn` to its end, taken where it runs: in containers by a \
             stopwatch that is in the container and not in the time; with km it is that of km with the \
             program in it. Clients of servers are always native, on loopback. All use one file system, an \
             overlay of Debian's image. Medians of {FEWEST} to {ROUNDS} rounds.{}",
            contestants.notes()
        ),
        columns: contestants.names(),
        baseline: NATIVE,
        rows,
    };
    Ok(vec![programs, docker::measure(options)?])
}

fn time(place: &Place, all: &Contestants, work: Work, options: &Options) -> Result<Row> {
    let mut row = Row::new(work.name, Unit::Nanoseconds);
    let mut used = vec![Duration::ZERO; all.0.len()];
    // Files are read once before anybody is timed.
    let native = all.0.iter().filter(|one| one.name == NATIVE);
    for one in native {
        drop(once(place, one, work.argv)?);
    }
    for round in 0..options.rounds(ROUNDS) {
        for (one, used) in all.0.iter().zip(&mut used) {
            if row.has_failed(&one.name) || (round >= FEWEST && *used > ENOUGH) {
                continue;
            }
            let begin = Instant::now();
            match once(place, one, work.argv)? {
                Ok(time) => row.add(&one.name, time),
                Err(reason) => row.fail(&one.name, &reason),
            }
            *used += begin.elapsed();
        }
    }
    Ok(row)
}

/// Nanoseconds of one run, or why there are none.
fn once(place: &Place, one: &Contestant, argv: &[&str]) -> Result<Result<f64, String>> {
    if let Some(reason) = &one.refusal {
        return Ok(Err(reason.clone()));
    }
    let mut command = place.timed(one, argv)?;
    // One that hangs is a result.
    let outcome = match one.within(|| outcome::run(&mut command, None)) {
        Ok(outcome) => outcome,
        Err(error) => {
            one.clear(ID);
            return Ok(Err(format!("{error:#}").chars().take(240).collect()));
        }
    };
    if !outcome.is_success() {
        return Ok(Err(reason(&outcome)));
    }
    Ok(outcome.stdout().trim().parse().map_err(|_| format!("it printed {:?}", outcome.stdout())))
}
