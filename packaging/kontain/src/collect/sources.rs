//! What is collected, and from where.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Collection, LARGEST, redact, words};
use crate::check::Limits;
use crate::document::{Document, Format};
use crate::files::Root;

/// Files that are one document each: kontain's, krun's and the engines'.
const DOCUMENTS: [&str; 4] = [
    "/etc/docker/daemon.json",
    "/etc/containerd/config.toml",
    "/etc/containers/containers.conf",
    "/etc/crio/crio.conf",
];
/// Directories of such, with how their names end.
const DROP_INS: [(&str, &str); 7] = [
    ("/etc/kontain", "toml"),
    ("/etc/kontain/krun.d", "toml"),
    ("/etc/kontain/policy.d", "toml"),
    ("/var/lib/kontain/install", "json"),
    ("/etc/containerd/conf.d", "toml"),
    ("/etc/containers/containers.conf.d", "conf"),
    ("/etc/crio/crio.conf.d", "conf"),
];
/// Where systemd has units, and what distributions add to them.
const UNITS: [&str; 3] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
const SERVICES: [&str; 4] =
    ["docker.service", "containerd.service", "crio.service", "kubelet.service"];
const VARIABLES: [&str; 4] = [
    "/etc/default/docker",
    "/etc/sysconfig/docker",
    "/etc/default/containerd",
    "/etc/sysconfig/crio",
];
/// What the kernel and the distribution say of themselves, to everybody.
const FACTS: [&str; 12] = [
    "/usr/lib/os-release",
    "/proc/version",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/modules",
    "/proc/cgroups",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/pid_max",
    "/sys/fs/cgroup/cgroup.controllers",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/hypervisor/type",
];
/// Directories of such.
const FACT_DIRECTORIES: [&str; 5] = [
    "/sys/module/kvm/parameters",
    "/sys/module/kvm_intel/parameters",
    "/sys/module/kvm_amd/parameters",
    "/sys/module/kvm_pvm/parameters",
    "/sys/devices/system/cpu/vulnerabilities",
];
/// Where krun keeps its containers: its own, and below these what engines name.
const STATES: [&str; 2] = ["/run/krun", "/run/crun"];
const ENGINE_STATES: [&str; 3] = ["/run/docker", "/run/containerd/runc", "/run/crio"];
/// Of so many containers.
const CONTAINERS: usize = 200;
/// What asks the journal may take so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn add(all: &mut Collection, root: &Root) {
    for file in DOCUMENTS {
        document(all, root, Path::new(file));
    }
    for (directory, end) in DROP_INS {
        let directory = Path::new(directory);
        for name in root.names(directory) {
            if Path::new(&name).extension().is_some_and(|found| found == end) {
                document(all, root, &directory.join(name));
            }
        }
    }
    for directory in UNITS.map(Path::new) {
        for service in SERVICES {
            text(all, root, &directory.join(service), redact::unit);
            let drop_ins = directory.join(format!("{service}.d"));
            for name in root.names(&drop_ins) {
                text(all, root, &drop_ins.join(name), redact::unit);
            }
        }
    }
    for file in VARIABLES {
        text(all, root, Path::new(file), redact::unit);
    }
    facts(all, root);
    states(all, root);
    if root.is_this_node() {
        journal(all);
    }
}

fn facts(all: &mut Collection, root: &Root) {
    for file in FACTS {
        text(all, root, Path::new(file), str::to_owned);
    }
    for directory in FACT_DIRECTORIES.map(Path::new) {
        for name in root.names(directory) {
            text(all, root, &directory.join(name), str::to_owned);
        }
    }
    text(all, root, Path::new("/proc/cmdline"), redact::parameters);
    // They are alike.
    let first = |text: &str| text.split("\n\n").next().unwrap_or_default().to_owned() + "\n";
    text(all, root, Path::new("/proc/cpuinfo"), first);
    // Options of other file systems name users and passwords.
    let cgroups = |text: &str| {
        let is_cgroup =
            |line: &&str| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup"));
        text.split_inclusive('\n').filter(is_cgroup).collect()
    };
    text(all, root, Path::new("/proc/1/mounts"), cgroups);
}

