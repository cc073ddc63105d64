//! `kontain config dump`: what krun goes by on this node, where each value is from, and what is wrong.

use std::env;
use std::error::Error as _;
use std::path::Path;

use krun_config::{ConfigError, DIRECTORY, Flags, Origin, Settings};
use serde_json::{Value, json};

/// The settings of a node, and all that is wrong with them.
#[derive(Debug)]
pub(crate) struct Dump {
    settings: Settings,
    errors: Vec<ConfigError>,
}

impl Dump {
    /// Of the node with this root directory. Variables are kontain's own, which need not be an engine's.
    pub(crate) fn of(root: &Path, flags: &Flags) -> Self {
        let directory = root.join(DIRECTORY.trim_start_matches('/'));
        let (settings, errors) = Settings::read(&directory, env::vars_os(), flags);
        Self { settings, errors }
    }

    /// Whether krun would refuse to make containers.
    pub(crate) fn is_wrong(&self) -> bool {
        !self.errors.is_empty()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let line = |(name, value, origin): (&str, Value, &Origin)| {
            let value = value.as_str().map_or_else(|| word(&value), str::to_owned);
            format!("{name:16} {value:8} {origin}\n")
        };
        let errors = self.errors.iter().map(|error| format!("error: {}\n", whole(error)));
        self.settings.all().map(line).into_iter().chain(errors).collect()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let setting = |(name, value, origin): (&str, Value, &Origin)| {
            let place = match origin {
                Origin::Default => Value::Null,
                Origin::File(path) => json!(path),
                Origin::Variable(name) => json!(name),
                Origin::Flag(name) => json!(name),
            };
            json!({"key": name, "value": value, "origin": origin.kind(), "place": place})
        };
        let error = |error: &ConfigError| json!({"file": error.file(), "key": error.key(), "message": whole(error)});
        json!({
            "settings": self.settings.all().map(setting),
            "errors": self.errors.iter().map(error).collect::<Vec<_>>(),
        })
    }
}

/// Nothing is what krun uses by itself.
fn word(value: &Value) -> String {
    if value.is_null() { "usual".to_owned() } else { value.to_string() }
}

fn whole(error: &ConfigError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
