//! `kontain install` and `kontain uninstall`.
//!
//! Installing begins with the file as it would be without kontain ([`Base`]), so doing it again changes nothing, and
//! doing it otherwise leaves nothing of the first time.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::Base;
use crate::document::{self, Document, Format};
use crate::engines::{Engine, Entry, Plan, Target, Wish};
use crate::error::{NodeError, Result};
use crate::files::{self, Change, Found, Root};
use crate::record::{self, Added, Kept, Record};

/// The mode of new files of engines, and of records.
const READABLE: u32 = 0o644;
/// That of backups: what they are of may have been for root alone.
const SECRET: u32 = 0o600;

/// What is to be done to a node. Nothing has been done yet.
#[derive(Debug)]
pub struct Work {
    /// The engine.
    pub engine: Engine,
    /// Its file.
    pub file: PathBuf,
    /// What is in it.
    pub before: Option<Vec<u8>>,
    /// What is to be in it.
    pub after: Option<Vec<u8>>,
    /// Whether a file that is made as it was is so to the byte.
    pub is_exact: bool,
    /// What is added or taken away, as messages name it.
    pub entries: Vec<String>,
    /// What the administrator should know.
    pub warnings: Vec<String>,
    /// What is to be done then.
    pub next: &'static str,
    changes: Vec<Change>,
    directories: Vec<PathBuf>,
}

impl Work {
    /// Whether anything is to be done.
    pub fn is_needed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Does it, all or nothing. Returns where what somebody has saved in the same moment is now.
    pub fn apply(&self, root: &Root) -> Result<Vec<PathBuf>> {
        let left = files::apply(root, &self.changes)?;
        self.remove_directories(root);
        Ok(left)
    }

    /// Makes the first so many changes and stops there, as a kontain that is killed does, for tests of what comes
    /// then. Says whether there were more.
    #[doc(hidden)]
    pub fn apply_first(works: &[Self], root: &Root, count: usize) -> Result<bool> {
        let changes: Vec<_> = works.iter().flat_map(|work| &work.changes).collect();
        files::apply_first(root, &changes, count)?;
        Ok(count < changes.len())
    }

    /// The same of several, all or nothing of all of them.
    pub fn apply_all(works: &[Self], root: &Root) -> Result<Vec<PathBuf>> {
        let left = files::apply(root, works.iter().flat_map(|work| &work.changes))?;
        for work in works {
            work.remove_directories(root);
        }
        Ok(left)
    }

    fn remove_directories(&self, root: &Root) {
        self.directories.iter().rev().for_each(|directory| root.remove_directory(directory));
    }

    /// The changes as a unified diff.
    pub fn diff(&self) -> String {
        let text = |bytes: &Option<Vec<u8>>| {
            String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
        };
        let name = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("/dev/null".to_owned(), |_| self.file.display().to_string())
        };
        let (before, after) = (text(&self.before), text(&self.after));
        let diff = similar::TextDiff::from_lines(&before, &after);
        diff.unified_diff().header(&name(&self.before), &name(&self.after)).to_string()
    }

    fn nothing(engine: Engine, file: PathBuf, warnings: Vec<String>) -> Self {
        let (before, after, entries) = (None, None, Vec::new());
        let (changes, directories) = (Vec::new(), Vec::new());
        let (next, is_exact) = ("", true);
        Self {
            engine,
            file,
            before,
            after,
            is_exact,
            entries,
            warnings,
            next,
            changes,
            directories,
        }
    }
}

/// What makes an engine, and all that it is made of, know krun.
pub fn install_all(root: &Root, engine: Engine, wish: &Wish) -> Result<Vec<Work>> {
    let parts = engine.parts().into_iter();
    parts.map(|part| install(root, part, &wish.of_part(engine, part))).collect()
}

/// What makes them as they were, the last one first.
pub fn uninstall_all(root: &Root, engine: Engine) -> Result<Vec<Work>> {
    engine.parts().into_iter().rev().map(|part| uninstall(root, part)).collect()
}

