//! A container's scope: its name and place, its beginning, its limits, its end.

use std::path::PathBuf;

use krun_sys::Placeholder;

use super::SystemdError;
use super::body::{Body, Value};
use super::connection::Connection;
use super::owner::Owner;
use super::properties::{self, Property, Version};
use super::{annotations, devices};
use crate::container::cgroups;
use crate::container::devices::Decision;
use crate::container::limits::Limits;

/// How the name of a slice ends.
const SLICE: &str = ".slice";
/// The root's own slice.
const ROOT_SLICE: &str = "-.slice";

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// How a job ends that did what it should.
const DONE: &str = "done";

/// What to do with jobs for the same unit that wait: this one takes their place.
const REPLACE: &str = "replace";

/// What systemd is to know of a container.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    limits: Limits,
    devices: &'a Decision,
    /// Properties that the bundle names itself.
    named: Vec<(String, Value)>,
}

impl<'a> Wanted<'a> {
    /// Reads the annotations that are meant for systemd.
    pub(crate) fn new<'b>(
        limits: Limits,
        devices: &'a Decision,
        annotations: impl Iterator<Item = (&'b str, &'b str)>,
    ) -> Result<Self, SystemdError> {
        Ok(Self { limits, devices, named: annotations::properties(annotations)? })
    }
}

/// The place `slice:prefix:name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    owner: Owner,
    slice: String,
    unit: String,
}

impl Scope {
    /// Where the bundle wants the container called `id`.
    pub(crate) fn parse(owner: Owner, asked: Option<&str>, id: &str) -> Result<Self, SystemdError> {
        let (slice, prefix, name) = match asked.filter(|asked| !asked.is_empty()) {
            None => ("", "krun", id),
            Some(asked) => {
                three_parts(asked).ok_or_else(|| SystemdError::Path(asked.to_owned()))?
            }
        };
        if name.is_empty() || name.strip_suffix(SLICE).is_some() {
            return Err(SystemdError::NotAScope(asked.unwrap_or_default().to_owned()));
        }
        let slice = if slice.is_empty() { owner.default_slice() } else { slice };
        Ok(Self { owner, slice: slice.to_owned(), unit: format!("{prefix}-{name}.scope") })
    }

    /// The name of the unit.
    pub(crate) fn unit(&self) -> &str {
        &self.unit
    }

    /// Whose it is.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Its cgroup below every hierarchy.
    pub(crate) fn cgroup(&self) -> Result<PathBuf, SystemdError> {
        let below = self.below_top()?;
        Ok(self.owner.top()?.join(below))
    }

    /// Its cgroup below its systemd's: `a-b.slice` lies in `a.slice`.
    fn below_top(&self) -> Result<PathBuf, SystemdError> {
        let invalid = || SystemdError::Slice(self.slice.clone());
        let mut path = PathBuf::new();
        if self.slice != ROOT_SLICE {
            let stem = self.slice.strip_suffix(SLICE).ok_or_else(invalid)?;
            let mut name = String::new();
            for part in stem.split('-') {
                if part.is_empty() || part.contains('/') {
                    return Err(invalid());
                }
                name.push_str(part);
                path.push(format!("{name}.slice"));
                name.push('-');
            }
        }
        if self.unit.contains('/') {
            return Err(SystemdError::NotAScope(self.unit.clone()));
        }
        path.push(&self.unit);
        Ok(path)
    }

    /// Has systemd make it, with these properties, around a placeholder.
    pub(crate) fn start(&self, id: &str, wanted: &Wanted<'_>) -> Result<Standing, SystemdError> {
        let mut systemd = Connection::open(self.owner)?;
        let placeholder = Placeholder::start().map_err(SystemdError::Placeholder)?;
        let list = self.properties(id, placeholder.pid(), wanted);
        let list = known(&mut systemd, list)?;
        let named = wanted.named.iter().map(|(name, value)| (name.as_str(), value));
        begin(&mut systemd, &self.unit, pairs(&list).chain(named))?;
        Ok(Standing { _placeholder: placeholder })
    }

    fn properties(&self, id: &str, pid: i32, wanted: &Wanted<'_>) -> Vec<Property> {
        let version = version();
        let text = |name, text: &str| (name, Value::Text(text.to_owned()));
        let yes = |name| (name, Value::Flag(true));
        let fixed = [
            text("Description", &format!("krun container {id}")),
            text("Slice", &self.slice),
            // What is in the cgroup and below is the container's, not systemd's.
            yes("Delegate"),
            yes("CPUAccounting"),
            yes("MemoryAccounting"),
            yes(if version == Version::One { "BlockIOAccounting" } else { "IOAccounting" }),
            yes("TasksAccounting"),
            // Or a host that shuts down would end the containers before their engine.
            ("DefaultDependencies", Value::Flag(false)),
            ("PIDs", Value::Processes(pid.try_into().into_iter().collect())),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| Property { name, value, since: None });
        fixed
            .chain(devices::properties(wanted.devices, version))
            .chain(properties::of(&wanted.limits, "", version))
            .collect()
    }
}

