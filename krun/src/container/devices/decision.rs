//! What a list of rules comes to: everything is allowed, or denied, but for exceptions.
//!
//! That is what the kernel's device controller of cgroup version 1 holds, and what runc makes of
//! rules for version 2. Both take a later rule that goes against the default for one more exception,
//! and one that agrees with it for an end of the exception for *the same* devices; what
//! it says about others they pass over, with runc refusing some such rules. Here a later rule is
//! always obeyed, as the specification wants it: exceptions it covers end, and one of
//! which it would take back a part, which no list of exceptions can express, is refused in runc's
//! words. Where this and runc differ, runc allows what the last rule about it denies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rules::{Access, Devices, Rule};

/// A rule that cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "linux.resources.devices: cannot punch hole in existing wildcard rule [{existing}] with [{rule}]"
)]
pub(crate) struct Conflict {
    existing: String,
    rule: String,
}

/// What a container may do with devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(super) allow_by_default: bool,
    pub(super) exceptions: BTreeMap<Devices, Access>,
}

impl Decision {
    /// Obeys these rules, the later over the earlier. Without any, everything is denied.
    pub(super) fn of(rules: &[Rule]) -> Result<Self, Conflict> {
        let mut decision = Self { allow_by_default: false, exceptions: BTreeMap::new() };
        decision.obey_all(rules)?;
        Ok(decision)
    }

    pub(super) fn obey_all(&mut self, rules: &[Rule]) -> Result<(), Conflict> {
        rules.iter().try_for_each(|rule| self.obey(rule))
    }

    fn obey(&mut self, rule: &Rule) -> Result<(), Conflict> {
        match rule.devices {
            None => *self = Self { allow_by_default: rule.allow, exceptions: BTreeMap::new() },
            Some(devices) if rule.allow == self.allow_by_default => {
                self.demand_whole(&devices, rule.access)?;
                self.end_exceptions(&devices, rule.access);
            }
            Some(devices) => {
                let access = self.exceptions.entry(devices).or_default();
                *access = access.with(rule.access);
            }
        }
        Ok(())
    }

    /// Refuses to take back a part of an exception.
    fn demand_whole(&self, devices: &Devices, access: Access) -> Result<(), Conflict> {
        let is_cut = |(existing, held): &(&Devices, &Access)| {
            !held.in_common_with(access).is_empty()
                && existing.overlap(devices)
                && !devices.cover(existing)
        };
        match self.exceptions.iter().find(is_cut) {
            None => Ok(()),
            Some((existing, held)) => Err(Conflict {
                existing: format!("{existing} {held}"),
                rule: format!("{devices} {access}"),
            }),
        }
    }

    fn end_exceptions(&mut self, devices: &Devices, access: Access) {
        self.exceptions.retain(|existing, held| {
            if devices.cover(existing) {
                *held = held.without(access);
            }
            !held.is_empty()
        });
    }

    /// What no exception for just these devices, nor the default, allows.
    pub(super) fn denied(&self, devices: &Devices) -> Access {
        let held = self.exceptions.get(devices).copied().unwrap_or_default();
        if self.allow_by_default { held } else { Access::parse("rwm").without(held) }
    }

    /// Whether there is nothing to enforce.
    pub(super) fn allows_everything(&self) -> bool {
        self.allow_by_default && self.exceptions.is_empty()
    }

    /// The files of a version 1 controller and what each is told, one after another
    /// (`Documentation/admin-guide/cgroup-v1/devices.rst`).
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let (allow, deny) = ("devices.allow", "devices.deny");
        let (all, others) = if self.allow_by_default { (allow, deny) } else { (deny, allow) };
        let exceptions = self.exceptions.iter();
        let exceptions =
            exceptions.map(move |(devices, access)| (others, format!("{devices} {access}")));
        [(all, "a".to_owned())].into_iter().chain(exceptions)
    }

    /// Whether a version 1 controller shows this, which of an allowing one shows no exceptions.
    pub(super) fn is_shown_by(&self, list: &str) -> bool {
        let shown: BTreeSet<_> = list.lines().map(str::to_owned).collect();
        let exceptions = self.exceptions.iter();
        let wanted = exceptions.map(|(devices, access)| format!("{devices} {access}")).collect();
        !self.allow_by_default && shown == wanted
    }

    /// The shortest list of rules that comes to this, in the form of the specification.
    pub(crate) fn document(&self) -> Value {
        let everything =
            Rule { allow: self.allow_by_default, devices: None, access: Access::parse("rwm") };
        let exceptions = self.exceptions.iter().map(|(devices, access)| {
            let allow = !self.allow_by_default;
            Rule { allow, devices: Some(*devices), access: *access }.document()
        });
        [everything.document()].into_iter().chain(exceptions).collect()
    }
}
