//! What is run: each suite's programs, which lie where `conformance/fetch` has put them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration::{built, outcome};

use super::world::{self, Mode};

/// How much of the suites is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them, in some twenty minutes.
    Everything,
    /// What takes a few minutes.
    Quick,
}

/// Other people's suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// The OCI runtime-tools' validation.
    RuntimeTools,
    /// runc's integration tests.
    Runc,
    /// crun's tests.
    Crun,
    /// podman's system tests.
    Podman,
}

impl Suite {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::RuntimeTools, Self::Runc, Self::Crun, Self::Podman];

    /// Its name in `known-gaps.toml` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RuntimeTools => "runtime-tools",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Podman => "podman",
        }
    }

    /// How many tests runc passes at least: with less it is the machine that is judged, or nobody.
    pub(super) fn floor(self, scope: Scope) -> usize {
        match (self, scope) {
            (Self::RuntimeTools, _) => 3300,
            (Self::Runc, Scope::Everything) => 155,
            (Self::Runc, Scope::Quick) => 84,
            (Self::Crun, _) => 90,
            (Self::Podman, Scope::Everything) => 115,
            (Self::Podman, Scope::Quick) => 12,
        }
    }

    /// Whom its programs are run for: those that judge and are judged, and where there is time, crun.
    pub(super) fn modes(self, scope: Scope) -> &'static [Mode] {
        match (self, scope) {
            (Self::RuntimeTools | Self::Runc | Self::Crun, Scope::Everything) => &Mode::ALL,
            (Self::Podman, _) | (_, Scope::Quick) => &[Mode::Runc, Mode::Vm, Mode::Native],
        }
    }

    /// Whether runc's failures are worth another run. podman's tests take minutes, and those that fail want what
    /// the machine or its world lacks.
    pub(super) fn gives_runc_another_try(self) -> bool {
        self != Self::Podman
    }

    /// Its programs, in a fixed order.
    pub(super) fn groups(self, scope: Scope) -> Result<Vec<Group>> {
        let source = directory()?.join("source").join(self.name());
        let mut groups = match self {
            Self::RuntimeTools => runtime_tools(&source)?,
            Self::Runc => runc(&source)?,
            Self::Crun => crun(&source)?,
            Self::Podman => podman(&directory()?.join("source")),
        };
        if scope == Scope::Quick {
            groups.retain(|group| !group.is_slow());
        }
        ensure!(!groups.is_empty(), "{} has no tests", source.display());
        Ok(groups)
    }
}

/// Where the suites lie, and what they say goes.
pub(super) fn directory() -> Result<PathBuf> {
    Ok(built::target_dir()?.join("conformance"))
}

/// Fails when the suites are not there, or not as `conformance/fetch` now wants them.
pub(super) fn check() -> Result<()> {
    let mut check = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fetch"));
    check.arg("check").env("CARGO_TARGET_DIR", built::target_dir()?);
    let outcome = outcome::run(&mut check, None)?;
    ensure!(outcome.is_success(), "{}", outcome.stderr().trim_end());
    Ok(())
}

/// A program that reports tests: the least that can be run alone.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The suite.
    pub(super) suite: Suite,
    /// The program's name.
    pub(super) name: String,
    /// The program and its words.
    pub(super) command: Vec<PathBuf>,
    /// Where it is started.
    pub(super) directory: PathBuf,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl Group {
    /// Whether it takes so long that it is left out of a quick run, and begins a whole one.
    pub(super) fn is_slow(&self) -> bool {
        let name = self.name.as_str();
        SLOW.contains(&(self.suite, name))
            || self.suite == Suite::Podman && !QUICK_OF_PODMAN.contains(&name)
    }
}

/// Programs that wait more than they do, or say little for the time they take.
const SLOW: [(Suite, &str); 10] = [
    (Suite::RuntimeTools, "delete"),
    (Suite::RuntimeTools, "kill"),
    (Suite::Runc, "cgroups"),
    (Suite::Runc, "debug"),
    (Suite::Runc, "events"),
    (Suite::Runc, "exec"),
    (Suite::Runc, "seccomp-notify"),
    (Suite::Runc, "spec"),
    (Suite::Runc, "tty"),
    (Suite::Runc, "update"),
];

