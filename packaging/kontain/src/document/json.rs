//! A JSON document, edited by spans of its text.
//!
//! A new member comes last in its object, with the white space that the members before it have; so a document on one
//! line stays on one line, and one with tabs, or with Windows' ends of lines, keeps them.

use std::path::{Path, PathBuf};

use jsonc_parser::ast::{Object, ObjectProp, Value as Node};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Value;

use super::strict::Strict;
use super::{Place, no_table};
use crate::error::{NodeError, Result};

/// A document, known to be well formed, whose value is an object.
#[derive(Debug)]
pub(crate) struct Json {
    text: String,
    path: PathBuf,
}

/// An object in the text.
struct Span {
    /// Of the object itself, its braces included.
    start: usize,
    end: usize,
    members: Vec<Member>,
}

/// A member: its name begins it, its value ends it.
struct Member {
    name: String,
    start: usize,
    name_end: usize,
    value: usize,
    end: usize,
}

impl Json {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |reason: String| {
            let fix = "mend it: the engine does not start with it either";
            NodeError::refused(path, reason, fix)
        };
        // dockerd takes an empty file for an empty object.
        if text.trim().is_empty() {
            return Ok(Self { text: "{}\n".to_owned(), path: path.to_owned() });
        }
        let read = serde_json::from_str::<Strict>(text);
        match read.map_err(|error| wrong(format!("it is not valid JSON: {error}")))? {
            Strict(Value::Object(_)) => {}
            Strict(other) => return Err(wrong(format!("it is {}, no object", kind(&other)))),
        }
        Ok(Self { text: text.to_owned(), path: path.to_owned() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn get(&self, place: &Place) -> Result<Option<Value>> {
        let mut value = self.value();
        for (depth, name) in place.iter().enumerate() {
            let Value::Object(mut members) = value else {
                return Err(no_table(&self.path, &place[..depth], kind(&value)));
            };
            match members.remove(name) {
                Some(member) => value = member,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    pub(super) fn set(&mut self, place: &Place, value: &Value) -> Result<()> {
        // Refuses what is in a table's place.
        self.get(place)?;
        let Some((last, tables)) = place.split_last() else { return Ok(()) };
        let depth = (0..tables.len()).find(|&depth| self.span(&place[..=depth]).is_none());
        let (depth, name) = depth.map_or((tables.len(), last), |depth| (depth, &place[depth]));
        let Some(object) = self.span(&place[..depth]) else { return Ok(()) };
        let mut value = value.clone();
        for name in place[depth + 1..].iter().rev() {
            value = Value::Object([(name.clone(), value)].into_iter().collect());
        }
        match object.members.iter().find(|member| member.name == *name) {
            Some(member) => {
                let indent = self.indent_before(member.start);
                let text = self.rendered(&value, &indent);
                self.text.replace_range(member.value..member.end, &text);
            }
            None => self.append(&object, name, &value),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, place: &Place) -> Result<()> {
        self.get(place)?;
        let Some((last, table)) = place.split_last() else { return Ok(()) };
        let Some(object) = self.span(table) else { return Ok(()) };
        let Some(index) = object.members.iter().position(|member| member.name == *last) else {
            return Ok(());
        };
        let gone = match (index.checked_sub(1), object.members.get(index + 1)) {
            (_, Some(next)) => object.members[index].start..next.start,
            (Some(before), None) => object.members[before].end..object.members[index].end,
            (None, None) => object.start + 1..object.end - 1,
        };
        self.text.replace_range(gone, "");
        Ok(())
    }

    /// Adds a member behind the others.
    fn append(&mut self, object: &Span, name: &str, value: &Value) {
        let name = Value::from(name);
        let Some(last) = object.members.last() else {
            let outer = self.indent_before(object.start);
            let (end, unit) = (self.line_end(), self.unit());
            let text = self.rendered(value, &format!("{outer}{unit}"));
            let text = format!("{{{end}{outer}{unit}{name}: {text}{end}{outer}}}");
            self.text.replace_range(object.start..object.end, &text);
            return;
        };
        let before = object.members.len().checked_sub(2).map(|before| &object.members[before]);
        let gap_start = before.map_or(object.start + 1, |before| {
            before.end + self.text[before.end..last.start].find(',').map_or(0, |comma| comma + 1)
        });
        let gap = self.text[gap_start..last.start].to_owned();
        let colon = self.text[last.name_end..last.value].to_owned();
        let text = if gap.contains('\n') {
            self.rendered(value, &self.indent_before(last.start))
        } else {
            value.to_string()
        };
        self.text.insert_str(last.end, &format!(",{gap}{name}{colon}{text}"));
    }

    /// A value as it stands behind a name that is indented so.
    fn rendered(&self, value: &Value, indent: &str) -> String {
        let Value::Object(members) = value else { return value.to_string() };
        if members.is_empty() {
            return "{}".to_owned();
        }
        let (end, inner) = (self.line_end(), format!("{indent}{}", self.unit()));
        let member = |(name, value): (&String, &Value)| {
            format!("{inner}{}: {}", Value::from(name.as_str()), self.rendered(value, &inner))
        };
        let members: Vec<_> = members.iter().map(member).collect();
        format!("{{{end}{}{end}{indent}}}", members.join(&format!(",{end}")))
    }

    /// White space between a line's beginning and a place in it.
    fn indent_before(&self, place: usize) -> String {
        let line = self.text[..place].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &self.text[line..place];
        line[..line.len() - line.trim_start().len()].to_owned()
    }

    /// By how much the document indents.
    fn unit(&self) -> String {
        let first = self.span(&[]).and_then(|top| top.members.first().map(|member| member.start));
        let unit = first.map(|start| self.indent_before(start)).unwrap_or_default();
        if unit.is_empty() { "    ".to_owned() } else { unit }
    }

    fn line_end(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The object at a place, if one is there.
    fn span(&self, place: &Place) -> Option<Span> {
        let parsed = parse_to_ast(&self.text, &CollectOptions::default(), &ParseOptions::default());
        let mut node = parsed.ok()?.value?;
        for name in place {
            let Node::Object(object) = node else { return None };
            node = object.properties.into_iter().find(|one| one.name.as_str() == name)?.value;
        }
        let Node::Object(object) = node else { return None };
        Some(Span::of(&object))
    }
}

impl Span {
    fn of(object: &Object<'_>) -> Self {
        let member = |property: &ObjectProp<'_>| Member {
            name: property.name.as_str().to_owned(),
            start: property.start(),
            name_end: property.name.end(),
            value: property.value.start(),
            end: property.value.end(),
        };
        let members = object.properties.iter().map(member).collect();
        Self { start: object.start(), end: object.end(), members }
    }
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
