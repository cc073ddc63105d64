//! A TOML document, edited by toml_edit, which keeps what it does not change.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value as Node};

use super::{Place, no_table};
use crate::error::{NodeError, Result};

/// A document.
#[derive(Debug)]
pub(crate) struct Toml {
    /// Comments that nothing follows: what is added comes behind them.
    comments: String,
    document: DocumentMut,
    path: PathBuf,
}

impl Toml {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let reason = format!("it is not valid TOML: line {line}: {}", error.message());
            NodeError::refused(path, reason, "mend it: the engine does not start with it either")
        })?;
        let written = document.to_string();
        if written != text && written.strip_suffix('\n') != Some(text) {
            let mut lines = (1..).zip(text.split('\n').zip(written.split('\n')));
            let first = lines.find(|(_, (old, new))| old != new).map_or(1, |(number, _)| number);
            let reason = format!("line {first} cannot be written again as it is");
            let fix = "give lines Linux's ends, and quote each table's name in one way throughout";
            return Err(NodeError::refused(path, reason, fix));
        }
        let (comments, document) = if document.as_table().is_empty() {
            (written, DocumentMut::new())
        } else {
            (String::new(), document)
        };
        Ok(Self { comments, document, path: path.to_owned() })
    }

    pub(super) fn text(&self) -> String {
        format!("{}{}", self.comments, self.document)
    }

    pub(super) fn get(&self, place: &Place) -> Result<Option<Value>> {
        let mut item = self.document.as_item();
        for (depth, name) in place.iter().enumerate() {
            let Some(table) = item.as_table_like() else {
                return Err(no_table(&self.path, &place[..depth], item.type_name()));
            };
            match table.get(name) {
                Some(Item::None) | None => return Ok(None),
                Some(member) => item = member,
            }
        }
        Ok(Some(value_of(item)))
    }

    pub(super) fn set(&mut self, place: &Place, value: &Value) -> Result<()> {
        // Refuses what is in a table's place.
        self.get(place)?;
        let Some((last, tables)) = place.split_last() else { return Ok(()) };
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        let mut is_inline = false;
        for (depth, name) in tables.iter().enumerate() {
            if !table.contains_key(name) {
                table.insert(name, new_table(is_inline));
            }
            let wrong = || no_table(&self.path, &place[..=depth], "none");
            let item = table.get_mut(name).ok_or_else(wrong)?;
            is_inline = item.is_inline_table();
            table = item.as_table_like_mut().ok_or_else(wrong)?;
        }
        if let Some(old) = table.get_mut(last).and_then(Item::as_value_mut) {
            // What stands around it, such as a comment on its line, stays.
            let decor = old.decor().clone();
            *old = node_of(value);
            *old.decor_mut() = decor;
        } else {
            let item = if is_inline { Item::Value(node_of(value)) } else { item_of(value) };
            table.insert(last, item);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, place: &Place) -> Result<()> {
        self.get(place)?;
        let Some((last, tables)) = place.split_last() else { return Ok(()) };
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for name in tables {
            match table.get_mut(name).and_then(Item::as_table_like_mut) {
                Some(inner) => table = inner,
                None => return Ok(()),
            }
        }
        table.remove(last);
        Ok(())
    }
}

/// A table that has no header of its own as long as it has only tables in it.
fn new_table(is_inline: bool) -> Item {
    if is_inline {
        return Item::Value(Node::InlineTable(InlineTable::new()));
    }
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// A value as it stands below a header: objects are tables with headers of their own.
fn item_of(value: &Value) -> Item {
    let Value::Object(members) = value else { return Item::Value(node_of(value)) };
    let mut table = Table::new();
    for (name, value) in members {
        table.insert(name, item_of(value));
    }
    Item::Table(table)
}

/// A value on one line. Null, which TOML does not have, is never asked for.
fn node_of(value: &Value) -> Node {
    match value {
        Value::Null => Node::from(""),
        Value::Bool(value) => Node::from(*value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => Node::from(value),
            None => Node::from(value.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Node::from(text.as_str()),
        Value::Array(list) => Node::Array(list.iter().map(node_of).collect::<Array>()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.as_str(), node_of(value)));
            Node::InlineTable(members.collect())
        }
    }
}

fn value_of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(node) => value_of_node(node),
        Item::Table(table) => value_of_table(table),
        Item::ArrayOfTables(list) => list.iter().map(|table| value_of_table(table)).collect(),
    }
}

fn value_of_table(table: &dyn TableLike) -> Value {
    let member = |(name, item): (&str, &Item)| (name.to_owned(), value_of(item));
    Value::Object(table.iter().map(member).collect::<Map<_, _>>())
}

fn value_of_node(node: &Node) -> Value {
    match node {
        Node::String(text) => Value::from(text.value().as_str()),
        Node::Integer(number) => Value::from(*number.value()),
        Node::Float(number) => Value::from(*number.value()),
        Node::Boolean(value) => Value::from(*value.value()),
        Node::Datetime(time) => Value::from(time.value().to_string()),
        Node::Array(list) => list.iter().map(value_of_node).collect(),
        Node::InlineTable(table) => value_of_table(table),
    }
}