/// Has systemd make a unit, and waits until it is there.
pub(super) fn begin<'a>(
    systemd: &mut Connection,
    unit: &str,
    properties: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<(), SystemdError> {
    let body = Body::default().text(unit).text(REPLACE).properties(properties).no_further_units();
    let answer = match systemd.call("StartTransientUnit", &body) {
        Err(SystemdError::Refused { name, .. }) if name == UNIT_EXISTS => {
            // One that failed is kept until it is forgotten; one that is in use stays.
            forget_failure(systemd, unit)?;
            systemd.call("StartTransientUnit", &body)
        }
        answer => answer,
    }?;
    let result = systemd.wait_for_job(&answer)?;
    if result == DONE {
        return Ok(());
    }
    forget_failure(systemd, unit)?;
    Err(SystemdError::Job { unit: unit.to_owned(), result })
}

/// A scope in which nobody may be yet but the placeholder, which ends with this.
#[derive(Debug)]
pub(crate) struct Standing {
    _placeholder: Placeholder,
}

/// Tells systemd the limits that a scope has from now on. `cpu_max` is quota and
/// period as that file holds them.
pub(crate) fn set_limits(
    owner: Owner,
    unit: &str,
    limits: &Limits,
    cpu_max: &str,
) -> Result<(), SystemdError> {
    let list = properties::of(limits, cpu_max, version());
    if list.is_empty() {
        return Ok(());
    }
    let mut systemd = Connection::open(owner)?;
    let list = known(&mut systemd, list)?;
    // Until the next boot, as the unit itself.
    let body = Body::default().text(unit).flag(true).properties(pairs(&list));
    systemd.call("SetUnitProperties", &body).map(drop)
}

/// Makes systemd forget a scope whose processes have ended. That it has forgotten it by itself is
/// no fault.
pub(crate) fn stop(owner: Owner, unit: &str) -> Result<(), SystemdError> {
    let mut systemd = Connection::open(owner)?;
    match systemd.call("StopUnit", &Body::default().text(unit).text(REPLACE)) {
        Ok(answer) => drop(systemd.wait_for_job(&answer)?),
        Err(SystemdError::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
        Err(error) => return Err(error),
    }
    forget_failure(&mut systemd, unit)
}

fn forget_failure(systemd: &mut Connection, unit: &str) -> Result<(), SystemdError> {
    match systemd.call("ResetFailedUnit", &Body::default().text(unit)) {
        Err(SystemdError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(()),
        answer => answer.map(drop),
    }
}

fn version() -> Version {
    if cgroups::is_version_2() { Version::Two } else { Version::One }
}

/// Without the properties that this host's systemd has not got: it would refuse all.
pub(super) fn known(
    systemd: &mut Connection,
    list: Vec<Property>,
) -> Result<Vec<Property>, SystemdError> {
    if list.iter().all(|property| property.since.is_none()) {
        return Ok(list);
    }
    let version = systemd.version()?;
    Ok(list.into_iter().filter(|one| one.since.is_none_or(|since| since <= version)).collect())
}

pub(super) fn pairs(list: &[Property]) -> impl Iterator<Item = (&str, &Value)> {
    list.iter().map(|property| (property.name, &property.value))
}

fn three_parts(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.split(':');
    let three = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Owner, Scope};

    #[test]
    fn a_scope_is_named_by_prefix_and_name_and_lies_in_its_slices() {
        for (asked, unit, cgroup) in [
            (None, "krun-web.scope", "/system.slice/krun-web.scope"),
            (Some(""), "krun-web.scope", "/system.slice/krun-web.scope"),
            (Some("system.slice:docker:7f"), "docker-7f.scope", "/system.slice/docker-7f.scope"),
            (Some(":docker:7f"), "docker-7f.scope", "/system.slice/docker-7f.scope"),
            (Some("-.slice:a:b"), "a-b.scope", "/a-b.scope"),
            (
                Some("k-pod-x_y.slice:cri:7"),
                "cri-7.scope",
                "/k.slice/k-pod.slice/k-pod-x_y.slice/cri-7.scope",
            ),
        ] {
            let scope = Scope::parse(Owner::Host, asked, "web").unwrap();

            assert_eq!(scope.unit(), unit);
            assert_eq!(scope.cgroup().unwrap(), Path::new(cgroup));
        }
    }

    #[test]
    fn a_users_scope_lies_in_his_own_slices() {
        for (asked, below) in [
            (None, "user.slice/krun-web.scope"),
            (Some(":libpod:7f"), "user.slice/libpod-7f.scope"),
            (Some("a-b.slice:libpod:7f"), "a.slice/a-b.slice/libpod-7f.scope"),
        ] {
            let scope = Scope::parse(Owner::User, asked, "web").unwrap();

            assert_eq!(scope.below_top().unwrap(), Path::new(below));
        }
    }

    #[test]
    fn what_names_no_scope_in_a_slice_is_refused() {
        for (asked, complaint) in [
            ("/docker/7f", "expected cgroupsPath to be of format"),
            ("a:b:c:d", "expected cgroupsPath to be of format"),
            ("a.slice:b:", "expected a name"),
            ("a.slice:b:c.slice", "not a slice"),
            ("a.slice:b:../c", "not a slice"),
            ("a:b:c", "invalid slice name"),
            (".slice:b:c", "invalid slice name"),
            ("a--b.slice:b:c", "invalid slice name"),
            ("../x.slice:b:c", "invalid slice name"),
        ] {
            let scope = Scope::parse(Owner::Host, Some(asked), "web");
            let error = scope.and_then(|scope| scope.cgroup());

            let error = error.unwrap_err().to_string();
            assert!(error.contains(complaint), "{asked}: {error}");
        }
    }
}
