//! One rule about devices: which devices, which accesses, allowed or denied.
//!
//! Rules are those of `linux.resources.devices`, whose fields have been checked, and after them
//! the ones that every container has. They are runc's, which has had them from its beginning:
//! whoever asks for less gets these none the less.

use std::fmt;

use serde_json::{Value, json};
use spec_compat::{Config, DeviceRule, DeviceType};

/// A kind of device, with the number that Linux's programs for cgroups know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block = 1,
    Character = 2,
}

/// A set of accesses, in the bits of `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Access(u8);

impl Access {
    const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

    pub(super) fn parse(letters: &str) -> Self {
        let is_asked = |(letter, _): &&(char, u8)| letters.contains(*letter);
        Self(Self::LETTERS.iter().filter(is_asked).fold(0, |all, (_, bit)| all | bit))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn in_common_with(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |(_, bit): &&(char, u8)| self.0 & bit != 0;
        f.write_str(&Self::LETTERS.iter().filter(has).map(|(letter, _)| letter).collect::<String>())
    }
}

/// Some devices: all of a kind, or those with these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Devices {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

impl Devices {
    /// Whether all of `other` are among these.
    pub(super) fn cover(&self, other: &Self) -> bool {
        let covers = |ours: Option<u32>, theirs| ours.is_none() || ours == theirs;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    /// Whether some of `other` are among these.
    pub(super) fn overlap(&self, other: &Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

/// As the files of cgroup version 1 show it.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// None is all devices there are, with all accesses.
    pub(super) devices: Option<Devices>,
    pub(super) access: Access,
}

impl Rule {
    pub(super) fn read(rule: &DeviceRule) -> Self {
        let kind = match rule.typ().unwrap_or_default() {
            DeviceType::A => None,
            DeviceType::B => Some(Kind::Block),
            // What has no rules, `u` and `p`, has been refused.
            DeviceType::C | DeviceType::U | DeviceType::P => Some(Kind::Character),
        };
        // -1 stands for all numbers.
        let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        let (major, minor) = (number(rule.major()), number(rule.minor()));
        let access = Access::parse(rule.access().as_deref().unwrap_or_default());
        Self {
            allow: rule.allow(),
            devices: kind.map(|kind| Devices { kind, major, minor }),
            access,
        }
    }

    /// In the form of the specification.
    pub(super) fn document(&self) -> Value {
        let access = self.access.to_string();
        let Some(Devices { kind, major, minor }) = self.devices else {
            return json!({ "allow": self.allow, "type": "a", "access": access });
        };
        let kind = match kind {
            Kind::Block => "b",
            Kind::Character => "c",
        };
        let mut rule = json!({ "allow": self.allow, "type": kind, "access": access });
        for (name, number) in [("major", major), ("minor", minor)] {
            if let Some(number) = number {
                rule[name] = json!(number);
            }
        }
        rule
    }
}

/// Numbers of character devices that every container may use. Where one has a name, and the bundle
/// describes a device of that name itself, the bundle's rules decide.
const ALWAYS: [(&str, u32, Option<u32>); 9] = [
    ("/dev/null", 1, Some(3)),
    ("/dev/random", 1, Some(8)),
    ("/dev/full", 1, Some(7)),
    ("/dev/tty", 5, Some(0)),
    ("/dev/zero", 1, Some(5)),
    ("/dev/urandom", 1, Some(9)),
    // Pseudoterminals, and what makes them.
    ("", 136, None),
    ("", 5, Some(2)),
    // Of no use without CAP_NET_ADMIN.
    ("", 10, Some(200)),
];

/// The bundle's rules.
pub(super) fn of_bundle(config: &Config) -> Vec<Rule> {
    config.device_rules().iter().map(Rule::read).collect()
}

/// The rules of every container about devices it may use.
pub(super) fn of_every_container(config: &Config) -> Vec<Rule> {
    let is_open = |(name, _, _): &(&str, u32, Option<u32>)| !config.describes_device(name);
    let rule = |(_, major, minor)| {
        let devices = Devices { kind: Kind::Character, major: Some(major), minor };
        Rule { allow: true, devices: Some(devices), access: Access::parse("rwm") }
    };
    ALWAYS.into_iter().filter(is_open).map(rule).collect()
}

/// The rules by which devices may be made that cannot be opened.
pub(super) fn to_make_any() -> [Rule; 2] {
    [Kind::Character, Kind::Block].map(|kind| {
        let devices = Devices { kind, major: None, minor: None };
        Rule { allow: true, devices: Some(devices), access: Access::parse("m") }
    })
}
