//! Limits as properties of a unit (systemd.resource-control(5)).
//!
//! systemd writes them to the cgroup's files itself, and again whenever it reads its units anew. What
//! it has no property for is only in the files.

use super::body::Value;
use crate::container::limits::{self, Limits};

/// The period where none was ever set, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// No limit.
const INFINITY: u64 = u64::MAX;

/// The version of the host's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// The first version of systemd that has it, if it is one that hosts still lack.
    pub(super) since: Option<u32>,
}

impl Property {
    fn new(name: &'static str, value: u64) -> Self {
        Self { name, value: Value::Number(value), since: None }
    }

    fn since(self, version: u32) -> Self {
        Self { since: Some(version), ..self }
    }
}

/// What is to be told to systemd. `cpu_max` is quota and period as the file of that name holds them, if
/// they were set before: the half of it that is not asked for stays.
pub(super) fn of(limits: &Limits, cpu_max: &str, version: Version) -> Vec<Property> {
    match version {
        Version::One => of_version_1(limits, cpu_max),
        Version::Two => of_version_2(limits, cpu_max),
    }
}

/// The names that systemd had then, as far as runc uses them.
fn of_version_1(limits: &Limits, cpu_max: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let memory = limits::given(limits.memory.limit).map(or_infinity);
    properties.extend(memory.map(|limit| Property::new("MemoryLimit", limit)));
    let shares = limits::given(limits.cpu.shares);
    properties.extend(shares.map(|shares| Property::new("CPUShares", shares)));
    properties.extend(quota(limits, cpu_max));
    let weight = limits::given(limits.block_io.weight).map(u64::from);
    properties.extend(weight.map(|weight| Property::new("BlockIOWeight", weight)));
    let pids = limits::given(limits.pids.limit);
    properties.extend(pids.map(|limit| Property::new("TasksMax", or_infinity(limit))));
    properties.extend(sets(limits));
    properties
}

fn of_version_2(limits: &Limits, cpu_max: &str) -> Vec<Property> {
    let mut properties = memory(limits);
    properties.extend(cpu(limits, cpu_max));
    let pids = limits::given(limits.pids.limit);
    properties.extend(pids.map(|limit| Property::new("TasksMax", or_infinity(limit))));
    let weight = limits::given(limits.block_io.weight).map(limits::io_weight);
    properties.extend(weight.map(|weight| Property::new("IOWeight", weight)));
    properties.extend(limits.unified.iter().filter_map(|(file, text)| unified(file, text)));
    properties
}

fn or_infinity(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(INFINITY)
}

fn memory(limits: &Limits) -> Vec<Property> {
    let [limit, reservation, swap] =
        [limits.memory.limit, limits.memory.reservation, limits.memory.swap].map(limits::given);
    let swap = match (limit, swap) {
        (_, Some(-1)) => Some(INFINITY),
        // What cannot be is refused where the files are written.
        (Some(limit), Some(both)) => u64::try_from(both - limit).ok(),
        (None, _) | (_, None) => None,
    };
    let mut properties = Vec::new();
    properties.extend(limit.map(|limit| Property::new("MemoryMax", or_infinity(limit))));
    properties.extend(swap.map(|swap| Property::new("MemorySwapMax", swap)));
    properties.extend(reservation.map(|low| Property::new("MemoryLow", or_infinity(low))));
    properties
}

fn cpu(limits: &Limits, cpu_max: &str) -> Vec<Property> {
    let cpu = &limits.cpu;
    let mut properties = Vec::new();
    if cpu.idle == Some(1) {
        // The weight that stands for SCHED_IDLE.
        properties.push(Property::new("CPUWeight", 0).since(252));
    } else if let Some(shares) = limits::given(cpu.shares) {
        properties.push(Property::new("CPUWeight", limits::cpu_weight(shares)));
    }
    properties.extend(quota(limits, cpu_max));
    properties.extend(sets(limits));
    properties
}

fn quota(limits: &Limits, cpu_max: &str) -> Vec<Property> {
    let (quota, period) = (limits::given(limits.cpu.quota), limits::given(limits.cpu.period));
    if quota.is_none() && period.is_none() {
        return Vec::new();
    }
    let (old_quota, old_period) = halves(cpu_max);
    let quota = quota.or(old_quota).and_then(|quota| u64::try_from(quota).ok());
    bandwidth(quota, period.or(old_period))
}

fn sets(limits: &Limits) -> impl Iterator<Item = Property> {
    let sets = [("AllowedCPUs", &limits.cpu.cpus), ("AllowedMemoryNodes", &limits.cpu.mems)];
    sets.into_iter().filter_map(|(name, list)| set(name, list.as_deref()?))
}

/// Quota and period, as `cpu.max` holds them.
fn halves(cpu_max: &str) -> (Option<i64>, Option<u64>) {
    let (quota, period) = cpu_max.trim().split_once(' ').unwrap_or((cpu_max.trim(), ""));
    (quota.parse().ok(), period.parse().ok())
}

