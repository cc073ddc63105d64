//! Single calls: `micro.c`, run by each contestant, says what each of them costs.

use anyhow::{Context, Result};
use integration::outcome;

use crate::contestants::{Contestant, Contestants, NATIVE};
use crate::options::Options;
use crate::place::Place;
use crate::say;
use crate::tables::{Row, Table, Unit, reason};

/// Of each contestant. Each case makes batches of its own besides.
const ROUNDS: usize = 3;

pub(crate) fn measure(options: &Options) -> Result<Table> {
    let place = Place::new()?;
    let contestants = Contestants::programs()?;
    let names = place.prepare(&["/bench/micro", "--once"])?;
    let mut rows: Vec<_> = names.lines().map(|name| Row::new(name, Unit::Nanoseconds)).collect();
    for round in 1..=options.rounds(ROUNDS) {
        for one in &contestants.0 {
            say(&format!("micro, round {round}, {}", one.name));
            if let Err(reason) = run(&place, one, &mut rows)? {
                rows.iter_mut().filter(|row| row.median(&one.name).is_none()).for_each(|row| {
                    row.fail(&one.name, &reason);
                });
            }
        }
    }
    Ok(Table {
        key: "micro",
        title: "Single calls",
        text: format!(
            "A static program in C makes each call over and over, in batches of some 10 ms; the median of its \
             batches, and of {} runs, is the time of one call. \"Ping-pong\" and \"hand-off\" are there and \
             back again; what `fork`, `exec` and `posix_spawn` start is the same program, which ends at \
             once. Files are cached.{}",
            options.rounds(ROUNDS),
            contestants.notes()
        ),
        columns: contestants.names(),
        baseline: NATIVE,
        rows,
    })
}

/// Adds a round of one contestant's, or returns what is in its way.
fn run(place: &Place, one: &Contestant, rows: &mut [Row]) -> Result<Result<(), String>> {
    if let Some(reason) = &one.refusal {
        return Ok(Err(reason.clone()));
    }
    let mut command = place.command(one, &["/bench/micro"])?;
    let outcome = one.within(|| outcome::run(&mut command, None))?;
    for line in outcome.stdout().lines() {
        let (name, time) = line.split_once('\t').context("micro prints a tab")?;
        if let Some(row) = rows.iter_mut().find(|row| row.name == name) {
            row.add(&one.name, time.trim().parse().with_context(|| format!("micro: {line}"))?);
        }
    }
    Ok(if outcome.is_success() { Ok(()) } else { Err(reason(&outcome)) })
}
