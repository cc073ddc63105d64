//! SELinux labels of programs. libcontainer ignores them, so they are refused: a program that is
//! to be confined must not run unconfined.

use std::path::Path;

use spec_compat::Config;

/// There where SELinux has a policy.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Why a label cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabelError {
    /// runc's words.
    #[error("selinux label is specified in config, but selinux is disabled or not supported")]
    Disabled,
    /// It is ours to do, and not done.
    #[error(
        "process.selinuxLabel: SELinux labels are not supported yet: turn them off for this \
         container (--security-opt label=disable)"
    )]
    Unsupported,
}

/// Refuses a program with a label.
pub(crate) fn demand_none(config: &Config) -> Result<(), LabelError> {
    let label = config.process().selinux_label().as_deref().unwrap_or_default();
    match (label, Path::new(SELINUX).exists()) {
        ("", _) => Ok(()),
        (_, true) => Err(LabelError::Unsupported),
        (_, false) => Err(LabelError::Disabled),
    }
}
