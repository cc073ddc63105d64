//! `kontain check --run`: a container of the installed krun's, without engine and image, and what the engines that run
//! say of krun.
//!
//! All of it is the work of a second process. It ends what it has started, and takes away what it has made, when the
//! first one is gone, however that was ended. The container's program is kontain itself: [`guest`].

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, getpid, getppid, kill_process};
use rustix::system::uname;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bounded::{Ended, Limits};
use super::{Finding, Status, bench, running};
use crate::files::Root;

/// The subcommands that are not for people.
pub(crate) const WORKER: &str = "check-worker";
pub(crate) const GUEST: &str = "check-guest";
/// Nobody but root can write there.
const TEMPORARY: &str = "/run";
/// So long may the processes of a container take to end that are killed.
const ENDING: Duration = Duration::from_secs(5);
/// How km ends the name of the kernel.
const SUFFIX: &str = ".kontain.KVM";
/// So many calls tell what an exit takes.
const CALLS: usize = 100;
/// Exits that take longer are those of a KVM that is virtual itself.
const DEAR: Duration = Duration::from_micros(4);

/// Has a second process do it, and measure the life of many containers if that is wanted, too.
pub(crate) fn check(krun: &Path, seconds: u64, bench: bool) -> Vec<Finding> {
    ask_worker(krun, seconds, bench).unwrap_or_else(|error| {
        let why = format!("kontain cannot start itself: {error}");
        vec![Finding::new("smoke", Status::Fail, why, "run kontain by its own path, as root")]
    })
}

fn ask_worker(krun: &Path, seconds: u64, bench: bool) -> io::Result<Vec<Finding>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(WORKER).arg("--binary").arg(krun).arg("--timeout").arg(seconds.to_string());
    command.args(bench.then_some("--bench"));
    // What a terminal sends to its foreground group ends kontain, and the worker by that.
    let mut worker =
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut answer = String::new();
    if let Some(mut stdout) = worker.stdout.take() {
        stdout.read_to_string(&mut answer)?;
    }
    let status = worker.wait()?;
    serde_json::from_str(&answer)
        .map_err(|error| io::Error::other(format!("{status}, and its answer: {error}")))
}

/// What the second process does.
pub(crate) fn worker(krun: &Path, seconds: u64, bench: bool) -> Vec<Finding> {
    let limits = Limits::of_orphans(Duration::from_secs(seconds));
    if !geteuid().is_root() {
        let why = "only root can make the smoke container";
        return vec![Finding::new("smoke", Status::Fail, why, "run kontain check --run as root")];
    }
    // By the first one's number, which whoever started it knows.
    let name = format!("kontain-check-{}", getppid().unwrap_or_else(getpid));
    let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(TEMPORARY);
    let directory = match made {
        Ok(directory) => directory,
        Err(error) => {
            let why = format!("no directory can be made in {TEMPORARY}: {error}");
            return vec![Finding::new("smoke", Status::Fail, why, "make it writable, with room")];
        }
    };
    let mut all = container(krun, &name, directory.path(), &limits);
    if bench && all.iter().all(|finding| finding.status != Status::Fail) {
        all.push(bench::check(krun, &name, directory.path(), &limits));
        all.extend(remove_cgroups(&name));
    }
    match Root::open(Path::new("/")) {
        Ok(root) => all.extend(running::check(&root, krun, directory.path(), &limits)),
        Err(error) => {
            all.push(Finding::new("engines", Status::Fail, error.to_string(), "see the message"));
        }
    }
    all.extend(remove(directory));
    all
}

fn remove(directory: TempDir) -> Option<Finding> {
    let path = directory.path().to_owned();
    let error = directory.close().err()?;
    let why = format!("{} is left: {error}", path.display());
    Some(Finding::new("smoke-left", Status::Fail, why, "see what is mounted there, and remove it"))
}

/// Runs one container, and says what came of it.
fn container(krun: &Path, name: &str, directory: &Path, limits: &Limits) -> Vec<Finding> {
    let krun_with = |verb: &[&str]| {
        let mut command = Command::new(krun);
        command.arg("--root").arg(directory.join("state")).args(verb).current_dir(directory);
        command
    };
    let ended = make_bundle(directory, name)
        .and_then(|()| limits.run(&mut krun_with(&["--stats", "run", name])));
    // Whatever became of it: without a container this does nothing.
    let deleted = Limits::of_cleaning().run(&mut krun_with(&["delete", "--force", name]));
    let mut all = match ended {
        Ok(ended) => judge(krun, &ended, &uname().release().to_string_lossy()),
        Err(error) => {
            let why = format!("{}: {error}", krun.display());
            vec![Finding::new("smoke", Status::Fail, why, "make install, or install the package")]
        }
    };
    all.extend(remove_cgroups(name));
    let is_made = all.iter().all(|finding| finding.status != Status::Fail);
    if let Ok(deleted) = deleted
        && is_made
        && !deleted.is_success()
    {
        let why = format!("krun delete --force: {}", deleted.reason());
        let fix = "see what holds the container's cgroup";
        all.push(Finding::new("smoke-left", Status::Fail, why, fix));
    }
    all
}