/// What makes an engine know krun.
pub fn install(root: &Root, engine: Engine, wish: &Wish) -> Result<Work> {
    wish.demand_possible(root)?;
    let kept = Kept::read(root, engine)?;
    let mut wish = wish.clone();
    if let Some(kept) = &kept {
        // A default that was wished for stays: packages install again on each upgrade.
        wish.default |= kept.record.default;
        wish.config.get_or_insert_with(|| kept.record.file.clone());
    }
    let target = engine.target(root, &wish)?;
    demand_same(root, engine, kept.as_ref(), &wish, &target)?;
    let shown = root.shown(&target.file);
    let current = root.read(&target.file)?;
    let base = Base::of(kept.as_ref(), current.as_ref(), &target, &shown)?;
    let mut document = base_document(&base, &target, &shown)?;
    let Plan { entries, mut warnings } = engine.plan(root, &wish, &target, &document)?;
    if target.format == Format::Whole {
        demand_own(&base, &entries, &shown)?;
    }
    let now = Document::parse(target.format, current.as_ref(), &shown)?;
    if kept.is_some() && holds(&now, &entries)? {
        return Ok(Work::nothing(engine, target.file, warnings));
    }
    let added = add(&mut document, &entries, &shown)?;
    if added.is_empty() {
        let there = format!("{}: krun is there already, not by kontain", shown.display());
        warnings.push(there);
        return Ok(Work::nothing(engine, target.file, warnings));
    }
    let mut added = added;
    if let Some(kept) = &kept {
        // One that somebody has changed is kontain's still, as long as it names krun.
        for old in &kept.record.entries {
            let is_new = added.iter().any(|new| new.place == old.place);
            if !is_new && is_still_krun(engine, old, &document)? {
                added.push(old.clone());
            }
        }
    }
    let after = document.text();
    // What is written must be what was meant.
    if !holds(&Document::parse_text(target.format, &after, &shown)?, &entries)? {
        let fix = "write the tables out, one header each, and try again";
        return Err(NodeError::refused(
            &shown,
            "its tables cannot be added to as they are written",
            fix,
        ));
    }
    let mut record = Record::new(&wish.name, wish.default, &target.file);
    record.directories = match &kept {
        Some(kept) => kept.record.directories.clone(),
        None => missing_directories(root, engine, &target.file),
    };
    record.before = base.bytes.as_deref().map(record::hash);
    record.after = record::hash(after.as_bytes());
    record.entries = added;
    warnings.extend(base.warnings);
    // Killed at its first change, an installation leaves a backup without a record.
    let stray = if kept.is_none() { root.read(&record::backup(engine))? } else { None };
    let old = kept.map_or((None, stray), |kept| (Some(kept.found), kept.backup));
    let work = Work::nothing(engine, target.file, warnings);
    Ok(with_changes(work, current, old, Some(after.into_bytes()), Some((record, base.bytes))))
}

/// What makes an engine as it was.
pub fn uninstall(root: &Root, engine: Engine) -> Result<Work> {
    let Some(kept) = Kept::read(root, engine)? else {
        let mut warnings =
            vec![format!("{}: kontain has not installed anything there", engine.name())];
        let backup = record::backup(engine);
        if root.read(&backup)?.is_some() {
            let backup = root.shown(&backup);
            warnings.push(format!(
                "{}: left by an installation that did not end, and not needed",
                backup.display()
            ));
        }
        return Ok(Work::nothing(engine, PathBuf::new(), warnings));
    };
    let file = kept.record.file.clone();
    let shown = root.shown(&file);
    let current = root.read(&file)?;
    let base = Base::of(Some(&kept), current.as_ref(), &engine.target_of(&file), &shown)?;
    demand_unused(engine, &kept.record, &base, &shown)?;
    let mut work = Work::nothing(engine, file, base.warnings);
    work.is_exact = base.is_exact;
    work.directories.clone_from(&kept.record.directories);
    work.directories.extend(record::directories().map(Path::to_owned));
    let entries = kept.record.entries.iter().map(|added| document::shown(&added.place)).collect();
    let old = (Some(kept.found), kept.backup);
    work = with_changes(work, current, old, base.bytes, None);
    work.entries = entries;
    Ok(work)
}

/// Adds the changes of the engine's file, of its record and of its backup.
///
/// Whoever is killed between two of them is killed while there is a record: it comes before what it tells of, and goes
/// after it.
fn with_changes(
    mut work: Work,
    current: Option<Found>,
    (old_record, old_backup): (Option<Found>, Option<Found>),
    after: Option<Vec<u8>>,
    record: Option<(Record, Option<Vec<u8>>)>,
) -> Work {
    let is_installation = record.is_some();
    let (record, backup) = match record {
        Some((record, backup)) => {
            work.entries =
                record.entries.iter().map(|added| document::shown(&added.place)).collect();
            (Some(record.text().into_bytes()), backup)
        }
        None => (None, None),
    };
    work.before = current.as_ref().map(|current| current.bytes.clone());
    work.after.clone_from(&after);
    work.next = work.engine.next();
    let change = |path, before: Option<Found>, after: Option<Vec<u8>>, mode| {
        let is_same = before.as_ref().map(|found| &found.bytes) == after.as_ref();
        (!is_same).then_some(Change { path, before, after, mode, is_aside_above: false })
    };
    let backup = change(record::backup(work.engine), old_backup, backup, SECRET);
    let record = change(record::path(work.engine), old_record, record, READABLE);
    let mut file = change(work.file.clone(), current, after, READABLE);
    if let Some(file) = &mut file {
        file.is_aside_above = work.engine.reads_all_beside(&work.file);
    }
    let changes = if is_installation { [backup, record, file] } else { [file, backup, record] };
    work.changes = changes.into_iter().flatten().collect();
    work
}

