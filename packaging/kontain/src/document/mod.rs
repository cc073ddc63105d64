//! Documents of engines, in which single values are changed. Every other byte stays.

mod json;
mod strict;
mod toml;
mod variables;
mod whole;

use std::path::Path;

use serde_json::Value;

use self::json::Json;
use self::toml::Toml;
use self::variables::Variables;
use self::whole::Whole;
use crate::error::{NodeError, Result};
use crate::files::{self, Found};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Docker's.
    Json,
    /// Most others'.
    Toml,
    /// Those of ECS's agent.
    Variables,
    /// Kontain's own files.
    Whole,
}

/// A document.
#[derive(Debug)]
pub(crate) enum Document {
    /// Docker's.
    Json(Json),
    /// Most others'.
    Toml(Toml),
    /// Those of ECS's agent.
    Variables(Variables),
    /// Kontain's own files.
    Whole(Whole),
}

/// A place in a document: names of tables, the outermost first.
pub(crate) type Place = [String];

impl Document {
    /// Reads a document; nothing is an empty one.
    pub(crate) fn parse(format: Format, found: Option<&Found>, shown: &Path) -> Result<Self> {
        let text = found.map_or(Ok(""), |found| files::text(&found.bytes, shown))?;
        Self::parse_text(format, text, shown)
    }

    /// The same, of a text.
    pub(crate) fn parse_text(format: Format, text: &str, shown: &Path) -> Result<Self> {
        match format {
            Format::Json => Json::parse(text, shown).map(Self::Json),
            Format::Toml => Toml::parse(text, shown).map(Self::Toml),
            Format::Variables => Ok(Self::Variables(Variables::new(text, shown))),
            Format::Whole => Ok(Self::Whole(Whole::new(text))),
        }
    }

    /// The value at a place. Refuses what should be tables and are not.
    pub(crate) fn get(&self, place: &Place) -> Result<Option<Value>> {
        match self {
            Self::Json(document) => document.get(place),
            Self::Toml(document) => document.get(place),
            Self::Variables(document) => document.get(place),
            Self::Whole(document) => Ok(document.get(place)),
        }
    }

    /// Puts a value at a place, and makes the tables around it.
    pub(crate) fn set(&mut self, place: &Place, value: &Value) -> Result<()> {
        match self {
            Self::Json(document) => document.set(place, value),
            Self::Toml(document) => document.set(place, value),
            Self::Variables(document) => document.set(place, value),
            Self::Whole(document) => {
                document.set(value);
                Ok(())
            }
        }
    }

    /// Takes the value at a place away.
    pub(crate) fn remove(&mut self, place: &Place) -> Result<()> {
        match self {
            Self::Json(document) => document.remove(place),
            Self::Toml(document) => document.remove(place),
            Self::Variables(document) => document.remove(place),
            Self::Whole(document) => {
                document.remove();
                Ok(())
            }
        }
    }

    /// What is to be written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Json(document) => document.text().to_owned(),
            Self::Toml(document) => document.text(),
            Self::Variables(document) => document.text().to_owned(),
            Self::Whole(document) => document.text().to_owned(),
        }
    }
}

/// A place as messages name it.
pub(crate) fn shown(place: &Place) -> String {
    let is_plain = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = |name: &String| if is_plain(name) { name.clone() } else { format!("{name:?}") };
    place.iter().map(name).collect::<Vec<_>>().join(".")
}

/// What stands in a table's place is none.
fn no_table(path: &Path, place: &Place, got: &str) -> NodeError {
    let reason = format!("it is {got}, where engines have a table of names");
    NodeError::field(
        path,
        shown(place),
        reason,
        "mend it: the engine does not start with it either",
    )
}
