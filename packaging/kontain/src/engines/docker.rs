//! dockerd: `runtimes` and `default-runtime` in `/etc/docker/daemon.json`.
//!
//! dockerd merges `runtimes` with its flags, and does not start if it is given the default both in the file and by
//! flag.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::units::Options;
use super::{Engine, Entry, Plan, Target, Wish};
use crate::error::{NodeError, Result};
use crate::files::Root;

const FILE: &str = "/etc/docker/daemon.json";
/// Where a docker that no snap brings has its daemon.
const DAEMONS: [&str; 3] = ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"];
/// Where snap's docker has its own.
const SNAP: &str = "/var/snap/docker";
/// Programs here become `--add-runtime` on Amazon Linux.
const RUNTIMES_D: &str = "/etc/docker-runtimes.d";

pub(super) fn target(root: &Root, wish: &Wish) -> Result<Target> {
    let told = options(root).value("--config-file");
    if let Some(file) = &wish.config {
        return Ok(Engine::Docker.target_of(file));
    }
    if let Some((source, file)) = told
        && Path::new(&file) != Path::new(FILE)
    {
        let reason = format!("dockerd reads {file} instead of {FILE}");
        let fix = format!("say --config {file}");
        return Err(NodeError::field(&root.shown(&source), "--config-file", reason, fix));
    }
    let is_there = |path: &str| root.exists(Path::new(path));
    if is_there(SNAP) && !DAEMONS.into_iter().any(is_there) {
        let reason = "docker is snap's, which cannot see programs of the host's such as krun";
        let fix = "install docker from the distribution or from docker.com, or name another \
                   dockerd's file with --config";
        return Err(NodeError::refused(&root.shown(Path::new(SNAP)), reason, fix));
    }
    Ok(Engine::Docker.target_of(Path::new(FILE)))
}

pub(super) fn plan(root: &Root, wish: &Wish, target: &Target) -> Result<Plan> {
    let mut plan = Plan::default();
    refuse_flags(root, wish)?;
    let mut runtime = Entry::new(&["runtimes", &wish.name], json!({"path": wish.binary()}));
    runtime.counts = "/path";
    plan.entries.push(runtime);
    if wish.default {
        let mut default = Entry::new(&["default-runtime"], json!(wish.name));
        default.replaces = true;
        plan.entries.push(default);
    }
    if target.file != Path::new(FILE) {
        let file = target.file.display();
        plan.warnings.push(format!("dockerd reads {file} only with --config-file {file}"));
    }
    if root.exists(Path::new(SNAP)) {
        let warning = format!("{SNAP}: snap's docker is not told; dockerd of the distribution is");
        plan.warnings.push(warning);
    }
    Ok(plan)
}

/// What is given both in the file and by flag stops dockerd, or is not what it seems.
fn refuse_flags(root: &Root, wish: &Wish) -> Result<()> {
    let options = options(root);
    if wish.default
        && let Some((source, runtime)) = options.value("--default-runtime")
    {
        let reason =
            format!("it is {runtime} here: given here and in the file, dockerd does not start");
        let fix = "take the flag away, reload systemd, and try again";
        return Err(NodeError::field(&root.shown(&source), "--default-runtime", reason, fix));
    }
    for (source, runtime) in options.values("--add-runtime") {
        if runtime.split('=').next() == Some(&wish.name) {
            let reason = format!("it is {runtime} here: the same name cannot be in the file, too");
            let fix = "take the flag away, or choose another --name";
            return Err(NodeError::field(&root.shown(&source), "--add-runtime", reason, fix));
        }
    }
    let program = Path::new(RUNTIMES_D).join(&wish.name);
    if root.exists(&program) {
        let reason = "dockerd is given this runtime by a flag already";
        let fix = "remove it, or choose another --name";
        return Err(NodeError::refused(&root.shown(&program), reason, fix));
    }
    Ok(())
}

/// What dockerd is called with.
pub(crate) fn options(root: &Root) -> Options {
    let files = ["/etc/default/docker", "/etc/sysconfig/docker"].map(PathBuf::from);
    Options::of_service(root, "docker.service", &files)
}