/// Those of podman's tests that run containers, and whose tests do not all want systemd, its journal, a registry or
/// an ordinary user. The others are about podman's images, its storage and its command line, or are left out for the time
/// they take: `065-cp`, `070-build`, `090-events`, `200-pod`, `500-networking`, `700-play`.
const PODMAN: [&str; 17] = [
    "030-run",
    "032-sig-proxy",
    "035-logs",
    "040-ps",
    "045-start",
    "050-stop",
    "055-rm",
    "060-mount",
    "075-exec",
    "080-pause",
    "130-kill",
    "160-volumes",
    "170-run-userns",
    "190-run-ipcns",
    "280-update",
    "400-unprivileged-access",
    "450-interactive",
];

/// Those that take seconds.
const QUICK_OF_PODMAN: [&str; 3] = ["075-exec", "080-pause", "170-run-userns"];

/// Programs that cannot say anything here: what they need no host of this kind has, or they are not
/// about runtimes.
const LEFT_OUT: [(Suite, &str); 5] = [
    // CRIU cannot dump a process of this kernel, nor a virtual machine.
    (Suite::Runc, "checkpoint"),
    (Suite::Crun, "checkpoint_restore"),
    // One test needs an option of crun's own, and the other freezes processes, so that its world cannot end.
    (Suite::Crun, "delete"),
    // Needs a server of ssh for root.
    (Suite::Runc, "mounts_sshfs"),
    // Its words are those of runc's manual page.
    (Suite::Runc, "help"),
];

fn runtime_tools(source: &Path) -> Result<Vec<Group>> {
    let group = |name: &str| Group {
        suite: Suite::RuntimeTools,
        name: name.to_owned(),
        command: vec![source.join("programs").join(name)],
        directory: source.to_owned(),
        limit: Duration::from_mins(1),
    };
    Ok(names(&source.join("programs"), "", "")?.iter().map(|name| group(name)).collect())
}

fn runc(source: &Path) -> Result<Vec<Group>> {
    let tests = source.join("tests/integration");
    let bats = "bats --formatter tap";
    let group = |name: &str| Group {
        suite: Suite::Runc,
        name: name.to_owned(),
        command: with_terminal(&match name {
            // Waits for all children, of which the watch that bats keeps on a test's time is one.
            "events" => format!("env --unset=BATS_TEST_TIMEOUT {bats} events.bats"),
            _ => format!("{bats} {name}.bats"),
        }),
        directory: tests.clone(),
        limit: Duration::from_mins(4),
    };
    let all = names(&tests, "", ".bats")?;
    Ok(all.iter().map(|name| group(name)).filter(is_run).collect())
}

fn crun(source: &Path) -> Result<Vec<Group>> {
    let tests = source.join("tests");
    let command = |name: &str| {
        let test = tests.join(format!("test_{name}.py"));
        match name {
            "tty" => with_terminal(&format!("/usr/bin/python3 '{}'", test.display())),
            _ => vec!["/usr/bin/python3".into(), test],
        }
    };
    let group = |name: &str| Group {
        suite: Suite::Crun,
        name: name.to_owned(),
        command: command(name),
        // Where they put what they make: it goes with the world.
        directory: "/tmp".into(),
        limit: Duration::from_mins(2),
    };
    let all = names(&tests, "test_", ".py")?;
    Ok(all.iter().map(|name| group(name)).filter(is_run).collect())
}

fn podman(source: &Path) -> Vec<Group> {
    // No name of theirs is looked for in a registry: there is none.
    let bats =
        "env PODMAN_TEST_IMAGE_REGISTRY=localhost BATS_TEST_TIMEOUT=120 bats --formatter tap";
    let command = |name: &str| {
        let tests = with_terminal(&format!("{bats} {name}.bats"));
        [vec![world::script("in-podman"), source.join("testimage.tar")], tests].concat()
    };
    let group = |name: &&str| Group {
        suite: Suite::Podman,
        name: (*name).to_owned(),
        command: command(name),
        directory: source.join("libpod/test/system"),
        limit: Duration::from_mins(5),
    };
    PODMAN.iter().map(group).collect()
}

/// For tests that want a terminal.
fn with_terminal(command: &str) -> Vec<PathBuf> {
    ["script", "--quiet", "--return", "--command", command, "/dev/null"].map(PathBuf::from).into()
}

fn is_run(group: &Group) -> bool {
    !LEFT_OUT.contains(&(group.suite, group.name.as_str()))
}

/// Names of files, without what they begin and end with.
fn names(directory: &Path, begin: &str, end: &str) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let name = name.strip_prefix(begin).and_then(|name| name.strip_suffix(end));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