/// A krun that was killed leaves its container's cgroups, if it had not noted them yet, and may leave processes in them.
fn remove_cgroups(name: &str) -> Option<Finding> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = hierarchies.chain([top.to_owned()]).map(|hierarchy| hierarchy.join(name));
    let mut last = None;
    for cgroup in all.filter(|cgroup| cgroup.is_dir()) {
        let end = Instant::now() + ENDING;
        while let Err(error) = fs::remove_dir(&cgroup) {
            if error.kind() == io::ErrorKind::NotFound {
                break;
            }
            for process in
                fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines()
            {
                if let Some(process) = process.parse().ok().and_then(Pid::from_raw) {
                    // It may have ended meanwhile.
                    _ = kill_process(process, Signal::KILL);
                }
            }
            if Instant::now() > end {
                last = Some(format!("{} is left: {error}", cgroup.display()));
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    let fix = "see what is in it, end that, and remove it";
    last.map(|why| Finding::new("smoke-left", Status::Fail, why, fix))
}

fn make_bundle(directory: &Path, name: &str) -> io::Result<()> {
    let program = std::env::current_exe()?;
    fs::create_dir(directory.join("rootfs"))?;
    // Where the program is put: it is not copied, as nothing may be executed in /run.
    fs::write(directory.join("rootfs/kontain"), "")?;
    for mount_point in ["proc", "dev"] {
        fs::create_dir(directory.join("rootfs").join(mount_point))?;
    }
    fs::write(directory.join("config.json"), specification(&program, name).to_string())
}

fn specification(program: &Path, name: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/kontain", GUEST], "env": ["PATH=/"], "cwd": "/",
            "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true, "capabilities": {}
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "kontain-check",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/kontain", "type": "bind", "source": program,
             "options": ["bind", "ro", "nosuid", "nodev"]}
        ],
        "linux": {
            "cgroupsPath": format!("/{name}"),
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network"}
            ],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]}
        }
    })
}

/// The container's program: says which kernel it sees, and makes calls that leave the virtual machine.
pub(crate) fn guest() -> String {
    for _ in 0..CALLS {
        let _ = getppid();
    }
    format!("{}\n", uname().release().to_string_lossy())
}

fn judge(krun: &Path, ended: &Ended, host: &str) -> Vec<Finding> {
    let krun = krun.display();
    let seen = ended.stdout.trim();
    if !ended.is_success() {
        let why = format!("a container by {krun}: {}", ended.reason());
        let fix = "mend what the message and the findings above name; a slow machine may need a longer --timeout";
        return vec![Finding::new("smoke", Status::Fail, why, fix)];
    }
    if seen == host {
        let why = format!("a container by {krun} ran natively, on the host's kernel {seen}");
        let fix = "see with krun policy test which rule in /etc/kontain/policy.d says so";
        return vec![Finding::new("smoke", Status::Fail, why, fix)];
    }
    if seen.strip_suffix(SUFFIX) != Some(host) {
        let why = format!("a container by {krun} says {seen:?}, not {host}{SUFFIX}");
        let fix = "see that it is krun of this release: make install, or install the package again";
        return vec![Finding::new("smoke", Status::Fail, why, fix)];
    }
    let milliseconds = ended.took.as_millis();
    let why = format!("a container ran in a virtual machine, by {krun}: {seen}; {milliseconds} ms");
    vec![Finding::ok("smoke", why), exit_cost(&ended.stderr)]
}

/// What km measured.
fn exit_cost(stderr: &str) -> Finding {
    let text = stderr.split("an exit takes ").nth(1).and_then(|rest| rest.split(' ').next());
    let cost = text.and_then(|text| text.parse().ok()).map(|micros: f64| micros / 1e6);
    let Some(cost) = cost.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else {
        let fix = "see that km is of the same release: make install, or install the package again";
        return Finding::new("exit", Status::Warn, "km has not said what an exit takes", fix);
    };
    let micros = cost.as_secs_f64() * 1e6;
    let what = format!("leaving the virtual machine takes {micros:.1} µs");
    let mut finding = if cost > DEAR {
        let why = format!("{what}: KVM is virtual itself, and programs with many calls are slower");
        Finding::new("exit", Status::Warn, why, "use metal for such programs")
    } else {
        Finding::ok("exit", what)
    };
    finding.nanoseconds = u64::try_from(cost.as_nanos()).ok();
    finding
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::super::Status;
    use super::super::bounded::Ended;
    use super::{exit_cost, judge};

    fn says(stdout: &str, code: i32) -> Status {
        let ended = Ended {
            status: Some(ExitStatus::from_raw(code << 8)),
            stdout: stdout.to_owned(),
            stderr: "km: 1: helper: not used; an exit takes 0.9 µs; 0 wakes\n".to_owned(),
            took: Duration::ZERO,
        };
        judge(Path::new("/krun"), &ended, "6.1.0")[0].status
    }

    #[test]
    fn only_the_hosts_kernel_in_a_machine_will_do() {
        assert_eq!(says("6.1.0.kontain.KVM\n", 0), Status::Ok);
        for (stdout, code) in
            [("6.1.0\n", 0), ("", 0), ("5.9.kontain.KVM\n", 0), ("6.1.0.kontain.KVM\n", 1)]
        {
            assert_eq!(says(stdout, code), Status::Fail, "{stdout:?} {code}");
        }
    }

    #[test]
    fn what_an_exit_takes_is_kms_word() {
        let cost =
            |micros: &str| exit_cost(&format!("km: 7: helper: used; an exit takes {micros} µs; 1"));

        assert_eq!((cost("0.9").status, cost("0.9").nanoseconds), (Status::Ok, Some(900)));
        assert_eq!((cost("27.5").status, cost("27.5").nanoseconds), (Status::Warn, Some(27_500)));
        assert_eq!((cost("-1").status, exit_cost("").nanoseconds), (Status::Warn, None));
    }
}
