//! A file of variables, a line each, of which some have a JSON object: ECS's `ecs.config`.
//!
//! A member comes last in the object of its variable, a variable last in the file; no other byte changes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json::Json;
use super::{Place, no_table, shown};
use crate::error::{NodeError, Result};

/// Such a file.
#[derive(Debug)]
pub(crate) struct Variables {
    text: String,
    path: PathBuf,
}

impl Variables {
    pub(super) fn new(text: &str, path: &Path) -> Self {
        Self { text: text.to_owned(), path: path.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A variable, or a member of its object.
    pub(super) fn get(&self, place: &Place) -> Result<Option<Value>> {
        let [name, members @ ..] = place else { return Ok(None) };
        let Some((_, text)) = self.find(name)? else { return Ok(None) };
        if members.is_empty() && !text.trim_start().starts_with('{') {
            return Ok(Some(Value::String(text.to_owned())));
        }
        self.object(name, text)?.get(members)
    }

    pub(super) fn set(&mut self, place: &Place, value: &Value) -> Result<()> {
        let [name, members @ ..] = place else { return Ok(()) };
        let found = self.find(name)?.map(|(start, text)| (start, text.to_owned()));
        let Some((start, old)) = found else {
            let mut object = self.object(name, "")?;
            object.set(members, value)?;
            if !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push('\n');
            }
            // A new object has a line for each member.
            let object: Value = serde_json::from_str(object.text()).unwrap_or_default();
            self.text.push_str(name);
            self.text.push('=');
            self.text.push_str(&object.to_string());
            self.text.push('\n');
            return Ok(());
        };
        let mut object = self.object(name, &old)?;
        object.set(members, value)?;
        self.text.replace_range(start..start + old.len(), object.text());
        Ok(())
    }

    pub(super) fn remove(&mut self, place: &Place) -> Result<()> {
        let [name, members @ ..] = place else { return Ok(()) };
        let Some((start, old)) = self.find(name)?.map(|(start, text)| (start, text.to_owned()))
        else {
            return Ok(());
        };
        let end = start + old.len();
        if members.is_empty() {
            let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
            let end = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at + 1);
            self.text.replace_range(begin..end, "");
            return Ok(());
        }
        let mut object = self.object(name, &old)?;
        object.remove(members)?;
        self.text.replace_range(start..end, object.text());
        Ok(())
    }

    /// Where a variable's value begins, and what it is. Refuses two of the same name: it is not the same everywhere
    /// which of them counts.
    fn find(&self, name: &str) -> Result<Option<(usize, &str)>> {
        let mut found = None;
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            if let Some(value) = value {
                if found.is_some() {
                    let fix = "take one of them away, and try again";
                    return Err(NodeError::field(&self.path, name, "it is there twice", fix));
                }
                let value = value.trim_end_matches(['\n', '\r']);
                found = Some((start + name.len() + 1, value));
            }
            start += line.len();
        }
        Ok(found)
    }

    fn object(&self, name: &str, text: &str) -> Result<Json> {
        let is_object = serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object());
        if !is_object && !text.is_empty() {
            return Err(no_table(&self.path, &[name.to_owned()], "no JSON object"));
        }
        let text = if text.is_empty() { "{}" } else { text };
        Json::parse(text, &self.path).map_err(|_| {
            let (place, fix) = (shown(&[name.to_owned()]), "take one of them away, and try again");
            NodeError::field(&self.path, place, "a name is there twice", fix)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::Variables;

    const NAME: &str = "ECS_INSTANCE_ATTRIBUTES";

    fn place(member: &str) -> Vec<String> {
        vec![NAME.to_owned(), member.to_owned()]
    }

    #[test]
    fn a_member_comes_and_goes_and_all_else_stays() {
        for before in [
            "ECS_CLUSTER=a\n",
            "ECS_CLUSTER=a",
            "",
            "# ECS_INSTANCE_ATTRIBUTES={}\nECS_INSTANCE_ATTRIBUTES={\"stack\": \"x\"}\r\nA=b\n",
        ] {
            let mut document = Variables::new(before, Path::new("ecs.config"));
            let had = document.get(&[NAME.to_owned()]).unwrap().is_some();

            document.set(&place("kontain.runtime"), &json!("krun")).unwrap();

            assert_eq!(document.get(&place("kontain.runtime")).unwrap(), Some(json!("krun")));
            assert!(document.text().lines().all(|line| !line.trim().ends_with('{')));
            document.remove(&place("kontain.runtime")).unwrap();
            if !had {
                document.remove(&[NAME.to_owned()]).unwrap();
            }
            let expected = if before.is_empty() { "" } else { before.trim_end_matches('\n') };
            assert_eq!(document.text().trim_end_matches('\n'), expected, "{before:?}");
        }
    }

    #[test]
    fn what_is_no_object_or_is_there_twice_is_refused() {
        for (text, words) in [
            ("ECS_INSTANCE_ATTRIBUTES={}\nECS_INSTANCE_ATTRIBUTES={}\n", "twice"),
            ("ECS_INSTANCE_ATTRIBUTES='{}'\n", "no JSON object"),
            ("ECS_INSTANCE_ATTRIBUTES={\"a\":1,\"a\":2}\n", "twice"),
        ] {
            let document = Variables::new(text, Path::new("ecs.config"));
            let error = document.get(&place("a")).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
