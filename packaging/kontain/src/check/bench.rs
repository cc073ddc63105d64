//! `kontain check --bench`: what a container's life takes on this node, by krun and by runc, if that is there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bounded::Limits;
use super::{Finding, Status};

/// So many lives of each, one after the other in turn.
const ROUNDS: usize = 11;
/// Where distributions and engines have runc.
const RUNC: [&str; 4] =
    ["/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc"];

/// A runtime whose containers' lives are timed.
struct Runtime {
    binary: PathBuf,
    state: PathBuf,
    lives: Vec<Duration>,
}

/// Runs the container of the bundle in `directory` again and again.
pub(super) fn check(krun: &Path, name: &str, directory: &Path, limits: &Limits) -> Finding {
    let runc = RUNC.iter().map(Path::new).find(|path| path.is_file());
    measure(krun, runc, name, directory, limits).unwrap_or_else(|(binary, reason)| {
        let why = format!("a container by {}, one of many: {reason}", binary.display());
        Finding::new("life", Status::Fail, why, "see the message; without --bench one is run")
    })
}

type Failure = (PathBuf, String);

fn measure(
    krun: &Path,
    runc: Option<&Path>,
    name: &str,
    directory: &Path,
    limits: &Limits,
) -> Result<Finding, Failure> {
    let mut all: Vec<Runtime> = [Some(krun), runc]
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(at, binary)| Runtime {
            binary: binary.to_owned(),
            state: directory.join(format!("state-{at}")),
            lives: Vec::new(),
        })
        .collect();
    for _ in 0..ROUNDS {
        for runtime in &mut all {
            let life = runtime.live(name, directory, limits)?;
            runtime.lives.push(life);
        }
    }
    let medians: Vec<Duration> = all.iter_mut().map(|runtime| median(&mut runtime.lives)).collect();
    Ok(judge(&medians))
}

impl Runtime {
    /// One life: made, started, waited for and deleted.
    fn live(&self, name: &str, directory: &Path, limits: &Limits) -> Result<Duration, Failure> {
        let with = |verb: &[&str]| {
            let mut command = Command::new(&self.binary);
            command.arg("--root").arg(&self.state).args(verb).current_dir(directory);
            command
        };
        let failed = |reason: String| (self.binary.clone(), reason);
        let ended = limits.run(&mut with(&["run", name]));
        let ended = ended.map_err(|error| failed(error.to_string()))?;
        if ended.is_success() {
            return Ok(ended.took);
        }
        // What is left of it is taken away; that it cannot be is told of the smoke container.
        _ = Limits::of_cleaning().run(&mut with(&["delete", "--force", name]));
        Err(failed(ended.reason()))
    }
}

fn median(lives: &mut [Duration]) -> Duration {
    lives.sort_unstable();
    lives.get(lives.len() / 2).copied().unwrap_or_default()
}

/// What the medians mean: krun's, and runc's.
fn judge(medians: &[Duration]) -> Finding {
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
    let own = medians.first().copied().unwrap_or_default();
    let what =
        format!("a container's life takes {:.1} ms (median of {ROUNDS})", milliseconds(&own));
    let why = match medians.get(1) {
        Some(other) => {
            let ratio = own.as_secs_f64() / other.as_secs_f64().max(f64::EPSILON);
            format!("{what}, {ratio:.2} times as long as runc's {:.1} ms", milliseconds(other))
        }
        None => format!("{what}; there is no runc to compare it with"),
    };
    let mut finding = Finding::ok("life", why);
    finding.nanoseconds = u64::try_from(own.as_nanos()).ok();
    finding
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{judge, median};

    #[test]
    fn a_life_is_told_beside_runcs() {
        let times = [25, 30].map(Duration::from_millis);

        let both = judge(&times);

        assert_eq!(both.nanoseconds, Some(25_000_000));
        assert!(both.why.contains("25.0 ms") && both.why.contains("0.83 times"), "{}", both.why);
        assert!(judge(&times[..1]).why.contains("no runc"));
    }

    #[test]
    fn a_single_slow_one_does_not_count() {
        let mut lives = [3, 900, 2].map(Duration::from_millis);

        assert_eq!(median(&mut lives), Duration::from_millis(3));
        assert_eq!(median(&mut []), Duration::ZERO);
    }
}