/// Refuses to forget what would still name krun: somebody has changed an entry of kontain's, or made it the default.
fn demand_unused(engine: Engine, record: &Record, base: &Base, shown: &Path) -> Result<()> {
    let Some(bytes) = &base.bytes else { return Ok(()) };
    let format = engine.target_of(&record.file).format;
    let document = Document::parse_text(format, files::text(bytes, shown)?, shown)?;
    // A default that was there before kontain was is what it was.
    let defaults = if base.is_exact { Vec::new() } else { engine.defaults() };
    for place in defaults {
        if document.get(&place)?.is_some_and(|value| value == record.name.as_str()) {
            let reason = format!("it is {} still, and not by kontain", record.name);
            let fix = format!(
                "name another runtime there, and run kontain uninstall {} again",
                engine.name()
            );
            return Err(NodeError::field(shown, document::shown(&place), reason, fix));
        }
    }
    for added in &record.entries {
        if is_still_krun(engine, added, &document)? {
            let reason = "somebody has changed it, and it still names krun";
            let fix = format!("take it away, and run kontain uninstall {} again", engine.name());
            return Err(NodeError::field(shown, document::shown(&added.place), reason, fix));
        }
    }
    Ok(())
}

/// Whether a runtime that kontain has added is still there, with the same program.
fn is_still_krun(engine: Engine, added: &Added, document: &Document) -> Result<bool> {
    let binary = engine.binary_of(&added.value);
    let value = document.get(&added.place)?.unwrap_or_default();
    Ok(binary.is_some() && engine.binary_of(&value) == binary)
}

/// The directories that are made for an engine's file and its record.
fn missing_directories(root: &Root, engine: Engine, file: &Path) -> Vec<PathBuf> {
    let files = [file, &record::path(engine)];
    let missing = |path: &Path| root.missing(path.parent().unwrap_or(Path::new("/")));
    files.into_iter().flat_map(missing).collect()
}

/// One name and one file for each engine: another one would make two installations of which one is forgotten.
fn demand_same(
    root: &Root,
    engine: Engine,
    kept: Option<&Kept>,
    wish: &Wish,
    target: &Target,
) -> Result<()> {
    let Some(Kept { record, .. }) = kept else { return Ok(()) };
    if record.name == wish.name && record.file == target.file {
        return Ok(());
    }
    let reason = format!("krun is installed as {} in {}", record.name, record.file.display());
    let fix = format!("run kontain uninstall {} first", engine.name());
    Err(NodeError::refused(&root.shown(&record::path(engine)), reason, fix))
}

fn base_document(base: &Base, target: &Target, shown: &Path) -> Result<Document> {
    let bytes = base.bytes.as_deref().unwrap_or(target.header.as_bytes());
    let text = files::text(bytes, shown)?;
    Document::parse_text(target.format, text, shown)
}

/// Refuses a file of kontain's own name in which is something else.
fn demand_own(base: &Base, entries: &[Entry], shown: &Path) -> Result<()> {
    let is_wanted = |bytes: &[u8]| {
        entries
            .iter()
            .any(|entry| entry.value.as_str().is_some_and(|text| text.as_bytes() == bytes))
    };
    if base.bytes.as_deref().is_none_or(is_wanted) {
        return Ok(());
    }
    let reason = "it is there already, and not, or not any more, as kontain writes it";
    let fix = "move what is in it to a file of another name, and try again";
    Err(NodeError::refused(shown, reason, fix))
}

/// Whether a document says all this.
fn holds(document: &Document, entries: &[Entry]) -> Result<bool> {
    for entry in entries {
        if !document.get(&entry.place)?.is_some_and(|value| entry.is_same(&value)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds what is not there. Refuses what says something else.
fn add(document: &mut Document, entries: &[Entry], shown: &Path) -> Result<Vec<Added>> {
    let mut all = Vec::new();
    for entry in entries {
        let was = document.get(&entry.place)?;
        match &was {
            Some(value) if entry.is_same(value) => continue,
            Some(Value::String(_)) if entry.replaces => {}
            Some(value) => {
                let fix = "take it away, or choose another --name";
                let reason = format!("it is {value} already");
                return Err(NodeError::field(shown, document::shown(&entry.place), reason, fix));
            }
            None => {}
        }
        let mut tables = 0;
        while tables + 1 < entry.place.len() && document.get(&entry.place[..=tables])?.is_some() {
            tables += 1;
        }
        document.set(&entry.place, &entry.value)?;
        all.push(Added { place: entry.place.clone(), value: entry.value.clone(), was, tables });
    }
    Ok(all)
}
