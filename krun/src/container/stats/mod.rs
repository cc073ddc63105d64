//! What a container uses, read from its cgroup, in the form runc's `events` prints.
//!
//! Numbers that are 0 are left out where runc leaves them out. Times are in nanoseconds, memory
//! in bytes.

mod version_1;
mod version_2;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

/// A cgroup's directories, as files to be read.
#[derive(Debug)]
struct Files<'a>(&'a [PathBuf]);

impl Files<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|directory| fs::read_to_string(directory.join(name)).ok())
    }

    /// A file with one number; `max` is no number.
    fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// A file with a name and a number on each line.
    fn table(&self, name: &str) -> BTreeMap<String, u64> {
        let text = self.text(name).unwrap_or_default();
        let row = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(row).collect()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Everything there is to say.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stats {
    cpu: Cpu,
    cpuset: BTreeMap<&'static str, serde_json::Value>,
    memory: Memory,
    pids: Pids,
    blkio: BTreeMap<&'static str, Vec<BlockEntry>>,
    hugetlb: BTreeMap<String, Entry>,
    intel_rdt: Nothing,
    network_interfaces: Option<()>,
}

/// `{}`.
#[derive(Debug, Default, Serialize)]
struct Nothing {}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
}

#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: Entry,
    swap: Entry,
    kernel: Entry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Entry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Entry {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BlockEntry {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    op: String,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

/// Reads what the cgroup with these directories uses.
pub(crate) fn read(directories: &[PathBuf]) -> Stats {
    let files = Files(directories);
    let mut stats = if files.text("cgroup.controllers").is_some() {
        version_2::read(&files)
    } else {
        version_1::read(&files)
    };
    stats.pids = Pids { current: files.number("pids.current"), limit: files.number("pids.max") };
    stats
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::read;

    fn json(files: &[(&str, &str)]) -> serde_json::Value {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        serde_json::to_value(read(&[directory.path().to_owned()])).unwrap()
    }

    #[test]
    fn version_1_is_read_into_the_fields_of_runc() {
        let stats = json(&[
            ("cpuacct.usage", "5000\n"),
            ("cpuacct.stat", "user 3\nsystem 2\n"),
            ("cpuacct.usage_all", "cpu user system\n0 10 20\n1 30 40\n"),
            ("cpuacct.usage_percpu", "30 70 \n"),
            ("cpu.stat", "nr_periods 4\nnr_throttled 1\nthrottled_time 9\n"),
            ("memory.stat", "cache 11\nrss 12\n"),
            ("memory.usage_in_bytes", "100\n"),
            ("memory.limit_in_bytes", "200\n"),
            ("memory.max_usage_in_bytes", "150\n"),
            ("memory.failcnt", "1\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            ("cpuset.cpus", "0-2,7\n"),
            ("cpuset.sched_relax_domain_level", "-1\n"),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 7\n8:0 Total 7\nTotal 7\n"),
        ]);

        assert_eq!(stats["cpu"]["usage"]["total"], 5000);
        assert_eq!(stats["cpu"]["usage"]["user"], 30_000_000);
        assert_eq!(stats["cpu"]["usage"]["percpu_kernel"], serde_json::json!([20, 40]));
        assert_eq!(stats["cpu"]["throttling"]["throttledPeriods"], 1);
        assert_eq!(stats["memory"]["cache"], 11);
        let usage = serde_json::json!({"limit": 200, "usage": 100, "max": 150, "failcnt": 1});
        assert_eq!(stats["memory"]["usage"], usage);
        assert_eq!(stats["pids"], serde_json::json!({"current": 3}));
        assert_eq!(stats["blkio"]["ioServicedRecursive"][0]["value"], 7);
        assert_eq!(stats["cpuset"]["cpus"], serde_json::json!([0, 1, 2, 7]));
        assert_eq!(stats["cpuset"]["sched_relax_domain_level"], -1);
        assert_eq!(stats["network_interfaces"], serde_json::Value::Null);
    }

    #[test]
    fn version_2_is_read_into_the_fields_of_runc() {
        let stats = json(&[
            ("cgroup.controllers", "cpu memory\n"),
            ("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 1\n"),
            ("memory.stat", "anon 12\nfile 11\n"),
            ("memory.current", "100\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "7\n"),
            ("pids.max", "20\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n"),
        ]);

        assert_eq!(stats["cpu"]["usage"]["total"], 5000);
        assert_eq!(stats["memory"]["cache"], 11);
        assert_eq!(stats["memory"]["usage"]["limit"], u64::MAX);
        assert_eq!(stats["memory"]["swap"]["usage"], 107);
        assert_eq!(stats["pids"]["limit"], 20);
        assert_eq!(stats["blkio"]["ioServiceBytesRecursive"][1]["value"], 20);
    }
}
