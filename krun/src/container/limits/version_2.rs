//! Limits as files of version 2 (`Documentation/admin-guide/cgroup-v2.rst`).

use super::request::{Cpu, Limits, Memory, given};
use super::{LimitsError, Setting};

/// The period where none was ever set, in microseconds.
const DEFAULT_PERIOD: &str = "100000";

/// The files to be written, in order. `read` gives what a file holds.
pub(super) fn settings(
    limits: &Limits,
    read: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Setting>, LimitsError> {
    let mut settings = cpu(&limits.cpu, &read);
    settings.extend(memory(limits.memory)?);
    if let Some(limit) = given(limits.pids.limit) {
        settings.push(Setting::new("pids.max", &or_max(limit)));
    }
    if let Some(weight) = given(limits.block_io.weight) {
        if read("io.bfq.weight").is_some() {
            settings.push(Setting::new("io.bfq.weight", &weight));
        } else {
            settings.push(Setting::new("io.weight", &io_weight(weight)));
        }
    }
    Ok(settings)
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn cpu(cpu: &Cpu, read: &impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    settings.extend(cpu.idle.map(|idle| Setting::new("cpu.idle", &idle)));
    settings.extend(given(cpu.shares).map(|shares| Setting::new("cpu.weight", &weight(shares))));
    if given(cpu.quota).is_some() || given(cpu.period).is_some() {
        let before = read("cpu.max").unwrap_or_default();
        let (old_quota, old_period) = before.split_once(' ').unwrap_or(("max", DEFAULT_PERIOD));
        let quota = given(cpu.quota).map_or_else(|| old_quota.to_owned(), or_max);
        let period = given(cpu.period).map_or_else(|| old_period.to_owned(), |p| p.to_string());
        settings.push(Setting::new("cpu.max", &format!("{quota} {period}")));
    }
    settings.extend(cpu.burst.map(|burst| Setting::new("cpu.max.burst", &burst)));
    settings.extend(given(cpu.cpus.clone()).map(|cpus| Setting::new("cpuset.cpus", &cpus)));
    settings.extend(given(cpu.mems.clone()).map(|mems| Setting::new("cpuset.mems", &mems)));
    settings
}

/// Shares (2 to 262144) as a weight (1 to 10000), as runc has it since 1.4, and libcontainer in
/// `create`: both ends and both defaults, 1024 and 100, meet.
pub(crate) fn weight(shares: u64) -> u64 {
    const MOST: f64 = 10_000.0;
    let shares = u32::try_from(shares).unwrap_or(u32::MAX);
    if shares <= 2 {
        return 1;
    }
    let log = f64::from(shares).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    let weight = 10_f64.powf(exponent).ceil().min(MOST);
    format!("{weight}").parse().expect("a whole number from 1 to 10000")
}

/// A weight from 10 to 1000 as one from 1 to 10000.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// Swap is what is left of both together without memory.
fn memory(memory: Memory) -> Result<Vec<Setting>, LimitsError> {
    let limit = given(memory.limit);
    let swap = match (limit, given(memory.swap)) {
        (_, None) => None,
        (_, Some(-1)) => Some("max".to_owned()),
        (None | Some(-1), Some(_)) => return Err(LimitsError::SwapAlone),
        (Some(limit), Some(swap)) if swap < limit => {
            return Err(LimitsError::SwapTooSmall { swap, limit });
        }
        (Some(limit), Some(swap)) => Some((swap - limit).to_string()),
    };
    let mut settings = Vec::new();
    settings.extend(swap.map(|text| Setting::new("memory.swap.max", &text)));
    settings.extend(limit.map(|limit| Setting::new("memory.max", &or_max(limit))));
    let reservation = given(memory.reservation);
    settings.extend(reservation.map(|bytes| Setting::new("memory.low", &or_max(bytes))));
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::super::Setting;
    use super::{Limits, settings};

    fn files(text: &str, cpu_max: &str) -> Result<Vec<(&'static str, String)>, String> {
        let limits: Limits = serde_json::from_str(text).unwrap();
        let read = |file: &str| (file == "cpu.max").then(|| cpu_max.to_owned());
        let settings = settings(&limits, read).map_err(|error| error.to_string())?;
        Ok(settings.into_iter().map(|Setting { file, text }| (file, text)).collect())
    }

    #[test]
    fn swap_is_counted_without_memory() {
        let settings = files(r#"{"memory": {"limit": 100, "swap": 150}}"#, "").unwrap();

        assert_eq!(
            settings,
            [("memory.swap.max", "50".to_owned()), ("memory.max", "100".to_owned())]
        );
        assert!(files(r#"{"memory": {"swap": 150}}"#, "").is_err());
        assert!(files(r#"{"memory": {"limit": 200, "swap": 150}}"#, "").is_err());
    }

    #[test]
    fn half_of_a_quota_leaves_the_other_half() {
        let quota = files(r#"{"cpu": {"quota": 5000}}"#, "max 20000").unwrap();
        let period = files(r#"{"cpu": {"period": 5000}}"#, "700 20000").unwrap();

        assert_eq!(quota, [("cpu.max", "5000 20000".to_owned())]);
        assert_eq!(period, [("cpu.max", "700 5000".to_owned())]);
    }

    #[test]
    fn shares_and_weights_reach_both_ends_of_their_scales() {
        for (text, file, value) in [
            (r#"{"cpu": {"shares": 2}}"#, "cpu.weight", "1"),
            (r#"{"cpu": {"shares": 512}}"#, "cpu.weight", "59"),
            (r#"{"cpu": {"shares": 1024}}"#, "cpu.weight", "100"),
            (r#"{"cpu": {"shares": 262144}}"#, "cpu.weight", "10000"),
            (r#"{"blockIO": {"weight": 10}}"#, "io.weight", "1"),
            (r#"{"blockIO": {"weight": 1000}}"#, "io.weight", "10000"),
        ] {
            assert_eq!(files(text, "").unwrap(), [(file, value.to_owned())]);
        }
    }
}
