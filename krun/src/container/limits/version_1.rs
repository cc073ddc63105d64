//! Limits as files of version 1 (`Documentation/admin-guide/cgroup-v1/`).

use super::Setting;
use super::request::{Cpu, Limits, Memory, given};

/// The files to be written, in order. `read` gives what a file holds.
pub(super) fn settings(limits: &Limits, read: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let mut settings = cpu(&limits.cpu, &read);
    settings.extend(memory(limits.memory, &read));
    if let Some(limit) = given(limits.pids.limit) {
        let text = if limit < 0 { "max".to_owned() } else { limit.to_string() };
        settings.push(Setting::new("pids.max", &text));
    }
    if let Some(weight) = given(limits.block_io.weight) {
        let file = if read("blkio.weight").is_some() { "blkio.weight" } else { "blkio.bfq.weight" };
        settings.push(Setting::new(file, &weight));
    }
    settings
}

fn cpu(cpu: &Cpu, read: &impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut add = |file, value: Option<String>| {
        settings.extend(value.map(|text| Setting::new(file, &text)));
    };
    add("cpu.idle", cpu.idle.map(|value| value.to_string()));
    add("cpu.shares", given(cpu.shares).map(|value| value.to_string()));
    let period = given(cpu.period).map(|value| value.to_string());
    let quota = given(cpu.quota).map(|value| value.to_string());
    // A quota must never be more than the period allows, not even between two writes.
    let old: u64 = read("cpu.cfs_period_us").and_then(|text| text.parse().ok()).unwrap_or_default();
    if given(cpu.period).is_some_and(|new| new < old) {
        add("cpu.cfs_quota_us", quota);
        add("cpu.cfs_period_us", period);
    } else {
        add("cpu.cfs_period_us", period);
        add("cpu.cfs_quota_us", quota);
    }
    add("cpu.cfs_burst_us", cpu.burst.map(|value| value.to_string()));
    add("cpu.rt_period_us", given(cpu.realtime_period).map(|value| value.to_string()));
    add("cpu.rt_runtime_us", given(cpu.realtime_runtime).map(|value| value.to_string()));
    add("cpuset.cpus", given(cpu.cpus.clone()));
    add("cpuset.mems", given(cpu.mems.clone()));
    settings
}

/// Memory with swap must never be less than memory alone, not even between two writes.
fn memory(memory: Memory, read: &impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let limit = given(memory.limit);
    let swap = match (limit, given(memory.swap)) {
        // Without a limit of memory none of both together can hold, where swap is counted.
        (Some(-1), None) if read(SWAP).is_some() => Some(-1),
        (_, swap) => swap,
    };
    let current: i64 = read(LIMIT).and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let grows = swap.is_some_and(|swap| swap == -1 || swap > current);
    let mut pair = vec![(LIMIT, limit), (SWAP, swap)];
    if grows {
        pair.reverse();
    }
    pair.push(("memory.soft_limit_in_bytes", given(memory.reservation)));
    pair.into_iter().filter_map(|(file, value)| Some(Setting::new(file, &value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Setting;
    use super::{Limits, settings};

    fn files(text: &str, holds: &[(&str, &str)]) -> Vec<Setting> {
        let limits: Limits = serde_json::from_str(text).unwrap();
        let read = |file: &str| {
            holds.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned())
        };
        settings(&limits, read)
    }

    #[test]
    fn memory_and_swap_are_written_in_the_order_that_linux_accepts() {
        let both = r#"{"memory": {"limit": 200, "swap": 400}}"#;
        let [limit, swap] = [
            Setting::new("memory.limit_in_bytes", &200),
            Setting::new("memory.memsw.limit_in_bytes", &400),
        ];

        let growing = files(both, &[("memory.limit_in_bytes", "100")]);
        let shrinking = files(both, &[("memory.limit_in_bytes", "800")]);

        assert_eq!(growing, [swap.clone(), limit.clone()]);
        assert_eq!(shrinking, [limit, swap]);
    }

    #[test]
    fn no_limit_of_memory_is_none_of_swap_either_where_swap_is_counted() {
        let none = r#"{"memory": {"limit": -1}}"#;

        assert_eq!(files(none, &[]), [Setting::new("memory.limit_in_bytes", &-1)]);
        assert_eq!(files(none, &[("memory.memsw.limit_in_bytes", "5")]).len(), 2);
    }

    #[test]
    fn a_shorter_period_comes_after_its_quota() {
        let text = r#"{"cpu": {"period": 50, "quota": 20}}"#;
        let names = |old| {
            let settings = files(text, &[("cpu.cfs_period_us", old)]);
            settings.into_iter().map(|setting| setting.file).collect::<Vec<_>>()
        };

        assert_eq!(names("100"), ["cpu.cfs_quota_us", "cpu.cfs_period_us"]);
        assert_eq!(names("10"), ["cpu.cfs_period_us", "cpu.cfs_quota_us"]);
    }

    #[test]
    fn zero_and_nothing_change_nothing() {
        let text =
            r#"{"memory": {"limit": 0}, "cpu": {"cpus": "", "shares": 0}, "pids": {"limit": 0}}"#;

        assert_eq!(files(text, &[]), []);
    }
}
