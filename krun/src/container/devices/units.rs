//! A decision as systemd takes it, `DeviceAllow` of systemd.resource-control(5): a list of what is
//! allowed where all else is denied.

use std::fs;

use super::decision::Decision;
use super::rules::{Devices, Kind};

/// Devices, and what may be done with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowList {
    pub(crate) entries: Vec<(String, String)>,
    /// Whether it says all that the decision does.
    pub(crate) is_whole: bool,
}

impl Decision {
    /// What can be told to systemd. It has no words for all but a few, nor for numbers of
    /// drivers that are not there.
    pub(crate) fn allow_list(&self) -> AllowList {
        self.allow_list_with(&fs::read_to_string("/proc/devices").unwrap_or_default())
    }

    fn allow_list_with(&self, drivers: &str) -> AllowList {
        if self.allow_by_default {
            return AllowList::default();
        }
        let entries = self
            .exceptions
            .iter()
            .map(|(devices, access)| Some((entry(devices, drivers)?, access.to_string())));
        let entries: Vec<_> = entries.collect();
        let is_whole = entries.iter().all(Option::is_some);
        AllowList { entries: entries.into_iter().flatten().collect(), is_whole }
    }

    /// Whether systemd need not be told anything.
    pub(crate) fn allows_all(&self) -> bool {
        self.allows_everything()
    }
}

fn entry(devices: &Devices, drivers: &str) -> Option<String> {
    let kind = match devices.kind {
        Kind::Block => "block",
        Kind::Character => "char",
    };
    match (devices.major, devices.minor) {
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
        (Some(major), None) => Some(format!("{kind}-{}", driver(devices.kind, major, drivers)?)),
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
    }
}

/// The name that `/proc/devices` has for a driver's number.
fn driver(kind: Kind, major: u32, drivers: &str) -> Option<&str> {
    let title = match kind {
        Kind::Block => "Block devices:",
        Kind::Character => "Character devices:",
    };
    let lines = drivers.lines().skip_while(|line| *line != title).skip(1);
    let mut pairs =
        lines.take_while(|line| !line.is_empty()).filter_map(|line| line.trim().split_once(' '));
    pairs.find(|(number, _)| number.parse() == Ok(major)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use spec_compat::Config;

    use super::AllowList;
    use crate::container::devices::{Decision, rules};

    const DRIVERS: &str =
        "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n136 other\n";

    fn list(rules: &Value) -> AllowList {
        let document = json!({
            "ociVersion": "1.0.2", "root": { "path": "rootfs" },
            "process": { "args": ["sh"], "cwd": "/" },
            "linux": { "resources": { "devices": rules } },
        });
        let config = Config::parse(document.to_string().as_bytes()).expect("it is valid");
        Decision::of(&rules::of_bundle(&config)).expect("it can be obeyed").allow_list_with(DRIVERS)
    }

    #[test]
    fn devices_are_named_as_systemd_names_them() {
        let found = list(&json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "access": "m" },
            { "allow": true, "type": "c", "major": 136, "access": "rwm" },
            { "allow": true, "type": "b", "major": 8, "minor": 1, "access": "r" },
        ]));

        let expected = [("/dev/block/8:1", "r"), ("char-*", "m"), ("char-pts", "rwm")];
        let expected = expected.map(|(one, other)| (one.to_owned(), other.to_owned())).to_vec();
        assert_eq!(found, AllowList { entries: expected, is_whole: true });
    }

    #[test]
    fn what_has_no_name_is_left_out_and_told() {
        for rules in [
            json!([{ "allow": true, "type": "c", "major": 99, "access": "rwm" }]),
            json!([{ "allow": true, "type": "c", "minor": 9, "access": "rwm" }]),
            json!([{ "allow": true, "access": "rwm" }]),
        ] {
            assert_eq!(list(&rules), AllowList::default(), "{rules}");
        }
    }
}