/// systemd wants to know how much of every second is left. It keeps that as a percentage, and rounds
/// down, where more than asked for is better than less: the file has the exact number.
fn bandwidth(quota: Option<u64>, period: Option<u64>) -> Vec<Property> {
    const SECOND: u64 = 1_000_000;
    const PERCENT: u64 = SECOND / 100;
    let per_second = quota.map_or(INFINITY, |quota| {
        let exact = quota.saturating_mul(SECOND) / period.unwrap_or(DEFAULT_PERIOD).max(1);
        exact.checked_next_multiple_of(PERCENT).unwrap_or(INFINITY)
    });
    let mut properties = vec![Property::new("CPUQuotaPerSecUSec", per_second)];
    let period = period.map(|period| Property::new("CPUQuotaPeriodUSec", period).since(242));
    properties.extend(period);
    properties
}

/// A list such as `0-2,7` as a set of bits, the lowest in the first byte.
fn set(name: &'static str, list: &str) -> Option<Property> {
    /// More than Linux can be built for.
    const MOST: usize = 1 << 16;
    let mut bits: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse::<usize>().ok()?, to.parse::<usize>().ok()?);
        for number in from..=to.min(MOST) {
            bits.resize(bits.len().max(number / 8 + 1), 0);
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    let value = Value::Bytes(bits);
    (!list.is_empty()).then_some(Property { name, value, since: Some(244) })
}

/// A file of a version 2 cgroup, if there is a property for it.
fn unified(file: &str, text: &str) -> Option<Property> {
    let text = text.trim();
    let number = || if text == "max" { Some(INFINITY) } else { text.parse().ok() };
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" => return set("AllowedCPUs", text),
        "cpuset.mems" => return set("AllowedMemoryNodes", text),
        _ => return None,
    };
    number().map(|value| Property::new(name, value))
}

#[cfg(test)]
mod tests {
    use super::super::body::Value;
    use super::{INFINITY, Version, of};

    fn properties(text: &str, cpu_max: &str) -> Vec<(&'static str, Value)> {
        let limits = serde_json::from_str(text).unwrap();
        of(&limits, cpu_max, Version::Two).into_iter().map(|one| (one.name, one.value)).collect()
    }

    fn numbers(text: &str, cpu_max: &str) -> Vec<(&'static str, u64)> {
        let number = |(name, value)| {
            let Value::Number(number) = value else { panic!("{name} is {value:?}") };
            (name, number)
        };
        properties(text, cpu_max).into_iter().map(number).collect()
    }

    #[test]
    fn what_is_not_asked_for_is_not_told() {
        assert_eq!(numbers("{}", ""), []);
        assert_eq!(numbers(r#"{"memory": {"limit": 0}, "pids": {"limit": 0}}"#, "max 5"), []);
    }

    #[test]
    fn memory_swap_and_processes_are_numbers_or_infinity() {
        let asked = r#"{"memory": {"limit": 100, "swap": 150, "reservation": 50},
            "pids": {"limit": -1}}"#;

        assert_eq!(
            numbers(asked, ""),
            [("MemoryMax", 100), ("MemorySwapMax", 50), ("MemoryLow", 50), ("TasksMax", INFINITY)]
        );
    }

    #[test]
    fn version_1_has_other_names_and_fewer() {
        let asked = r#"{"memory": {"limit": 100, "swap": 150, "reservation": 50}, "pids": {"limit": 9},
            "cpu": {"shares": 512, "quota": 5000, "idle": 1}, "blockIO": {"weight": 300},
            "unified": {"memory.high": "7"}}"#;
        let limits = serde_json::from_str(asked).unwrap();

        let found: Vec<_> = of(&limits, "-1 10000", Version::One)
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect();

        let expected = [
            ("MemoryLimit", 100),
            ("CPUShares", 512),
            ("CPUQuotaPerSecUSec", 500_000),
            ("CPUQuotaPeriodUSec", 10_000),
            ("BlockIOWeight", 300),
            ("TasksMax", 9),
        ];
        assert_eq!(found, expected.map(|(name, number)| (name, Value::Number(number))));
    }

    #[test]
    fn a_quota_is_told_by_the_second_and_rounded_up() {
        for (asked, cpu_max, expected) in [
            (r#"{"cpu": {"quota": 50000}}"#, "", 500_000),
            (r#"{"cpu": {"quota": 12345}}"#, "", 130_000),
            (r#"{"cpu": {"quota": 50000}}"#, "max 200000", 250_000),
            (r#"{"cpu": {"quota": -1}}"#, "5000 10000", INFINITY),
        ] {
            assert_eq!(numbers(asked, cpu_max)[0], ("CPUQuotaPerSecUSec", expected), "{asked}");
        }
        assert_eq!(
            numbers(r#"{"cpu": {"period": 20000}}"#, "5000 10000"),
            [("CPUQuotaPerSecUSec", 250_000), ("CPUQuotaPeriodUSec", 20_000)]
        );
    }

    #[test]
    fn processors_are_a_set_of_bits() {
        let set = |list: &str| properties(&format!(r#"{{"cpu": {{"cpus": "{list}"}}}}"#), "");

        assert_eq!(set("0-2,9"), [("AllowedCPUs", Value::Bytes(vec![0b111, 0b10]))]);
        assert_eq!(set("9-"), []);
    }

    #[test]
    fn a_file_that_has_a_property_is_told() {
        let asked =
            r#"{"unified": {"memory.high": "max", "pids.max": "7", "io.max": "8:0 rbps=1"}}"#;

        assert_eq!(numbers(asked, ""), [("MemoryHigh", INFINITY), ("TasksMax", 7)]);
    }
}
