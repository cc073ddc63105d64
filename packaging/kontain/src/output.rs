//! What administrators and programs are told.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::engines::Engine;
use crate::error::{NodeError, Result};
use crate::install::Work;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Install,
    Uninstall,
}

/// What was done, for people.
pub(crate) fn text(verb: Verb, dry_run: bool, work: &Work) -> String {
    let mut lines: Vec<_> = work.warnings.iter().map(|line| format!("note: {line}\n")).collect();
    let engine = work.engine.name();
    if !work.is_needed() {
        lines.push(format!("{engine}: nothing to do\n"));
        return lines.concat();
    }
    if dry_run {
        lines.push(work.diff());
        return lines.concat();
    }
    let done = match verb {
        Verb::Install => "added",
        Verb::Uninstall => "took away",
    };
    let (file, entries) = (work.file.display(), work.entries.join(", "));
    let exact =
        if verb == Verb::Uninstall && work.is_exact { ": as it was, to the byte" } else { "" };
    lines.push(format!("{engine}: {file}: {done} {entries}{exact}\n"));
    lines.push(format!("then: {}\n", work.next));
    lines.concat()
}

/// What was done, for programs.
pub(crate) fn json(verb: Verb, engine: Engine, dry_run: bool, done: &Result<Vec<Work>>) -> String {
    let answer = match done {
        Ok(works) if let [work] = works.as_slice() => of_work(verb, engine, dry_run, Ok(work)),
        Ok(works) => {
            let parts: Vec<_> =
                works.iter().map(|work| of_work(verb, work.engine, dry_run, Ok(work))).collect();
            let changed = works.iter().any(Work::is_needed) && !dry_run;
            let mut answer = head(verb, engine, dry_run);
            answer["changed"] = json!(changed);
            answer["parts"] = json!(parts);
            answer
        }
        Err(error) => of_work(verb, engine, dry_run, Err(error)),
    };
    format!("{answer:#}\n")
}

fn head(verb: Verb, engine: Engine, dry_run: bool) -> Value {
    let verb = match verb {
        Verb::Install => "install",
        Verb::Uninstall => "uninstall",
    };
    json!({"action": verb, "engine": engine.name(), "dry_run": dry_run})
}

fn of_work(
    verb: Verb,
    engine: Engine,
    dry_run: bool,
    done: std::result::Result<&Work, &NodeError>,
) -> Value {
    let mut answer = head(verb, engine, dry_run);
    match done {
        Ok(work) => {
            answer["changed"] = json!(work.is_needed() && !dry_run);
            answer["file"] = json!(work.file);
            answer["exact"] = json!(work.is_exact);
            answer["entries"] = json!(work.entries);
            answer["warnings"] = json!(work.warnings);
            answer["then"] = json!(if work.is_needed() { work.next } else { "" });
            answer["diff"] = json!(work.diff());
        }
        Err(error) => {
            answer["changed"] = json!(false);
            answer["error"] = of_error(error);
        }
    }
    answer
}

/// Why nothing was done, for programs.
pub(crate) fn error_json(error: &NodeError) -> String {
    format!("{:#}\n", json!({"error": of_error(error)}))
}

fn of_error(error: &NodeError) -> Value {
    let mut answer =
        json!({"kind": error.kind(), "file": error.path(), "message": error.to_string()});
    if let NodeError::Refused { field, reason, fix, .. } = error {
        answer["field"] = json!(field);
        answer["reason"] = json!(reason);
        answer["fix"] = json!(fix);
    }
    answer
}

/// Writes to standard output. Says whether that was possible.
pub(crate) fn print(text: &str) -> bool {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}

/// Writes that standard output could not be written.
pub(crate) fn unheard(what: &str) {
    let _ = writeln!(io::stderr().lock(), "kontain: {what}; standard output cannot be written");
}

/// Writes why something was not done.
pub(crate) fn error(error: &NodeError) {
    // There is nobody to tell that nobody can be told.
    let _ = writeln!(io::stderr().lock(), "kontain: {error}");
}
