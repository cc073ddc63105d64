//! The engines as they run: what they themselves say of krun, whatever is in their files by now.
//!
//! dockerd and CRI-O are asked by their sockets, podman by its program. containerd's own answer would take a client of
//! its protocol: its program is asked what it makes of its files, and its age tells whether it has read them.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::bounded::Limits;
use super::{Finding, Status};
use crate::document::{Document, Format};
use crate::engines::Engine;
use crate::files::Root;
use crate::record::{Kept, Record};

const DOCKER: &str = "/run/docker.sock";
const CRIO: &str = "/run/crio/crio.sock";
const PODMAN: &str = "/usr/bin/podman";
/// The plugin's table, in versions 2 and 3 of what containerd says of itself.
const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
/// An answer that is longer is not read.
const LONGEST: u64 = 4 << 20;

/// The runtimes that an engine knows, by name, and its default.
#[derive(Debug, Default)]
struct Known {
    runtimes: Vec<(String, PathBuf)>,
    default: Option<String>,
    /// What stands in the way of believing it.
    doubt: Option<String>,
}

pub(super) fn check(root: &Root, krun: &Path, directory: &Path, limits: &Limits) -> Vec<Finding> {
    Engine::ALL
        .into_iter()
        .filter_map(|engine| of_engine(engine, root, krun, directory, limits))
        .collect()
}

fn of_engine(
    engine: Engine,
    root: &Root,
    krun: &Path,
    directory: &Path,
    limits: &Limits,
) -> Option<Finding> {
    // A record that cannot be read is another finding.
    let record = Kept::read(root, engine).ok().flatten().map(|kept| kept.record);
    let known = match engine {
        Engine::Docker => docker(&root.shown(Path::new(DOCKER)), limits),
        Engine::Crio => crio(&root.shown(Path::new(CRIO)), limits),
        Engine::Containerd => containerd(record.as_ref(), limits),
        Engine::Podman => podman(record.as_ref(), directory, limits),
        // These are files, which engines read.
        Engine::Ecs | Engine::EcsPolicy | Engine::Eks => return None,
    };
    let id = format!("{}-runs", engine.name());
    match known {
        Ok(Some(known)) => Some(judge(&id, engine, &known, record.as_ref(), krun)),
        Ok(None) if record.is_none() => None,
        Ok(None) => {
            let why = format!("{} does not run, and was not asked about krun", engine.name());
            Some(Finding::new(&id, Status::Warn, why, "start it, and check again"))
        }
        Err(error) => {
            let why = format!("{} does not say what it knows: {error}", engine.name());
            Some(Finding::new(&id, Status::Fail, why, "see its log, and start it again"))
        }
    }
}

/// Compares what an engine knows with what it was told.
fn judge(id: &str, engine: Engine, known: &Known, told: Option<&Record>, krun: &Path) -> Finding {
    let name = engine.name();
    let is_krun = |path: &Path| path == krun || same_file(path, krun);
    let Some(record) = told else {
        let names = known.runtimes.iter().filter(|(_, path)| is_krun(path)).map(|(name, _)| name);
        let names: Vec<_> = names.map(String::as_str).collect();
        if names.is_empty() {
            let why = format!("{name} runs, and does not know krun");
            return Finding::new(id, Status::Warn, why, &format!("kontain install {name}"));
        }
        let why = format!("{name} runs {} as {}", krun.display(), names.join(", "));
        return Finding::ok(id, why);
    };
    if let Some(doubt) = &known.doubt {
        return Finding::new(id, Status::Fail, doubt, engine.next());
    }
    let wished = &record.name;
    let Some((_, path)) = known.runtimes.iter().find(|(name, _)| name == wished) else {
        let why = format!("{name} runs, and does not know {wished} yet");
        return Finding::new(id, Status::Fail, why, engine.next());
    };
    if !is_krun(path) {
        let why = format!("{name} runs {} as {wished}, not {}", path.display(), krun.display());
        let fix = format!("{}, or name that binary with --binary", engine.next());
        return Finding::new(id, Status::Fail, why, &fix);
    }
    if record.default && known.default.as_ref() != Some(wished) {
        let default = known.default.as_deref().unwrap_or("none");
        let why = format!("{name} runs {}, but its default is {default}", path.display());
        return Finding::new(id, Status::Fail, why, engine.next());
    }
    let default = if known.default.as_ref() == Some(wished) { ", its default" } else { "" };
    Finding::ok(id, format!("{name} runs {} as {wished}{default}", path.display()))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let inode = |path| fs::metadata(path).ok().map(|status| (status.dev(), status.ino()));
    inode(one).is_some() && inode(one) == inode(other)
}

fn docker(socket: &Path, limits: &Limits) -> io::Result<Option<Known>> {
    let Some(text) = ask(socket, "/info", limits.each())? else { return Ok(None) };
    let info: Value = serde_json::from_str(&text)?;
    let path = |runtime: &Value| runtime.get("path").and_then(Value::as_str).map(PathBuf::from);
    let default = info["DefaultRuntime"].as_str().map(str::to_owned);
    Ok(Some(Known { runtimes: pairs(&info["Runtimes"], path), default, doubt: None }))
}

