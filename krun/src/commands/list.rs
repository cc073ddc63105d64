//! `krun list`: the containers below `--root`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;

use spec_compat::State;

use super::VerbError;
use crate::cli::{Global, List, Table};
use crate::container::store::Entry;

/// The host's users.
const PASSWD: &str = "/etc/passwd";

/// runc's columns, as wide as there where the values allow it, and two of krun's own behind them.
const HEADER: [&str; 8] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", "MODE", "RULE"];
const SMALLEST_WIDTH: usize = 12;
const GAP: usize = 3;

pub(super) fn list(global: &Global, arguments: &List) -> Result<(), VerbError> {
    let mut states = Vec::new();
    for entry in super::store(global).entries()? {
        // One that is being made or removed has no record; runc leaves it out, too.
        let Ok(record) = entry.load() else { continue };
        let state = record.state(entry.status(&record));
        states.push(State { owner: owner(&entry), ..state });
    }
    if arguments.quiet {
        return super::print(
            &states.iter().fold(String::new(), |all, state| all + &state.id + "\n"),
        );
    }
    match arguments.format {
        Table::Json => super::print(&json(&states)),
        Table::Table => super::print(&table(&states)),
    }
}

/// Who made the container: his name on the host, or his number where it has none there.
fn owner(entry: &Entry) -> String {
    let Ok(directory) = fs::metadata(entry.directory()) else { return String::new() };
    let users = fs::read(PASSWD).unwrap_or_default();
    name_of(directory.uid(), &String::from_utf8_lossy(&users))
}

/// Not getpwuid(3): in a static binary it loads libraries.
fn name_of(uid: u32, users: &str) -> String {
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}

/// As Go writes it: no list at all is `null`.
fn json(states: &[State]) -> String {
    if states.is_empty() {
        return "null\n".to_owned();
    }
    let text = serde_json::to_string(states).expect("text and numbers can always be written");
    text + "\n"
}

fn table(states: &[State]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(states.iter().map(|one| {
        let first = (one.pid.to_string(), one.status.to_string());
        let last = (one.bundle.clone(), one.created.clone(), one.owner.clone());
        let own = (one.mode.clone(), one.rule.clone());
        [one.id.clone(), first.0, first.1, last.0, last.1, last.2, own.0, own.1]
    }));
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        (widest.unwrap_or_default() + GAP).max(SMALLEST_WIDTH)
    };
    let widths: Vec<_> = (0..HEADER.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let (last, others) = row.split_last().expect("a row has columns");
        for (cell, width) in others.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(text, "{cell:width$}");
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spec_compat::{State, Status};

    use super::{json, name_of, table};

    fn state(id: &str) -> State {
        State {
            oci_version: "1.3.0".into(),
            id: id.into(),
            pid: 7,
            status: Status::Running,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
            mode: "vm".into(),
            rule: "default".into(),
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = "\
ID                  PID         STATUS      BUNDLE      CREATED                OWNER       MODE        RULE
web                 7           running     /b          2026-01-02T03:04:05Z   root        vm          default
a-name-of-letters   7           running     /b          2026-01-02T03:04:05Z   root        vm          default
";
        assert_eq!(table(&[state("web"), state("a-name-of-letters")]), expected);
    }

    #[test]
    fn an_owner_is_a_name_of_the_hosts_or_a_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n:x:8:8::/:/bin/sh\nbroken\nweb:x:7:7::/:\n";

        for (uid, expected) in [(0, "root"), (7, "web"), (8, "#8"), (9, "#9")] {
            assert_eq!(name_of(uid, users), expected);
        }
    }

    #[test]
    fn an_empty_list_is_written_as_by_runc() {
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER       MODE        RULE\n"
        );
        assert_eq!(json(&[]), "null\n");
    }
}
