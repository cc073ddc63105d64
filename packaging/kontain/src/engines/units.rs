//! With which options systemd starts an engine: from its unit, the unit's drop-ins, and the files of variables that
//! these name or distributions have for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::Root;

/// Where systemd looks, the first place first.
const PLACES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Words of commands and variables, each with the file it is in.
#[derive(Debug)]
pub(crate) struct Options(Vec<(PathBuf, String)>);

impl Options {
    /// Those of a service.
    pub(super) fn of_service(root: &Root, service: &str, variables: &[PathBuf]) -> Self {
        let unit = PLACES.iter().map(|place| Path::new(place).join(service));
        let unit = unit.into_iter().find(|path| root.look(path).is_some());
        let mut drop_ins = BTreeMap::new();
        for place in PLACES.iter().rev() {
            let directory = Path::new(place).join(format!("{service}.d"));
            for name in root.names(&directory) {
                if Path::new(&name).extension().is_some_and(|end| end == "conf") {
                    drop_ins.insert(name.clone(), directory.join(name));
                }
            }
        }
        let mut commands = Vec::new();
        let mut others = Vec::new();
        let mut files = Vec::new();
        for path in unit.into_iter().chain(drop_ins.into_values()) {
            for line in lines(&root.look(&path).unwrap_or_default()) {
                match line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                    Some(("ExecStart", "")) => commands.clear(),
                    Some(("ExecStart", command)) => {
                        commands.push((path.clone(), command.to_owned()));
                    }
                    Some(("Environment", value)) => others.push((path.clone(), value.to_owned())),
                    Some(("EnvironmentFile", "")) => files.clear(),
                    Some(("EnvironmentFile", file)) => {
                        // It need not be there then.
                        files.push(PathBuf::from(file.trim_start_matches('-')));
                    }
                    _ => {}
                }
            }
        }
        files.extend(
            variables.iter().filter(|path| !files.contains(path)).cloned().collect::<Vec<_>>(),
        );
        for path in &files {
            let text = root.look(path).unwrap_or_default();
            others.extend(lines(&text).into_iter().map(|line| (path.clone(), line)));
        }
        commands.extend(others);
        let word = |(path, line): (PathBuf, String)| {
            let blank = |c: char| c.is_whitespace() || c == '"' || c == '\'';
            let words: Vec<_> = line.split(blank).map(str::to_owned).collect();
            words.into_iter().filter(|word| !word.is_empty()).map(move |word| (path.clone(), word))
        };
        Self(commands.into_iter().flat_map(word).collect())
    }

    /// The last value of a flag, and where it is.
    pub(crate) fn value(&self, flag: &str) -> Option<(PathBuf, String)> {
        self.values(flag).pop()
    }

    /// All values of a flag.
    pub(crate) fn values(&self, flag: &str) -> Vec<(PathBuf, String)> {
        let mut values = Vec::new();
        for (index, (path, word)) in self.0.iter().enumerate() {
            // The first word of a variable has its name in front: OPTIONS="--flag", OPTIONS=--flag=value.
            let word = word.find("--").map_or(word.as_str(), |start| &word[start..]);
            let next = || self.0.get(index + 1).map(|(_, value)| value.clone());
            let value = match word.strip_prefix(flag) {
                Some("") => next(),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None => None,
            };
            values.extend(value.map(|value| (path.clone(), value)));
        }
        values
    }
}

/// Lines without comments, those that a backslash ends joined to the next one.
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .map(str::to_owned)
        .collect()
}