fn crio(socket: &Path, limits: &Limits) -> io::Result<Option<Known>> {
    let Some(text) = ask(socket, "/config", limits.each())? else { return Ok(None) };
    let runtime = table(&text, &["crio", "runtime"])?;
    let path = |entry: &Value| entry["runtime_path"].as_str().map(PathBuf::from);
    let default = runtime["default_runtime"].as_str().map(str::to_owned);
    Ok(Some(Known { runtimes: pairs(&runtime["runtimes"], path), default, doubt: None }))
}

fn podman(told: Option<&Record>, directory: &Path, limits: &Limits) -> io::Result<Option<Known>> {
    let Some(record) = told.filter(|_| Path::new(PODMAN).exists()) else { return Ok(None) };
    let ask = |options: &[&str]| {
        let mut command = Command::new(PODMAN);
        // It makes its storage wherever it is asked anything.
        command.args(["--storage-driver", "vfs"]);
        for option in ["--root", "--runroot", "--tmpdir"] {
            command.arg(option).arg(directory.join("podman").join(&option[2..]));
        }
        command.args(options).args([
            "info",
            "--format",
            "{{.Host.OCIRuntime.Name}}\n{{.Host.OCIRuntime.Path}}",
        ]);
        let ended = limits.run(&mut command)?;
        let pair = ended.stdout.trim().split_once('\n');
        match pair.filter(|_| ended.is_success()) {
            Some((name, path)) => Ok((name.trim().to_owned(), PathBuf::from(path.trim()))),
            None => Err(io::Error::other(ended.reason())),
        }
    };
    let (_, path) = ask(&["--runtime", &record.name])?;
    let (default, _) = ask(&[])?;
    let runtimes = vec![(record.name.clone(), path)];
    Ok(Some(Known { runtimes, default: Some(default), doubt: None }))
}

fn containerd(told: Option<&Record>, limits: &Limits) -> io::Result<Option<Known>> {
    let Some(process) = Process::containerd() else { return Ok(None) };
    let mut command = Command::new(&process.program);
    if let Some(file) = &process.config {
        command.arg("--config").arg(file);
    }
    let ended = limits.run(command.args(["config", "dump"]))?;
    if !ended.is_success() {
        return Err(io::Error::other(ended.reason()));
    }
    let mut known = Known::default();
    for cri in CRI {
        let plugin = table(&ended.stdout, &["plugins", cri, "containerd"])?;
        let path =
            |entry: &Value| entry.pointer("/options/BinaryName")?.as_str().map(PathBuf::from);
        known.runtimes.extend(pairs(&plugin["runtimes"], path));
        let default = plugin["default_runtime_name"].as_str().map(str::to_owned);
        known.default = known.default.or(default);
    }
    let changed = told.and_then(|record| fs::metadata(&record.file).ok()?.modified().ok());
    if let (Some(changed), Some(started)) = (changed, process.started)
        && changed > started
    {
        let file = told.map(|record| record.file.display().to_string()).unwrap_or_default();
        known.doubt = Some(format!("containerd was started before {file} was changed"));
    }
    Ok(Some(known))
}

/// A containerd that nobody else keeps for himself.
#[derive(Debug)]
struct Process {
    program: PathBuf,
    config: Option<PathBuf>,
    started: Option<SystemTime>,
}

impl Process {
    fn containerd() -> Option<Self> {
        let entries = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "containerd")
        };
        entries.filter(is_it).find_map(|path| Self::at(&path))
    }

    fn at(path: &Path) -> Option<Self> {
        let program = fs::read_link(path.join("exe")).ok()?;
        let words = fs::read(path.join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let words: Vec<_> = words.split('\0').collect();
        let value = |(index, word): (usize, &&str)| match word.split_once('=') {
            Some(("--config" | "-c", value)) => Some(PathBuf::from(value)),
            None if ["--config", "-c"].contains(word) => words.get(index + 1).map(PathBuf::from),
            _ => None,
        };
        let config = words.iter().enumerate().find_map(value);
        // dockerd's own, which serves nobody else.
        if config.as_ref().is_some_and(|file| file.ends_with("containerd/containerd.toml")) {
            return None;
        }
        Some(Self { program, config, started: started(path) })
    }
}

/// When a process was started: its age is counted from the machine's start.
fn started(process: &Path) -> Option<SystemTime> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let ticks: u64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let since_start = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()?;
    SystemTime::now().checked_sub(uptime.checked_sub(since_start)?)
}

fn pairs(runtimes: &Value, path: impl Fn(&Value) -> Option<PathBuf>) -> Vec<(String, PathBuf)> {
    let all = runtimes.as_object().into_iter().flatten();
    all.filter_map(|(name, entry)| Some((name.clone(), path(entry)?))).collect()
}

fn table(text: &str, place: &[&str]) -> io::Result<Value> {
    let place: Vec<_> = place.iter().map(|&name| name.to_owned()).collect();
    let document = Document::parse_text(Format::Toml, text, Path::new("its configuration"));
    let value = document.and_then(|document| document.get(&place));
    value.map(Option::unwrap_or_default).map_err(io::Error::other)
}

/// Asks an HTTP server on a socket; none if nobody listens there.
fn ask(socket: &Path, what: &str, limit: Duration) -> io::Result<Option<String>> {
    let mut stream = match UnixStream::connect(socket) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        other => other?,
    };
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // In version 1.0 the answer ends with the connection, and is in one piece.
    write!(stream, "GET {what} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(LONGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("{}: GET {what}: {line:?}", socket.display())));
    }
    Ok(Some(body.to_owned()))
}

#[cfg(test)]
mod tests;
