//! `krun start`: let the program of a created container run.

use super::VerbError;
use crate::cli::{Global, Target};
use crate::container::start;
use crate::creation::start_socket;

pub(super) fn start(global: &Global, target: &Target) -> Result<(), VerbError> {
    let entry = super::store(global).find(&target.id)?;
    let _lock = entry.lock()?;
    let record = entry.load()?;
    start::start(&entry, &record, &start_socket(entry.directory(), &target.id))?;
    Ok(())
}
