//! What is aimed at, as ratios within one run, and how far it is.

use crate::contestants::{CRUN, KM, KRUN, KRUN_NATIVE, NATIVE, RUNC, RUNSC};
use crate::tables::{Row, Table, Unit, three_digits};

/// A ratio of one row's, and its bound.
struct Target {
    row: &'static str,
    who: &'static str,
    to: &'static str,
    bound: Bound,
    /// What the row's name does not say.
    remark: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// The speed, which is the inverse of a time.
    SpeedAtLeast(f64),
}

use Bound::{AtLeast, AtMost, SpeedAtLeast};

const fn target(row: &'static str, who: &'static str, to: &'static str, bound: Bound) -> Target {
    Target { row, who, to, bound, remark: "" }
}

const fn rewritten(row: &'static str, most: f64) -> Target {
    Target {
        row,
        who: KM,
        to: NATIVE,
        bound: AtMost(most),
        remark: ", where call sites can be rewritten",
    }
}

const TARGETS: [Target; 26] = [
    target("create, start, wait, delete", KRUN, RUNC, AtMost(0.6)),
    target("create, start, wait, delete", KRUN_NATIVE, RUNC, AtMost(0.5)),
    target("create, start, wait, delete", KRUN, CRUN, AtMost(1.5)),
    target("static hello", KM, NATIVE, AtMost(4.0)),
    target("clock_gettime", KM, NATIVE, AtMost(1.3)),
    target("getpid", KM, NATIVE, AtMost(9.0)),
    target("null call (getppid)", KM, NATIVE, AtMost(9.0)),
    target("write 1 byte to /dev/null", KM, NATIVE, AtMost(10.0)),
    rewritten("getpid", 1.0),
    rewritten("write 1 byte to /dev/null", 3.0),
    target("busybox dd bs=1 count=20000", KM, NATIVE, AtMost(7.0)),
    target("find over 100,000 files", KM, NATIVE, AtMost(2.2)),
    target("sqlite, 2,000 inserts", KM, NATIVE, AtMost(2.2)),
    target("python start", KM, NATIVE, AtMost(1.8)),
    target("first touch of 256 MiB", KM, NATIVE, AtMost(1.3)),
    target("mmap, touch, munmap 1 MiB", KM, NATIVE, AtMost(2.0)),
    target("fork, exec, wait", KM, NATIVE, AtMost(6.0)),
    target("posix_spawn, wait", KM, NATIVE, AtMost(5.0)),
    target("thread create, join", KM, NATIVE, AtMost(5.0)),
    target("redis GET, 50 clients, -P 1", KM, NATIVE, AtLeast(0.5)),
    target("redis GET, 50 clients, -P 16", KM, NATIVE, AtLeast(0.8)),
    target("python, CPU-bound", KM, NATIVE, SpeedAtLeast(0.95)),
    target("java, CPU-bound", KM, NATIVE, SpeedAtLeast(0.95)),
    target("gcc (cc1 -O2), CPU-bound", KM, NATIVE, SpeedAtLeast(0.95)),
    target("redis GET, 50 clients, -P 1", KRUN, NATIVE, AtLeast(0.5)),
    target("redis GET, 50 clients, -P 16", KRUN, NATIVE, AtLeast(0.8)),
];

/// How many times as fast as runsc every program is to be.
const THAN_RUNSC: f64 = 3.0;

/// MiB that km may take above what a native container takes.
const PSS_MIB: f64 = 3.0;

/// Lines of a table in Markdown: what, target, measured, whether it is met.
///
/// Targets of groups that were not run are left out.
pub(crate) fn lines(tables: &[Table]) -> Vec<[String; 4]> {
    let was_run = |target: &&Target| row(tables, target.row).is_some();
    let mut lines: Vec<_> =
        TARGETS.iter().filter(was_run).map(|target| target.line(tables)).collect();
    lines.extend(than_runsc(tables));
    lines.extend(idle_memory(tables));
    lines
}

impl Target {
    fn line(&self, tables: &[Table]) -> [String; 4] {
        let row = row(tables, self.row);
        let (sign, bound) = match self.bound {
            AtMost(bound) => ("≤", bound),
            AtLeast(bound) | SpeedAtLeast(bound) => ("≥", bound),
        };
        let measured = row.and_then(|row| match self.bound {
            AtMost(_) | AtLeast(_) => row.ratio(self.who, self.to),
            SpeedAtLeast(_) => row.speed(self.who, self.to),
        });
        let is_met = measured.map(|measured| match self.bound {
            AtMost(bound) => measured <= bound,
            AtLeast(bound) | SpeedAtLeast(bound) => measured >= bound,
        });
        let what = if matches!(self.bound, SpeedAtLeast(_)) { ", speed" } else { "" };
        [
            format!("{}{what}{}: {}", self.row, self.remark, self.who),
            format!("{sign} {bound}× {}", self.to),
            measured.map_or("–".to_owned(), |ratio| format!("{}×", three_digits(ratio))),
            verdict(is_met),
        ]
    }
}

/// The program on which krun is least ahead of runsc.
fn than_runsc(tables: &[Table]) -> Option<[String; 4]> {
    let programs = tables.iter().filter(|table| ["macro", "docker", "life"].contains(&table.key));
    let speeds = programs
        .flat_map(|table| &table.rows)
        .filter_map(|row| Some((row.speed(KRUN, RUNSC)?, row.name.as_str())));
    let speeds: Vec<_> = speeds.collect();
    let enough = speeds.iter().filter(|(speed, _)| *speed >= THAN_RUNSC).count();
    let (least, name) = speeds.iter().min_by(|one, other| one.0.total_cmp(&other.0))?;
    Some([
        format!("every program, speed: {KRUN}"),
        format!("≥ {THAN_RUNSC}× {RUNSC}"),
        format!("{enough} of {}; least {}×, {name}", speeds.len(), three_digits(*least)),
        verdict(Some(*least >= THAN_RUNSC)),
    ])
}

fn idle_memory(tables: &[Table]) -> Option<[String; 4]> {
    let row = row(tables, "Pss of a container, among 100")?;
    let more = row.median(KRUN)? - row.median(KRUN_NATIVE)?;
    Some([
        format!("Pss of an idle container above {KRUN_NATIVE}: {KRUN}"),
        format!("≤ {PSS_MIB} MiB"),
        Unit::Bytes.show(more),
        verdict(Some(more <= PSS_MIB * 1024.0 * 1024.0)),
    ])
}

fn verdict(is_met: Option<bool>) -> String {
    match is_met {
        Some(true) => "met",
        Some(false) => "**not met**",
        None => "not measured",
    }
    .to_owned()
}

fn row<'a>(tables: &'a [Table], name: &str) -> Option<&'a Row> {
    tables.iter().flat_map(|table| &table.rows).find(|row| row.name == name)
}
