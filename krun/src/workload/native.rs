//! A program on the host's kernel, as runc runs it, where the host's policy says so.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use krun_seccomp::FilterError;
use spec_compat::Config;

use super::executor::Prepared;
use super::open_files::OpenFiles;
use super::profile::Profile;

/// What a program without a monitor is started with.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    /// The hashes of which the program must have one; none if any program will do.
    programs: Option<Vec<String>>,
    profile: Option<Profile>,
}

impl Native {
    /// Translates what the program needs.
    pub(crate) fn prepare(
        config: &Config,
        programs: Option<Vec<String>>,
    ) -> Result<Self, FilterError> {
        Ok(Self { programs, profile: Profile::of_native(config)? })
    }

    /// What is put on the process.
    pub(super) fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// Gives this process the program's rights and no more, and these descriptors. Hooks that run after this
    /// are the container's own programs.
    pub(super) fn confine(
        &self,
        prepared: &Prepared,
        files: Option<&OpenFiles>,
    ) -> Result<(), String> {
        if let Some(programs) = &self.programs {
            demand_one_of(programs, &prepared.program)?;
        }
        files.map_or(Ok(()), OpenFiles::set)?;
        self.profile.as_ref().map_or(Ok(()), Profile::load).map_err(host)
    }
}

/// Becomes the program. The outer fault is the host's, the inner one the program's.
pub(super) fn become_it(
    prepared: &Prepared,
    files: Option<&OpenFiles>,
) -> Result<Result<Infallible, String>, String> {
    files.map_or(Ok(()), OpenFiles::set)?;
    let program = CString::new(prepared.program.as_os_str().as_bytes()).map_err(host)?;
    krun_sys::reset_sigpipe().map_err(host)?;
    let executed = nix::unistd::execve(&program, &prepared.arguments, &prepared.environment);
    Ok(executed.map_err(|errno| errno.desc().to_lowercase()))
}

/// The policy named programs: this is the one that will run, whatever the container looks like.
fn demand_one_of(programs: &[String], program: &Path) -> Result<(), String> {
    let found = krun_policy::hash(Path::new("/"), &program.to_string_lossy());
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
    use super::demand_one_of;

    #[test]
    fn a_program_that_is_not_named_is_refused() {
        let fault = demand_one_of(&["00".to_owned()], "/bin/true".as_ref()).unwrap_err();
        assert!(fault.starts_with("program_sha256 of the policy: /bin/true: "), "{fault}");
    }
}
