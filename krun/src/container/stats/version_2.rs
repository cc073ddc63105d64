//! Statistics from files of version 2 (`Documentation/admin-guide/cgroup-v2.rst`).

use std::collections::BTreeMap;

use super::{BlockEntry, Cpu, CpuUsage, Entry, Files, Memory, Stats, Throttling};

/// What runc calls the pairs of `io.stat`: field, operation.
const BLOCK: [(&str, &str, &str); 4] = [
    ("rbytes", "ioServiceBytesRecursive", "Read"),
    ("wbytes", "ioServiceBytesRecursive", "Write"),
    ("rios", "ioServicedRecursive", "Read"),
    ("wios", "ioServicedRecursive", "Write"),
];

pub(super) fn read(files: &Files<'_>) -> Stats {
    let cpu = files.table("cpu.stat");
    let value = |name: &str| cpu.get(name).copied().unwrap_or(0);
    let nanoseconds = |name: &str| value(name) * 1000;
    Stats {
        cpu: Cpu {
            usage: CpuUsage {
                total: nanoseconds("usage_usec"),
                user: nanoseconds("user_usec"),
                kernel: nanoseconds("system_usec"),
                ..CpuUsage::default()
            },
            throttling: Throttling {
                periods: value("nr_periods"),
                throttled_periods: value("nr_throttled"),
                throttled_time: nanoseconds("throttled_usec"),
            },
        },
        memory: memory(files),
        blkio: block(files),
        ..Stats::default()
    }
}

fn memory(files: &Files<'_>) -> Memory {
    let limit = |file: &str| match files.text(file).as_deref().map(str::trim) {
        Some("max") => u64::MAX,
        Some(text) => text.parse().unwrap_or_default(),
        None => 0,
    };
    let raw = files.table("memory.stat");
    let usage = Entry {
        limit: limit("memory.max"),
        usage: files.number("memory.current"),
        max: files.number("memory.peak"),
        failcnt: files.table("memory.events").get("max").copied().unwrap_or(0),
    };
    // As on version 1: memory and swap together.
    let swap = Entry {
        limit: limit("memory.swap.max").saturating_add(usage.limit),
        usage: files.number("memory.swap.current") + usage.usage,
        max: 0,
        failcnt: 0,
    };
    Memory { cache: raw.get("file").copied().unwrap_or(0), usage, swap, raw, ..Memory::default() }
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0`.
fn block(files: &Files<'_>) -> BTreeMap<&'static str, Vec<BlockEntry>> {
    let mut found: BTreeMap<&'static str, Vec<BlockEntry>> = BTreeMap::new();
    for line in files.text("io.stat").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let (major, minor) = (major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            if let Some((_, field, op)) = BLOCK.iter().find(|(name, _, _)| *name == key) {
                let (op, value) = ((*op).to_owned(), value.parse().unwrap_or(0));
                found.entry(*field).or_default().push(BlockEntry { major, minor, op, value });
            }
        }
    }
    found
}
