//! Statistics from files of version 1 (`Documentation/admin-guide/cgroup-v1/`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{BlockEntry, Cpu, CpuUsage, Entry, Files, Memory, Stats, Throttling};

/// The clock ticks of `cpuacct.stat` in a second: 100 on x86-64.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Block I/O files and the fields runc calls them by. The throttling ones exist whatever
/// scheduler a disk has.
const BLOCK: [(&str, &str); 2] = [
    ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
    ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
];

const CPUSET: [(&str, &str); 9] = [
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
    ("sched_relax_domain_level", "cpuset.sched_relax_domain_level"),
];

pub(super) fn read(files: &Files<'_>) -> Stats {
    Stats {
        cpu: Cpu { usage: usage(files), throttling: throttling(files) },
        cpuset: cpuset(files),
        memory: memory(files),
        blkio: BLOCK
            .iter()
            .map(|(name, file)| (*name, block(files, file)))
            .filter(|(_, entries)| !entries.is_empty())
            .collect(),
        ..Stats::default()
    }
}

fn cpuset(files: &Files<'_>) -> BTreeMap<&'static str, Value> {
    let text = |file: &str| files.text(file).unwrap_or_default();
    let number = |file: &str| text(file).trim().parse().unwrap_or(0_i64);
    let mut cpuset: BTreeMap<_, _> =
        CPUSET.iter().map(|(name, file)| (*name, json!(number(file)))).collect();
    for (name, file) in [("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")] {
        let numbers = list(text(file).trim());
        if !numbers.is_empty() {
            cpuset.insert(name, json!(numbers));
        }
    }
    cpuset
}

/// The numbers of a list such as `0-2,7`.
fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn usage(files: &Files<'_>) -> CpuUsage {
    let ticks = files.table("cpuacct.stat");
    let nanoseconds = |name: &str| ticks.get(name).copied().unwrap_or(0) * NANOSECONDS_PER_TICK;
    let all = files.text("cpuacct.usage_all").unwrap_or_default();
    let column = |number: usize| {
        let cell = |line: &str| line.split_whitespace().nth(number)?.parse().ok();
        all.lines().skip(1).filter_map(cell).collect()
    };
    let percpu = files.text("cpuacct.usage_percpu").unwrap_or_default();
    CpuUsage {
        total: files.number("cpuacct.usage"),
        percpu: percpu.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        percpu_user: column(1),
        percpu_kernel: column(2),
        user: nanoseconds("user"),
        kernel: nanoseconds("system"),
    }
}

fn throttling(files: &Files<'_>) -> Throttling {
    let table = files.table("cpu.stat");
    let value = |name: &str| table.get(name).copied().unwrap_or(0);
    Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: value("throttled_time"),
    }
}

fn memory(files: &Files<'_>) -> Memory {
    let entry = |prefix: &str| Entry {
        limit: files.number(&format!("{prefix}.limit_in_bytes")),
        usage: files.number(&format!("{prefix}.usage_in_bytes")),
        max: files.number(&format!("{prefix}.max_usage_in_bytes")),
        failcnt: files.number(&format!("{prefix}.failcnt")),
    };
    let raw = files.table("memory.stat");
    Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry("memory"),
        swap: entry("memory.memsw"),
        kernel: entry("memory.kmem"),
        kernel_tcp: entry("memory.kmem.tcp"),
        raw,
    }
}

/// Lines such as `8:0 Read 4096`; the sum at the end has no device.
fn block(files: &Files<'_>, file: &str) -> Vec<BlockEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        Some(BlockEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    files.text(file).unwrap_or_default().lines().filter_map(entry).collect()
}
