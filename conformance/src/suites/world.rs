//! Runs one program of a suite for one runtime, where it can leave nothing behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use integration::runtime;
use integration::{built, outcome};

use super::groups::{self, Group, Suite};
use super::tap::{self, Point, Verdict};

/// A test that every program has: it ends by itself, with 0 unless a test failed, and reports as many
/// tests as it announced, and no error without a test: `tap/tap.go` says this name where one does.
const ENDS_WELL: &str = "(the program)";

/// `linux/magic.h`.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

const MINUTE: Duration = Duration::from_mins(1);

/// A runtime, and how it runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// The measure.
    Runc,
    /// Another measure, which decides nothing.
    Crun,
    /// krun with virtual machines.
    Vm,
    /// krun without.
    Native,
}

impl Mode {
    /// Each of them, in the order of the tables.
    pub(super) const ALL: [Self; 4] = [Self::Runc, Self::Crun, Self::Vm, Self::Native];

    /// krun's.
    pub(super) const OURS: [Self; 2] = [Self::Vm, Self::Native];

    /// Its name in `known-gaps.toml` and in the names of files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Vm => "vm",
            Self::Native => "native",
        }
    }

    /// The runtime's program, which may be a script in this directory.
    pub(super) fn program(self, directory: &Path) -> Result<PathBuf> {
        match self {
            Self::Runc => find("runc"),
            Self::Crun => find("crun"),
            Self::Vm => built::krun(),
            Self::Native => runtime::binary("krun-native", directory),
        }
    }
}

/// A program of the machine's, by its whole path.
fn find(name: &str) -> Result<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("there is no {name}: run `integration/prepare conformance`"))
}

/// Fails where no program of any suite could run.
pub(super) fn check_host() -> Result<()> {
    let magic = rustix::fs::statfs("/sys/fs/cgroup").context("look at /sys/fs/cgroup")?.f_type;
    ensure!(
        magic != CGROUP2_SUPER_MAGIC,
        "this host's cgroups are of version 2 alone, and other people's suites are run where there are some of \
         version 1: not one of their tests has been run. Boot with systemd.unified_cgroup_hierarchy=0"
    );
    Ok(())
}

/// Runs the program, and returns its tests.
pub(super) fn run(group: &Group, mode: Mode) -> Result<Vec<Point>> {
    let directory = groups::directory()?;
    let out = directory.join("out").join(group.suite.name());
    fs::create_dir_all(&out)?;
    let log = out.join(format!("{}.{}", group.name, mode.name()));
    let output = File::create(&log)?;
    // Of its own even when two runs meet.
    let name = format!("{}-{}-{}-{}", process::id(), group.suite.name(), group.name, mode.name());

    let program = mode.program(&directory)?;
    let runtime = match group.suite {
        Suite::Runc if mode != Mode::Runc => script("as-runc"),
        Suite::Crun if mode != Mode::Crun => script("as-crun"),
        // podman is told of the runtime by `in-podman`.
        Suite::RuntimeTools | Suite::Runc | Suite::Crun | Suite::Podman => program.clone(),
    };
    let mut command = Command::new(script("world"));
    command.arg(&name).args(&group.command).current_dir(&group.directory);
    command.env_clear().envs(ENVIRONMENT).env("JUDGED", program);
    for variable in ["RUNTIME", "RUNC", "OCI_RUNTIME"] {
        command.env(variable, &runtime);
    }
    command.env("INIT", directory.join("source/crun/tests/init"));
    command.env("PYTHONPATH", script("libmount"));
    // Nothing comes, but no end either, which the terminal that `script` makes would pass on for ever.
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
    // It judges nobody, and hangs where a cgroup is frozen.
    let limit = if mode == Mode::Crun { group.limit.min(MINUTE) } else { group.limit };
    let ended = end(&mut command, limit);
    remove(&name)?;

    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    Ok(judged(&text, ended?))
}

/// The tests that a program reported, and [`ENDS_WELL`].
fn judged(text: &str, ended: Option<ExitStatus>) -> Vec<Point> {
    let (ends, mut points): (Vec<_>, Vec<_>) =
        tap::points(text).into_iter().partition(|(name, _)| name.starts_with(ENDS_WELL));
    let has_failed = points.iter().any(|(_, verdict)| *verdict == Verdict::Failed);
    let is_well = match ended {
        // A status that says that tests failed adds nothing to them.
        Some(status) => (status.success() || has_failed) && tap::keeps_its_plan(text),
        None => false,
    };
    let verdict = if is_well && ends.is_empty() { Verdict::Passed } else { Verdict::Failed };
    points.push((ENDS_WELL.to_owned(), verdict));
    points
}

/// What the suites' programs find in their environment, besides the runtime.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C"),
    ("TMPDIR", "/tmp"),
    // For bats: what one test may take.
    ("BATS_TEST_TIMEOUT", "30"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// One of our scripts, or a directory of them.
pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// How it ends within its limit. When it does not, it is killed with all it started.
fn end(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let status = outcome::wait(&mut child, limit)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(status)
}

/// Removes the world's cgroups: all that is left of it.
fn remove(name: &str) -> Result<()> {
    clean(&["--remove", name])
}

/// Removes what runs have left that were killed.
pub(super) fn sweep() -> Result<()> {
    clean(&["--sweep"])
}

fn clean(words: &[&str]) -> Result<()> {
    let outcome = outcome::run(Command::new(script("world")).args(words), None)?;
    ensure!(outcome.is_success(), "these cgroups could not be removed: {}", outcome.stderr());
    Ok(())
}

/// The first line of what `--version` prints.
pub(super) fn version(mode: Mode) -> Result<String> {
    let mut command = Command::new(mode.program(&groups::directory()?)?);
    let text = outcome::run(command.arg("--version"), None)?.stdout();
    match text.lines().next() {
        Some(line) => Ok(line.to_owned()),
        None => bail!("{command:?} prints nothing"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_program_passes_that_ends_well_and_reports_no_error_without_a_test() {
        let [zero, one] = [0, 1 << 8].map(|status| Some(ExitStatus::from_raw(status)));
        for (text, ended, verdict) in [
            ("1..0\n", zero, Verdict::Passed),
            ("ok 1 - a\n1..1\n", zero, Verdict::Passed),
            ("not ok 1 - a\n1..1\n", one, Verdict::Passed),
            ("ok 1 - a\n1..1\n", one, Verdict::Failed),
            ("ok 1 - a\n1..2\n", zero, Verdict::Failed),
            ("ok 1 - a\n1..1\n", None, Verdict::Failed),
            ("not ok 1 - (the program)\n  ---\n1..1\n", zero, Verdict::Failed),
            ("not ok 1 - (the program)\nnot ok 2 - (the program)\n1..2\n", zero, Verdict::Failed),
        ] {
            let points = judged(text, ended);

            let ends: Vec<_> = points.iter().filter(|(name, _)| name.contains("program")).collect();
            assert_eq!(ends, [&(ENDS_WELL.to_owned(), verdict)], "{text}");
        }
    }
}
