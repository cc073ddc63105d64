//! `krun state`: print a container's state as JSON.

use super::VerbError;
use crate::cli::{Global, Target};

pub(super) fn state(global: &Global, target: &Target) -> Result<(), VerbError> {
    let entry = super::store(global).find(&target.id)?;
    let record = entry.load()?;
    let state = record.state(entry.status(&record));
    super::print(&state.to_json())
}
