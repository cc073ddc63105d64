//! A place in a JSON document, which knows its own name.
//!
//! The typed form of the specification (`oci-spec`) stops at the first thing it cannot
//! read. The checks walk the untyped document instead, so that all faults come at once.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;

use crate::Fault;

/// How many characters of a wrong value are shown.
const SHOWN: usize = 60;

/// A value, or the absence of one, with the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(crate) fn root(document: &'a Value) -> Self {
        Self { path: String::new(), value: Some(document) }
    }

    /// The member `name` of this object; absent where this is no object.
    pub(crate) fn child(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            parent => format!("{parent}.{name}"),
        };
        Self { path, value: self.value.and_then(|value| value.get(name)) }
    }

    pub(crate) fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// Whether this is an object, and not an empty one.
    pub(crate) fn has_members(&self) -> bool {
        self.value.and_then(Value::as_object).is_some_and(|members| !members.is_empty())
    }

    /// The members of this object; there are none where this is no object.
    pub(crate) fn members(&self) -> Vec<Self> {
        let members = self.value.and_then(Value::as_object).into_iter().flatten();
        members.map(|(name, _)| self.child(name)).collect()
    }

    /// Demands an object, if there is anything.
    pub(crate) fn object(&self, faults: &mut Vec<Fault>) {
        if self.value.is_some_and(|value| !value.is_object()) {
            faults.push(self.fault("an object"));
        }
    }

    /// Demands texts that can be handed to Linux, if there is a list.
    pub(crate) fn c_strings(&self, faults: &mut Vec<Fault>) {
        for element in self.elements(faults) {
            element.c_string(faults);
        }
    }

    /// Demands a text that can be handed to Linux, if there is anything.
    pub(crate) fn c_string(&self, faults: &mut Vec<Fault>) {
        const EXPECTED: &str = "text without a zero byte";
        if self.text(EXPECTED, faults).is_some_and(|text| !is_c_string(text)) {
            faults.push(self.fault(EXPECTED));
        }
    }

    /// The number here, 0 if there is none.
    pub(crate) fn number(&self) -> u64 {
        self.value.and_then(Value::as_u64).unwrap_or_default()
    }

    pub(crate) fn is_number(&self) -> bool {
        self.value.is_some_and(Value::is_number)
    }

    pub(crate) fn is_positive_integer(&self) -> bool {
        self.value.and_then(Value::as_u64).is_some_and(|number| number > 0)
    }

    /// Says that this field is not what it should be.
    pub(crate) fn fault(&self, expected: &str) -> Fault {
        let field = if self.path.is_empty() { "config.json" } else { &self.path };
        Fault { field: field.to_owned(), found: describe(self.value), expected: expected.into() }
    }

    /// The elements of this list. An absent list has none; another value is a fault.
    pub(crate) fn elements(&self, faults: &mut Vec<Fault>) -> Vec<Self> {
        match self.value {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let place =
                    |(i, value)| Self { path: format!("{}[{i}]", self.path), value: Some(value) };
                values.iter().enumerate().map(place).collect()
            }
            Some(_) => {
                faults.push(self.fault("a list"));
                Vec::new()
            }
        }
    }

    /// The text here, if there is one. Another value is a fault, absence is not.
    pub(crate) fn text(&self, expected: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        let text = self.value?.as_str();
        if text.is_none() {
            faults.push(self.fault(expected));
        }
        text
    }

    /// The text here; absence and other values are faults.
    pub(crate) fn required_text(&self, expected: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        if self.value.is_none() {
            faults.push(self.fault(expected));
        }
        self.text(expected, faults)
    }

    /// Demands an integer between these, if there is anything.
    pub(crate) fn integer(
        &self,
        range: RangeInclusive<i64>,
        expected: &str,
        faults: &mut Vec<Fault>,
    ) {
        let is_within = |value: &Value| value.as_i64().is_some_and(|n| range.contains(&n));
        if self.value.is_some_and(|value| !is_within(value)) {
            faults.push(self.fault(expected));
        }
    }

    /// Demands an absolute path.
    pub(crate) fn absolute_path(&self, faults: &mut Vec<Fault>) {
        const EXPECTED: &str = "an absolute path";
        if let Some(text) = self.required_text(EXPECTED, faults)
            && !(Path::new(text).is_absolute() && is_c_string(text))
        {
            faults.push(self.fault(EXPECTED));
        }
    }
}

/// Whether `text` can be handed to Linux, where a zero byte ends it.
pub(crate) fn is_c_string(text: &str) -> bool {
    !text.contains('\0')
}

fn describe(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".into(),
        Some(Value::Array(list)) if list.is_empty() => "an empty list".into(),
        Some(Value::Array(_)) => "a list".into(),
        Some(Value::Object(_)) => "an object".into(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => shortened(other),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
