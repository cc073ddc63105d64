//! The memory of containers that do nothing: one, and many of them at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration::bundle::Bundle;
use integration::footprint::CGROUPS;
use integration::guests;
use integration::runtime::Runtime;

use crate::contestants::{Contestant, Contestants, KRUN_NATIVE, Kind, RUNSC};
use crate::life::call;
use crate::say;
use crate::tables::{Row, Table, Unit};

const MANY: u8 = 100;
/// Of those that take some 30 MiB each.
const FEW: u8 = 10;

/// Until everything has come to rest.
const REST: Duration = Duration::from_millis(500);

/// The program: it sleeps.
const SLEEP: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

pub(crate) fn measure(contestants: &Contestants) -> Result<Table> {
    let bundle = Bundle::with_args(&["/bin/static-sleep"])?;
    guests::c_text(SLEEP, &bundle.in_rootfs("bin/static-sleep"))?;
    let mut rows = [
        Row::new("Pss of a container, alone", Unit::Bytes),
        Row::new("Pss of a container, among 100", Unit::Bytes),
        Row::new("charged to its cgroup, among 100", Unit::Bytes),
    ];
    for one in &contestants.0 {
        say(&format!("memory, {}", one.name));
        let many = if one.name == RUNSC { FEW } else { MANY };
        match one.refusal.clone().map_or_else(|| sleepers(one, &bundle, 1), |r| Ok(Err(r)))? {
            Ok((pss, _)) => rows[0].add(&one.name, pss),
            Err(reason) => rows.iter_mut().for_each(|row| row.fail(&one.name, &reason)),
        }
        if rows[0].has_failed(&one.name) {
            continue;
        }
        if let Ok((pss, charged)) = sleepers(one, &bundle, many)? {
            rows[1].add(&one.name, pss);
            rows[2].add(&one.name, charged);
        }
    }
    Ok(Table {
        key: "memory",
        title: "Memory",
        text: format!(
            "Containers in which a static program sleeps: the Pss (`smaps_rollup`) of all processes in a \
             container's cgroup, and what that cgroup is charged, which counts memory of the kernel's too, \
             each as a mean over all containers. runsc was measured among {FEW}.{}",
            contestants.notes()
        ),
        columns: contestants.names(),
        baseline: KRUN_NATIVE,
        rows: rows.into(),
    })
}

/// Mean Pss and mean charge of so many containers at once.
fn sleepers(one: &Contestant, bundle: &Bundle, count: u8) -> Result<Result<(f64, f64), String>> {
    let Kind::Container(runtime, _) = &one.kind else {
        return Ok(Err("not a container".to_owned()));
    };
    let started = one.within(|| (0..count).try_for_each(|at| start(runtime, bundle, at)));
    thread::sleep(REST);
    let (mut pss, mut charged) = (0.0, 0.0);
    let measured = (0..count).try_for_each(|at| {
        let cgroup = cgroup(bundle, at);
        let processes = fs::read_to_string(cgroup.join("cgroup.procs"))?;
        ensure!(!processes.is_empty(), "{} is empty", cgroup.display());
        for pid in processes.lines() {
            pss += self::pss(pid)?;
        }
        charged += charge(&cgroup)?;
        Ok(())
    });
    one.within(|| {
        for at in 0..count {
            runtime.call(["delete", "--force", &name(at)])?;
        }
        Ok(())
    })?;
    started?;
    measured?;
    Ok(Ok((pss / f64::from(count), charged / f64::from(count))))
}

fn start(runtime: &Runtime, bundle: &Bundle, at: u8) -> Result<()> {
    let mut spec = bundle.spec.clone();
    spec["linux"]["cgroupsPath"] = format!("{}/{}", bundle.footprint.cgroup(), name(at)).into();
    fs::write(bundle.path().join("config.json"), serde_json::to_vec(&spec)?)?;
    call(runtime, &["create", "--bundle", &bundle.path().to_string_lossy(), &name(at)])?;
    call(runtime, &["start", &name(at)])
}

fn name(at: u8) -> String {
    format!("sleeper-{at}")
}

/// A container's directory in the hierarchy that counts memory.
fn cgroup(bundle: &Bundle, at: u8) -> PathBuf {
    let below = Path::new(&bundle.footprint.cgroup()[1..]).join(name(at));
    let version_1 = Path::new(CGROUPS).join("memory");
    if version_1.is_dir() { version_1.join(below) } else { Path::new(CGROUPS).join(below) }
}

fn pss(pid: &str) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("Pss")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024.0)
}

fn charge(cgroup: &Path) -> Result<f64> {
    let read = |file| fs::read_to_string(cgroup.join(file));
    let text = read("memory.usage_in_bytes").or_else(|_| read("memory.current"))?;
    Ok(text.trim().parse()?)
}
