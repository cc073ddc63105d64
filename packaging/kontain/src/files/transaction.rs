//! Changes of several files that are made all or not at all.
//!
//! First everything is written beside the files, where a full disk or a read-only file system shows itself; then names
//! are exchanged, one after the other, and back again if one cannot be.

use std::path::PathBuf;

use super::prepared::Prepared;
use super::{Found, Root};
use crate::error::{NodeError, Result};

/// What becomes of one file.
#[derive(Debug)]
pub(crate) struct Change {
    /// Where it is, on the node.
    pub(crate) path: PathBuf,
    /// What was read there; none if there was nothing.
    pub(crate) before: Option<Found>,
    /// What is to be there; none if nothing is.
    pub(crate) after: Option<Vec<u8>>,
    /// The mode of a file that was not there.
    pub(crate) mode: u32,
    /// Whether the engine reads every file beside it, whatever its name: then nothing is put there, but above.
    pub(crate) is_aside_above: bool,
}

/// Makes all changes, in their order, or none. Returns what is not kontain's and lies beside a file now.
pub(crate) fn apply<'a>(
    root: &Root,
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<Vec<PathBuf>> {
    let mut prepared: Vec<Prepared<'_>> = Vec::new();
    let done = prepare_and_commit(root, changes, &mut prepared);
    // The old files if all went well, else the new ones.
    let asides: Vec<_> = prepared.iter().filter_map(|one| one.remove_aside(done.is_ok())).collect();
    let Err(error) = done else { return Ok(asides) };
    let made: Vec<_> = prepared.iter().flat_map(|prepared| &prepared.made).collect();
    made.into_iter().rev().for_each(|directory| root.remove_directory(directory));
    match asides.first() {
        None => Err(error),
        Some(_) => Err(NodeError::Changed { path: error.path().to_owned(), left: asides }),
    }
}

/// Makes so many of the changes, and leaves all as it is then.
pub(crate) fn apply_first(root: &Root, changes: &[&Change], count: usize) -> Result<()> {
    let mut prepared = Vec::new();
    for change in changes {
        prepared.push(Prepared::new(root, change)?);
    }
    prepared.iter().take(count).try_for_each(Prepared::commit)
}

fn prepare_and_commit<'a>(
    root: &Root,
    changes: impl IntoIterator<Item = &'a Change>,
    prepared: &mut Vec<Prepared<'a>>,
) -> Result<()> {
    for change in changes {
        prepared.push(Prepared::new(root, change)?);
    }
    for (index, one) in prepared.iter().enumerate() {
        if let Err(error) = one.commit() {
            prepared[..index].iter().rev().for_each(Prepared::undo);
            return Err(error);
        }
    }
    Ok(())
}
