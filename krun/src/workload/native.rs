//! A program on the host's kernel, as runc runs it, where the host's policy says so.
//!
//! krun loads the workload's seccomp profile itself, as its last deed before the container's hooks and
//! the program: libcontainer forgets it for further programs, and what is done in between would have to be
//! in the profile. Unless the program may not gain privileges anyway, that needs `CAP_SYS_ADMIN`, which is
//! lent to this process until then.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::{Capabilities, LinuxCapabilities};
use serde_json::{Value, json};
use spec_compat::Config;

use super::executor::Prepared;
use super::filter::{self, FilterError};
use crate::policy;

/// What loading a filter needs, and dropping that again.
const LENT: [Capability; 2] = [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP];
/// The sets of `process.capabilities` that this is about.
const LENT_IN: [&str; 3] = ["bounding", "effective", "permitted"];

/// What a program without a monitor is started with.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    /// The hashes of which the program must have one; none if any program will do.
    programs: Option<Vec<String>>,
    profile: Option<Profile>,
}

#[derive(Clone, Debug)]
struct Profile {
    filter: Vec<u8>,
    flags: u32,
    /// What the program is to have where something is lent to load the filter.
    rights: Option<Box<LinuxCapabilities>>,
}

impl Native {
    /// Translates what the program needs.
    pub(crate) fn prepare(
        config: &Config,
        programs: Option<Vec<String>>,
    ) -> Result<Self, FilterError> {
        let Some(profile) = config.seccomp_profile() else {
            return Ok(Self { programs, profile: None });
        };
        let profile = Profile {
            filter: filter::compile_natively(profile)?,
            flags: filter::flags(profile),
            rights: if needs_rights(config) {
                config.process().capabilities().clone().map(Box::new)
            } else {
                None
            },
        };
        Ok(Self { programs, profile: Some(profile) })
    }

    /// Gives this process the program's rights and no more. Hooks that run after this are the
    /// container's own programs.
    pub(super) fn confine(&self, prepared: &Prepared) -> Result<(), String> {
        if let Some(programs) = &self.programs {
            demand_one_of(programs, &prepared.program)?;
        }
        self.profile.as_ref().map_or(Ok(()), Profile::load)
    }
}

/// Becomes the program. The outer fault is the host's, the inner one the program's.
pub(super) fn become_it(prepared: &Prepared) -> Result<Result<Infallible, String>, String> {
    let program = CString::new(prepared.program.as_os_str().as_bytes()).map_err(host)?;
    krun_sys::reset_sigpipe().map_err(host)?;
    let executed = nix::unistd::execve(&program, &prepared.arguments, &prepared.environment);
    Ok(executed.map_err(|errno| errno.desc().to_lowercase()))
}

impl Profile {
    fn load(&self) -> Result<(), String> {
        let load = || krun_sys::load_seccomp_filter(&self.filter, self.flags);
        let fault = |error: &dyn Display| host(format!("load the seccomp profile: {error}"));
        let Some(rights) = &self.rights else { return load().map_err(|error| fault(&error)) };
        let bounding = set(rights.bounding().as_ref());
        for lent in LENT.into_iter().filter(|lent| !bounding.contains(lent)) {
            caps::drop(None, CapSet::Bounding, lent).map_err(host)?;
        }
        load().map_err(|error| fault(&error))?;
        give_back(rights).map_err(|error| {
            host(format!("drop capabilities, which the seccomp profile must allow: {error}"))
        })
    }
}

fn give_back(rights: &LinuxCapabilities) -> Result<(), CapsError> {
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

/// The policy named programs: this is the one that will run, whatever the container looks like.
fn demand_one_of(programs: &[String], program: &Path) -> Result<(), String> {
    let found = policy::hash(Path::new("/"), &program.to_string_lossy());
    let found = found.map_err(|reason| format!("program_sha256 of the policy: {reason}"))?;
    if programs.iter().any(|one| one.eq_ignore_ascii_case(&found)) {
        Ok(())
    } else {
        Err(format!("program_sha256 of the policy: found {found}, which it does not name"))
    }
}

/// A fault that is not the program's.
fn host(reason: impl Display) -> String {
    format!("prepare the program: {reason}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec_compat::Config;

    use super::{demand_one_of, lend_rights};

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

    #[test]
    fn a_program_that_is_not_named_is_refused() {
        let fault = demand_one_of(&["00".to_owned()], "/bin/true".as_ref()).unwrap_err();
        assert!(fault.starts_with("program_sha256 of the policy: /bin/true: "), "{fault}");
    }
}
