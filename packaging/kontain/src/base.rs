//! An engine's file as it would be without kontain.

use std::path::Path;

use serde_json::Value;

use crate::document::{self, Document};
use crate::engines::Target;
use crate::error::{NodeError, Result};
use crate::files::Found;
use crate::record::{self, Added, Kept, Original};

/// A file without kontain's entries.
#[derive(Debug)]
pub(crate) struct Base {
    /// What is in it; none if it is not there.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Whether this is what was there before, to the byte.
    pub(crate) is_exact: bool,
    /// What the administrator should know.
    pub(crate) warnings: Vec<String>,
}

impl Base {
    /// What was there before if nobody has changed the file since, else the file with kontain's entries taken away.
    pub(crate) fn of(
        kept: Option<&Kept>,
        current: Option<&Found>,
        target: &Target,
        shown: &Path,
    ) -> Result<Self> {
        let exact = |bytes: Option<&[u8]>| Self {
            bytes: bytes.map(<[u8]>::to_vec),
            is_exact: true,
            warnings: Vec::new(),
        };
        let bytes = current.map(|current| current.bytes.as_slice());
        let Some(kept) = kept else { return Ok(exact(bytes)) };
        let Some(current) = current else {
            if kept.record.before.is_none() {
                return Ok(exact(None));
            }
            // kontain has the only copy left.
            if let Original::Bytes(_) = kept.original() {
                let reason = "somebody has removed it, and what was in it is in kontain's copy";
                let copy = kept.copy.display();
                let fix = format!("copy {copy} there, or remove that, and try again");
                return Err(NodeError::refused(shown, reason, fix));
            }
            let gone = format!("{}: somebody has removed it", shown.display());
            return Ok(Self { bytes: None, is_exact: false, warnings: vec![gone] });
        };
        let hash = record::hash(&current.bytes);
        if hash == kept.record.after {
            match kept.original() {
                Original::Absent => return Ok(exact(None)),
                Original::Bytes(original) => return Ok(exact(Some(original))),
                Original::Unknown => {}
            }
        }
        if Some(&hash) == kept.record.before.as_ref() {
            return Ok(exact(bytes));
        }
        without_entries(kept, current, target, shown)
    }
}

fn without_entries(kept: &Kept, current: &Found, target: &Target, shown: &Path) -> Result<Base> {
    let mut document = Document::parse(target.format, Some(current), shown)?;
    let mut warnings =
        vec![format!("{}: changed since: only krun's entries are taken away", shown.display())];
    for added in kept.record.entries.iter().rev() {
        let found = document.get(&added.place)?;
        if found.as_ref() == Some(&added.value) {
            take_away(&mut document, added)?;
        } else if found.is_some() && found != added.was {
            let place = document::shown(&added.place);
            warnings.push(format!("{}: {place}: not kontain's any more: left", shown.display()));
        }
    }
    let text = document.text();
    // What a new file has before anything is in it.
    let is_ours = |line: &str| {
        matches!(line, "" | "{}")
            || ["# Made by `kontain", "version = "].iter().any(|own| line.starts_with(own))
    };
    let is_nothing = kept.record.before.is_none() && text.lines().all(is_ours);
    let bytes = (!is_nothing).then(|| text.into_bytes());
    Ok(Base { bytes, is_exact: false, warnings })
}

fn take_away(document: &mut Document, added: &Added) -> Result<()> {
    if let Some(was) = &added.was {
        return document.set(&added.place, was);
    }
    document.remove(&added.place)?;
    for depth in (added.tables + 1..added.place.len()).rev() {
        let table = document.get(&added.place[..depth])?;
        if table.as_ref().and_then(Value::as_object).is_none_or(|table| !table.is_empty()) {
            break;
        }
        document.remove(&added.place[..depth])?;
    }
    Ok(())
}
