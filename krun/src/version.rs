//! What `krun --version` says.

/// krun's own version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit krun was built from, or "unknown".
pub(crate) const COMMIT: &str = env!("KRUN_COMMIT");

/// Three lines of runc's form; dockerd looks for the words.
pub(crate) fn lines() -> String {
    format!("krun version {VERSION}\ncommit: {COMMIT}\nspec: {}\n", spec_compat::OCI_VERSION)
}
