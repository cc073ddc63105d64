//! What is put on the process that becomes the program: the monitor's own filter, or natively the workload's
//! seccomp profile.
//!
//! krun does that itself, as its last deed before the container's hooks and the program: libcontainer
//! forgets it for further programs, and what is done in between would have to be in the profile. Unless
//! the program may not gain privileges anyway, that needs `CAP_SYS_ADMIN`, which is lent to this
//! process until then.
//!
//! The profile of a virtual machine acts at the monitor's gate. What the kernel is given is the filter of the
//! monitor's own calls (`monitor-filter`), so `/proc/<pid>/status` tells everybody, inside and outside, that
//! there is one. Without a profile, or where an agent is asked and the kernel has a further filter, the monitor
//! shows its guest one less.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use hooks::Point;
use krun_seccomp::{self as filter, FilterError};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::{Capabilities, LinuxCapabilities, LinuxSeccomp};
use serde_json::{Value, json};
use spec_compat::Config;

use super::agent;

/// What loading a filter needs, and dropping that again.
const LENT: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP];
/// The sets of `process.capabilities` that this is about.
const LENT_IN: [&str; 3] = ["bounding", "effective", "permitted"];

#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// None where the kernel has all it needs, and only rights are to be given back.
    filter: Option<Filter>,
    /// What the program is to have where something is lent to load the filter.
    rights: Option<Box<LinuxCapabilities>>,
}

#[derive(Clone, Debug)]
struct Filter {
    program: Vec<u8>,
    flags: u32,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It is the workload's.
    Profile,
    /// It is the monitor's own.
    Confinement,
    /// The kernel is only told. One without filters cannot be; the monitor does not need it.
    Show,
}

impl Profile {
    /// For a program on the host's kernel.
    pub(super) fn of_native(config: &Config) -> Result<Option<Self>, FilterError> {
        let Some(profile) = config.seccomp_profile() else { return Ok(None) };
        let program = filter::deciding_part(&filter::compile_natively(profile)?);
        let (flags, purpose) = (filter::flags(profile), Purpose::Profile);
        Ok(Some(Self::new(config, Some(Filter { program, flags, purpose }))))
    }

    /// For hooks in the container of a virtual machine, which run in a process without the monitor's. What an agent
    /// is to be asked about fails in them as if nobody listened: the agent of a virtual machine is asked by the
    /// monitor.
    pub(super) fn of_start_hooks(
        config: &Config,
        confines: bool,
    ) -> Result<Option<Self>, FilterError> {
        let profile = config.seccomp_profile();
        let is_lent = confines || profile.is_some();
        if !is_lent || config.hooks(Point::StartContainer.name()).is_empty() {
            return Ok(None);
        }
        let filter = profile.map(Self::compile_for_host).transpose()?;
        Ok(Some(Self::new(config, filter)))
    }

    fn compile_for_host(profile: &LinuxSeccomp) -> Result<Filter, FilterError> {
        let program = filter::compile_for_host(profile)?;
        Ok(Filter { program, flags: filter::flags(profile), purpose: Purpose::Profile })
    }

    /// For a monitor, which may have a filter of its own. Where an agent is asked, the kernel has one already.
    pub(super) fn of_monitor(config: &Config, confines: bool) -> Option<Self> {
        let profile = config.seccomp_profile();
        let flags = profile.map_or(monitor_filter::FLAGS, filter::flags);
        let filter = if confines {
            let program = monitor_filter::PROGRAM.to_vec();
            Some(Filter { program, flags, purpose: Purpose::Confinement })
        } else if profile.is_some() && !agent::is_asked(config) {
            Some(Filter { program: filter::for_show(), flags, purpose: Purpose::Show })
        } else {
            None
        };
        (filter.is_some() || profile.is_some()).then(|| Self::new(config, filter))
    }

