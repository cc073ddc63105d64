//! The rules about devices as properties of a scope.
//!
//! On version 1 systemd writes its own into the files that hold the container's, and again whenever it
//! reads its units anew: it must have them. On version 2 it attaches a program of its own next to krun's,
//! and what either denies is denied: it must have all of them, or none.

use super::body::Value;
use super::properties::{Property, Version};
use crate::container::devices::Decision;

/// What is to be told to systemd.
pub(super) fn properties(decision: &Decision, version: Version) -> Vec<Property> {
    let list = decision.allow_list();
    if decision.allows_all() {
        return both("auto", Vec::new());
    }
    match version {
        // What systemd has no words for it denies, from when it reads its units anew.
        Version::One => both("strict", list.entries),
        Version::Two if list.is_whole => both("strict", list.entries),
        Version::Two => Vec::new(),
    }
}

fn both(policy: &str, entries: Vec<(String, String)>) -> Vec<Property> {
    vec![
        Property { name: "DevicePolicy", value: Value::Text(policy.to_owned()), since: None },
        Property { name: "DeviceAllow", value: Value::Pairs(entries), since: None },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use spec_compat::Config;

    use super::super::body::Value;
    use super::super::properties::Version;
    use super::properties;
    use crate::container::devices;

    /// The policy, and how many devices are named.
    fn told(rules: &Json, version: Version) -> Option<(String, usize)> {
        let document = json!({
            "ociVersion": "1.0.2", "root": { "path": "rootfs" },
            "process": { "args": ["sh"], "cwd": "/" },
            "linux": { "resources": { "devices": rules } },
        });
        let config = Config::parse(document.to_string().as_bytes()).expect("it is valid");
        let decision = devices::decide(&config).expect("it can be obeyed");
        match properties(&decision, version).as_slice() {
            [] => None,
            [policy, list] => match (&policy.value, &list.value) {
                (Value::Text(policy), Value::Pairs(list)) => Some((policy.clone(), list.len())),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn systemd_of_version_2_has_all_rules_or_none() {
        let all = json!([{ "allow": true, "access": "rwm" }]);
        let but_one = json!([
            { "allow": true, "access": "rwm" },
            { "allow": false, "type": "b", "major": 8, "minor": 1, "access": "r" },
        ]);
        let none = json!([]);

        for version in [Version::One, Version::Two] {
            assert_eq!(told(&all, version), Some(("auto".to_owned(), 0)));
            let (policy, count) = told(&none, version).expect("pts is a driver everywhere");
            assert_eq!((policy.as_str(), count), ("strict", 11));
        }
        assert_eq!(told(&but_one, Version::One), Some(("strict".to_owned(), 0)));
        assert_eq!(told(&but_one, Version::Two), None);
    }
}
