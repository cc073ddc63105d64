//! `docker run` by a private dockerd that knows all runtimes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;
use integration::built;
use integration::dockerd::{Dockerd, IMAGE, run_args};
use integration::outcome;
use serde_json::json;

use crate::contestants::{CRUN, KRUN, KRUN_NATIVE, RUNC, RUNSC};
use crate::options::Options;
use crate::say;
use crate::tables::{Row, Table, Unit, reason};

const ROUNDS: usize = 10;

/// A runtime that has used this much makes no further rounds.
const ENOUGH: Duration = Duration::from_secs(8);

/// Names of runtimes in tables, and dockerd's for them.
const RUNTIMES: [(&str, &str); 5] = [
    (KRUN, "krun"),
    (KRUN_NATIVE, "krun-native"),
    (RUNC, "runc"),
    (CRUN, "crun"),
    (RUNSC, "runsc"),
];

pub(crate) fn measure(options: &Options) -> Result<Table> {
    let mut others = json!({});
    for program in ["crun", "runsc"] {
        let path = Path::new("/usr/bin").join(program);
        if path.exists() {
            let options =
                if program == "runsc" { &["--platform=ptrace", "--network=none"][..] } else { &[] };
            others[program] = json!({"path": path, "runtimeArgs": options});
        }
    }
    let dockerd = Dockerd::start_with_runtimes(&built::krun()?, &others)?;
    let mut row = Row::new("docker run --rm busybox true", Unit::Nanoseconds);
    let rounds = options.rounds(ROUNDS);
    say("macro, docker run");
    let mut used = [Duration::ZERO; RUNTIMES.len()];
    for round in 0..=rounds {
        for ((name, runtime), used) in RUNTIMES.iter().zip(&mut used) {
            if row.has_failed(name) || *used > ENOUGH {
                continue;
            }
            let mut docker = dockerd.docker(run_args(runtime, &[IMAGE, "true"]));
            if round == 0 {
                // The first says why it fails, and does not count.
                let outcome = outcome::run(&mut docker, None)?;
                if !outcome.is_success() {
                    row.fail(name, &reason(&outcome));
                }
                continue;
            }
            docker.stdin(Stdio::null()).stdout(Stdio::null());
            let begin = Instant::now();
            if docker.status()?.success() {
                *used += begin.elapsed();
                row.add(name, begin.elapsed().as_secs_f64() * 1e9);
            } else {
                row.fail(name, "one of the runs failed");
            }
        }
    }
    Ok(Table {
        key: "docker",
        title: "docker run",
        text: format!(
            "The whole of `docker run --rm --network none`, by a private dockerd. Medians of {rounds} rounds, less \
             for one that needs more than {} s for them.",
            ENOUGH.as_secs()
        ),
        columns: RUNTIMES.map(|(name, _)| name.to_owned()).into(),
        baseline: RUNC,
        rows: vec![row],
    })
}