    fn new(config: &Config, filter: Option<Filter>) -> Self {
        let gains_rights = config.process().no_new_privileges() != Some(true);
        let rights = gains_rights.then(|| config.process().capabilities().clone());
        Self { filter, rights: rights.flatten().map(Box::new) }
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
        let Some(Filter { program, flags, purpose }) = &self.filter else { return Ok(()) };
        let loaded = krun_sys::load_seccomp_filter(program, *flags);
        loaded.or_else(|error| match purpose {
            Purpose::Profile => Err(format!("load the seccomp profile: {error}")),
            Purpose::Confinement => {
                Err(format!("load km's seccomp filter (--no-monitor-filter does without): {error}"))
            }
            Purpose::Show => Ok(()),
        })
    }

    /// What is lent until this is loaded.
    pub(super) fn lent(&self) -> &'static [Capability] {
        if self.rights.is_some() { &LENT } else { &[] }
    }

    /// Adds what is lent to the process section that libcontainer sees.
    pub(super) fn lend_rights(&self, process: &mut Value) {
        if self.rights.is_none() {
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
}

/// What is lent cannot be had again.
fn drop_bounding(rights: &LinuxCapabilities) -> Result<(), CapsError> {
    let bounding = set(rights.bounding().as_ref());
    let lent = LENT.into_iter().filter(|lent| !bounding.contains(lent));
    lent.into_iter().try_for_each(|lent| caps::drop(None, CapSet::Bounding, lent))
}

/// Gives the process the program's rights and no more.
fn give_back(rights: &LinuxCapabilities) -> Result<(), CapsError> {
    caps::set(None, CapSet::Effective, &set(rights.effective().as_ref()))?;
    caps::set(None, CapSet::Permitted, &set(rights.permitted().as_ref()))
}

fn set(capabilities: Option<&Capabilities>) -> CapsHashSet {
    capabilities.into_iter().flatten().map(CapabilityExt::to_cap).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use spec_compat::Config;

    use super::{Profile, Purpose};

    fn config(no_new_privileges: bool, profile: Option<&Value>) -> Config {
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
        if let Some(profile) = profile {
            document["linux"] = json!({"seccomp": profile});
        }
        Config::parse(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn rights_are_lent_where_a_filter_needs_them() {
        let allow = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        let capabilities = |profile: Option<Profile>, config: &Config| {
            let mut process = config.document()["process"].clone();
            profile.inspect(|profile| profile.lend_rights(&mut process));
            process["capabilities"].clone()
        };

        let config_of = |nnp, profile| config(nnp, profile);
        let (plain, profiled) = (config_of(false, None), config_of(false, Some(&allow)));
        for lent in [
            capabilities(Profile::of_native(&profiled).unwrap(), &profiled),
            capabilities(Profile::of_monitor(&profiled, true), &profiled),
            capabilities(Profile::of_monitor(&profiled, false), &profiled),
            capabilities(Profile::of_monitor(&plain, true), &plain),
        ] {
            assert_eq!(lent["bounding"], json!(["CAP_SETPCAP", "CAP_SYS_ADMIN"]));
            assert_eq!(lent["permitted"], json!(["CAP_SYS_ADMIN", "CAP_SETPCAP"]));
            assert_eq!(lent["ambient"], json!(["CAP_KILL"]));
        }
        let restricted = config_of(true, Some(&allow));
        for kept in [
            capabilities(Profile::of_native(&plain).unwrap(), &plain),
            capabilities(Profile::of_monitor(&plain, false), &plain),
            capabilities(Profile::of_monitor(&restricted, true), &restricted),
        ] {
            assert_eq!(kept["bounding"], json!(["CAP_SETPCAP"]));
        }
    }

    #[test]
    fn the_kernel_has_as_many_filters_as_the_program() {
        let purpose = |profile: Option<&Value>, confines: bool| {
            let made = Profile::of_monitor(&config(false, profile), confines);
            made.and_then(|made| made.filter).map(|filter| filter.purpose)
        };
        let plain = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        let asking = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        });

        for profile in [None, Some(&plain), Some(&asking)] {
            assert_eq!(purpose(profile, true), Some(Purpose::Confinement), "{profile:?}");
        }
        assert_eq!(purpose(Some(&plain), false), Some(Purpose::Show));
        assert_eq!(purpose(Some(&asking), false), None, "the listener's is there");
        assert_eq!(purpose(None, false), None);
    }
}
