//! The workload's seccomp profile, put on the process that becomes the program.
//!
//! krun does that itself, as its last deed before the container's hooks and the program: libcontainer
//! forgets it for further programs, and what is done in between would have to be in the profile. Unless
//! the program may not gain privileges anyway, that needs `CAP_SYS_ADMIN`, which is lent to this
//! process until then.
//!
//! The filter of a virtual machine acts at the monitor's gate. What the kernel is given is a filter that
//! lets every call through: so `/proc/<pid>/status` tells everybody, inside and outside, that there is one.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::{Capabilities, LinuxCapabilities};
use serde_json::{Value, json};
use spec_compat::Config;

use super::agent;
use super::filter::{self, FilterError};

/// What loading a filter needs, and dropping that again.
const LENT: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP];
/// The sets of `process.capabilities` that this is about.
const LENT_IN: [&str; 3] = ["bounding", "effective", "permitted"];

#[derive(Clone, Debug)]
pub(super) struct Profile {
    filter: Vec<u8>,
    flags: u32,
    /// Whether the kernel is only told. One without filters cannot be; the monitor does not need it.
    is_for_show: bool,
    /// What the program is to have where something is lent to load the filter.
    rights: Option<Box<LinuxCapabilities>>,
}

impl Profile {
    /// For a program on the host's kernel.
    pub(super) fn of_native(config: &Config) -> Result<Option<Self>, FilterError> {
        let Some(profile) = config.seccomp_profile() else { return Ok(None) };
        let filter = filter::deciding_part(&filter::compile_natively(profile)?);
        let (flags, rights) = (filter::flags(profile), rights(config));
        Ok(Some(Self { filter, flags, is_for_show: false, rights }))
    }

    /// For a monitor. Where an agent is asked, the kernel has a filter already.
    pub(super) fn of_monitor(config: &Config) -> Option<Self> {
        if agent::is_asked(config) {
            return None;
        }
        let profile = config.seccomp_profile()?;
        let flags = filter::flags(profile);
        let (filter, rights) = (filter::of_monitor(), rights(config));
        Some(Self { filter, flags, is_for_show: true, rights })
    }

    /// Puts it on this process, which has the program's rights after that.
    pub(super) fn load(&self) -> Result<(), String> {
        let Some(rights) = &self.rights else { return self.load_filter() };
        drop_bounding(rights).map_err(|error| error.to_string())?;
        self.load_filter()?;
        give_back(rights).map_err(|error| {
            format!("drop capabilities, which the seccomp profile must allow: {error}")
        })
    }

    fn load_filter(&self) -> Result<(), String> {
        match krun_sys::load_seccomp_filter(&self.filter, self.flags) {
            Err(error) if !self.is_for_show => Err(format!("load the seccomp profile: {error}")),
            _ => Ok(()),
        }
    }
}

/// What is lent cannot be had again.
pub(super) fn drop_bounding(rights: &LinuxCapabilities) -> Result<(), CapsError> {
    let bounding = set(rights.bounding().as_ref());
    let lent = LENT.into_iter().filter(|lent| !bounding.contains(lent));
    lent.into_iter().try_for_each(|lent| caps::drop(None, CapSet::Bounding, lent))
}

/// The program's rights, where others must be lent to load the profile.
pub(super) fn rights(config: &Config) -> Option<Box<LinuxCapabilities>> {
    let rights = needs_rights(config).then(|| config.process().capabilities().clone());
    rights.flatten().map(Box::new)
}

/// Gives the process the program's rights and no more.
pub(super) fn give_back(rights: &LinuxCapabilities) -> Result<(), CapsError> {
    caps::set(None, CapSet::Effective, &set(rights.effective().as_ref()))?;
    caps::set(None, CapSet::Permitted, &set(rights.permitted().as_ref()))
}

fn set(capabilities: Option<&Capabilities>) -> CapsHashSet {
    capabilities.into_iter().flatten().map(CapabilityExt::to_cap).collect()
}

/// Whether rights must be lent to load the profile.
fn needs_rights(config: &Config) -> bool {
    config.seccomp_profile().is_some() && config.process().no_new_privileges() != Some(true)
}

/// Adds what is lent to the process section that libcontainer sees.
pub(crate) fn lend_rights(config: &Config, process: &mut Value) {
    if !needs_rights(config) {
        return;
    }
    for name in LENT_IN {
        let Some(list) = process["capabilities"][name].as_array_mut() else { continue };
        for lent in LENT.map(|lent| json!(lent.to_string())) {
            if !list.contains(&lent) {
                list.push(lent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec_compat::Config;

    use super::lend_rights;

    #[test]
    fn rights_are_lent_where_a_profile_needs_them() {
        let process = |no_new_privileges: bool, profile: bool| {
            let mut document = json!({
                "ociVersion": "1.0.2",
                "root": {"path": "rootfs"},
                "process": {
                    "cwd": "/",
                    "args": ["sh"],
                    "noNewPrivileges": no_new_privileges,
                    "capabilities": {"bounding": ["CAP_SETPCAP"], "ambient": ["CAP_KILL"]},
                },
            });
            if profile {
                document["linux"] = json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}});
            }
            let config = Config::parse(document.to_string().as_bytes()).unwrap();
            let mut process = config.document()["process"].clone();
            lend_rights(&config, &mut process);
            process["capabilities"].clone()
        };

        let lent = process(false, true);
        assert_eq!(lent["bounding"], json!(["CAP_SETPCAP", "CAP_SYS_ADMIN"]));
        assert_eq!(lent["permitted"], json!(["CAP_SYS_ADMIN", "CAP_SETPCAP"]));
        assert_eq!(lent["ambient"], json!(["CAP_KILL"]));
        for (no_new_privileges, profile) in [(true, true), (false, false)] {
            let plain = process(no_new_privileges, profile);
            assert_eq!(plain["bounding"], json!(["CAP_SETPCAP"]));
        }
    }
}
