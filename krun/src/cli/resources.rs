//! The options of `update` and `events`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The options of `update`. Sizes are bytes, or have one of the letters k, m, g, t.
#[derive(Debug, Default, Args)]
pub(crate) struct Update {
    /// The container's name.
    pub(crate) id: String,

    /// A file with the resources section to be applied, as in config.json, or - for
    /// standard input. All other options are ignored then.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) resources: Option<PathBuf>,

    /// The weight in block I/O, 10 to 1000.
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<u16>,

    /// The period of the CPU quota, in microseconds.
    #[arg(long, value_name = "US")]
    pub(crate) cpu_period: Option<u64>,

    /// The CPU time per period, in microseconds; -1 for all.
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,

    /// CPU time that may be saved up for a burst, in microseconds.
    #[arg(long, value_name = "US")]
    pub(crate) cpu_burst: Option<u64>,

    /// The weight against other containers.
    #[arg(long, value_name = "SHARES")]
    pub(crate) cpu_share: Option<u64>,

    /// The period of the real-time quota, in microseconds.
    #[arg(long, value_name = "US")]
    pub(crate) cpu_rt_period: Option<u64>,

    /// The real-time CPU time per period, in microseconds.
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub(crate) cpu_rt_runtime: Option<i64>,

    /// The processors to run on, such as 0-2,7.
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,

    /// The memory nodes to use, such as 0.
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,

    /// Whether to run only when nobody else does: 1 or 0.
    #[arg(long, value_name = "0|1")]
    pub(crate) cpu_idle: Option<i64>,

    /// The limit of memory; -1 for none.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory: Option<String>,

    /// The soft limit of memory; -1 for none.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_reservation: Option<String>,

    /// The limit of memory and swap together; -1 for none.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,

    /// The number of processes and threads; -1 for no limit.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,

    /// Accepted for compatibility, without effect.
    #[arg(long, value_name = "SIZE", hide = true)]
    pub(crate) kernel_memory: Option<String>,

    /// Accepted for compatibility, without effect.
    #[arg(long, value_name = "SIZE", hide = true)]
    pub(crate) kernel_memory_tcp: Option<String>,

    /// Intel RDT, which is refused.
    #[arg(long, value_name = "SCHEMA", hide = true)]
    pub(crate) l3_cache_schema: Option<String>,

    /// Intel RDT, which is refused.
    #[arg(long, value_name = "SCHEMA", hide = true)]
    pub(crate) mem_bw_schema: Option<String>,
}

/// The options of `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// The container's name.
    pub(crate) id: String,

    /// The time between two lines, such as 5s or 500ms.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) interval: Duration,

    /// Print one line and end.
    #[arg(long)]
    pub(crate) stats: bool,
}

/// A duration as Go writes it: numbers with units, such as `1m30s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 6] =
        [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let fault = || format!("found {text:?}, expected a duration such as 5s or 500ms");
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fault())?;
        let behind = &rest[digits..];
        let (unit, factor) =
            UNITS.iter().find(|(unit, _)| behind.starts_with(unit)).ok_or_else(fault)?;
        seconds += number * factor;
        rest = &behind[unit.len()..];
    }
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| fault())?;
    if duration.is_zero() {
        return Err("duration interval must be greater than 0".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse_duration;

    #[test]
    fn a_duration_has_units() {
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "0s", "5", "s", "5x", "-1s", "1..2s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
