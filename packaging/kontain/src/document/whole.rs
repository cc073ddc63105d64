//! A file that is kontain's own from its first byte to its last: all of it is one value.

use serde_json::Value;

use super::Place;

/// Such a file.
#[derive(Debug)]
pub(crate) struct Whole {
    text: String,
}

impl Whole {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// All of it, whatever it is called; none if there is nothing.
    pub(super) fn get(&self, place: &Place) -> Option<Value> {
        (place.len() == 1 && !self.text.is_empty()).then(|| Value::String(self.text.clone()))
    }

    pub(super) fn set(&mut self, value: &Value) {
        value.as_str().unwrap_or_default().clone_into(&mut self.text);
    }

    pub(super) fn remove(&mut self) {
        self.text.clear();
    }
}
