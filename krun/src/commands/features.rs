//! `krun features`: print what this runtime supports, on any machine and for any user.

use super::VerbError;
use crate::version;

pub(super) fn features() -> Result<(), VerbError> {
    let document = spec_compat::features::document(version::VERSION, version::COMMIT);
    super::print(&format!("{document:#}\n"))
}