/// krun's records of containers, what it was given for them, and what it has logged.
fn states(all: &mut Collection, root: &Root) {
    let mut directories: Vec<PathBuf> = STATES.iter().map(PathBuf::from).collect();
    for top in ENGINE_STATES.map(Path::new) {
        directories.push(top.to_owned());
        for name in root.names(top) {
            let below = top.join(&name);
            directories.extend(root.names(&below).into_iter().map(|name| below.join(name)));
            directories.push(below);
        }
    }
    let mut count = 0;
    for directory in directories {
        for name in root.names(&directory) {
            let container = directory.join(&name);
            let Some(record) = read_json(root, &container.join("state.json")) else { continue };
            // A record of another runtime's has other fields.
            if record.get("mode").is_none() || record.get("bundle").is_none() {
                continue;
            }
            count += 1;
            if count > CONTAINERS {
                return all
                    .leave_out(&directory.display().to_string(), "there are more containers");
            }
            document(all, root, &container.join("state.json"));
            document(all, root, &container.join("bundle.json"));
            if let Some(bundle) = record["bundle"].as_str() {
                let bundle = bundle
                    .strip_prefix("/var/run/")
                    .map(|rest| format!("/run/{rest}"))
                    .unwrap_or(bundle.to_owned());
                text(all, root, &Path::new(&bundle).join("log.json"), lines);
            }
        }
    }
}

/// What engines have logged of krun. Their other lines are nobody's concern.
fn journal(all: &mut Collection) {
    let mut command = Command::new("journalctl");
    command.args([
        "--no-pager",
        "--quiet",
        "--since",
        "-2d",
        // What is longer than can be taken loses its oldest lines.
        "--reverse",
        "--lines",
        "20000",
        "--output",
        "short-iso",
    ]);
    for service in SERVICES {
        command.args(["--unit", service]);
    }
    match Limits::of(PATIENCE).run(&mut command) {
        Ok(ended) if ended.is_success() => {
            let ours =
                |line: &&str| ["krun", "km:", "kontain"].iter().any(|name| line.contains(name));
            let said: Vec<_> = ended.stdout.lines().filter(ours).collect();
            let said: String = said.into_iter().rev().flat_map(|line| [line, "\n"]).collect();
            all.add("journal", end_of(&lines(&said)).into());
        }
        Ok(ended) => all.leave_out("journal", &words::text(&ended.reason())),
        Err(error) => all.leave_out("journal", &format!("journalctl: {error}")),
    }
}

fn lines(text: &str) -> String {
    text.lines().map(|line| words::text(line) + "\n").collect()
}

fn end_of(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LARGEST);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

fn read_json(root: &Root, path: &Path) -> Option<Value> {
    serde_json::from_str(&root.look_unlinked(path, LARGEST).ok()??).ok()
}

/// Adds a document, as JSON.
fn document(all: &mut Collection, root: &Root, path: &Path) {
    let shown = path.display().to_string();
    let found = match root.look_unlinked(path, LARGEST) {
        Ok(Some(text)) => text,
        Ok(None) => return,
        Err(why) => return all.leave_out(&shown, &why),
    };
    let is_json = path.extension().is_some_and(|end| end == "json");
    let value = if is_json {
        serde_json::from_str(&found).ok()
    } else {
        let document = Document::parse_text(Format::Toml, &found, path);
        document.and_then(|document| document.get(&[])).ok().flatten()
    };
    let name = if is_json { shown.clone() } else { format!("{shown}.json") };
    match value {
        Some(value) => all.add_json(&name, &redact::document(&value)),
        // What is wrong with it would be told with what is in it.
        None => all.leave_out(&shown, "it is not valid"),
    }
}

/// Adds a text.
fn text(all: &mut Collection, root: &Root, path: &Path, told: impl Fn(&str) -> String) {
    match root.look_unlinked(path, LARGEST) {
        Ok(Some(text)) => all.add(&path.display().to_string(), end_of(&told(&text)).into()),
        Ok(None) => {}
        Err(why) => all.leave_out(&path.display().to_string(), &why),
    }
}
