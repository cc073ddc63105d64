//! What `update` is asked for: the resources section of a `config.json`, of which anything may
//! be missing.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Limits to be changed. What is absent, empty or 0 stays as it is, as with runc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) pids: Pids,
    #[serde(rename = "blockIO")]
    pub(crate) block_io: BlockIo,
    /// Files of a version 2 cgroup and what they are to hold.
    pub(crate) unified: BTreeMap<String, String>,
}

/// In bytes; -1 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) limit: Option<i64>,
    pub(crate) reservation: Option<i64>,
    /// Memory and swap together.
    pub(crate) swap: Option<i64>,
}

/// Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Cpu {
    pub(crate) shares: Option<u64>,
    pub(crate) quota: Option<i64>,
    pub(crate) burst: Option<u64>,
    pub(crate) period: Option<u64>,
    pub(crate) realtime_runtime: Option<i64>,
    pub(crate) realtime_period: Option<u64>,
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
    pub(crate) idle: Option<i64>,
}

/// The number of processes and threads; negative is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Pids {
    pub(crate) limit: Option<i64>,
}

/// The weight, 10 to 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct BlockIo {
    pub(crate) weight: Option<u16>,
}

/// A number that is not 0.
pub(crate) fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// A size on the command line, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) i64);

/// A text that is no size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected bytes, or a number with k, m, g or t behind it, or -1")]
pub(crate) struct UnknownSize(String);

impl Size {
    /// `-1`, or a number with a unit such as `m`, `MB` or `MiB`: all count by 1024.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownSize> {
        let unknown = || UnknownSize(text.to_owned());
        if text == "-1" {
            return Ok(Self(-1));
        }
        let lower = text.trim().to_lowercase();
        let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
        let unit = lower[digits.len()..].trim_start();
        let factor = match unit.trim_end_matches('b').trim_end_matches('i') {
            "" => 1.0,
            "k" => 1024.0,
            "m" => 1024.0 * 1024.0,
            "g" => 1024.0 * 1024.0 * 1024.0,
            "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(unknown()),
        };
        let number: f64 = digits.parse().map_err(|_| unknown())?;
        let bytes = (number * factor).floor();
        format!("{bytes}").parse().ok().filter(|&bytes| bytes >= 0).map(Self).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Size};

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64m", 64 << 20),
            ("1.5G", 3 << 29),
            ("2 MiB", 2 << 20),
            ("10kb", 10 << 10),
            ("1T", 1 << 40),
            ("-1", -1),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "-2", "m", "1x", "nan", "inf", "1e99t"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_that_are_not_known_here_are_passed_over() {
        let text = r#"{"devices": [{"allow": false}], "cpu": {"realtimePeriod": 5, "x": 1}}"#;

        let limits: Limits = serde_json::from_str(text).unwrap();

        assert_eq!(limits.cpu.realtime_period, Some(5));
    }
}
