//! podman and CRI-O: a drop-in of kontain's own, beside which other files may say something else.
//!
//! Of several files that say something, the last one counts, in the order of their names.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Engine, Entry, Plan, Target, Wish};
use crate::document::{self, Document, Format};
use crate::error::{NodeError, Result};
use crate::files::Root;

/// The name of kontain's own.
const NAME: &str = "50-kontain.conf";

/// Where an engine reads.
struct Files {
    main: &'static str,
    directory: &'static str,
}

const PODMAN: Files = Files {
    main: "/etc/containers/containers.conf",
    directory: "/etc/containers/containers.conf.d",
};
const CRIO: Files = Files { main: "/etc/crio/crio.conf", directory: "/etc/crio/crio.conf.d" };

/// Where crun, built with libkrun, is called krun.
const CRUNS: [&str; 2] = ["/usr/bin/krun", "/usr/local/bin/krun"];

pub(super) fn target(engine: Engine, wish: &Wish) -> Target {
    let usual = Path::new(files(engine).directory).join(NAME);
    let header = format!("# Made by `kontain install {}`.\n", engine.name());
    let file = wish.config.clone().unwrap_or(usual);
    Target { file, format: Format::Toml, header }
}

pub(super) fn plan(engine: Engine, root: &Root, wish: &Wish, target: &Target) -> Result<Plan> {
    let mut plan = Plan::default();
    let (runtime, value, default) = if engine == Engine::Crio {
        let state = format!("/run/{}", wish.name);
        let value =
            json!({"runtime_path": wish.binary(), "runtime_type": "oci", "runtime_root": state});
        (
            vec!["crio", "runtime", "runtimes", &wish.name],
            value,
            ["crio", "runtime", "default_runtime"],
        )
    } else {
        let place = vec!["engine", "runtimes", &wish.name];
        (place, json!([wish.binary()]), ["engine", "runtime", ""])
    };
    let mut entry = Entry::new(&runtime, value);
    if engine == Engine::Crio {
        entry.counts = "/runtime_path";
    }
    plan.entries.push(entry);
    if wish.default {
        let default: Vec<_> = default.into_iter().filter(|name| !name.is_empty()).collect();
        let mut default = Entry::new(&default, json!(wish.name));
        default.replaces = true;
        // Before a table's own values comes no other table.
        plan.entries.insert(0, default);
    }
    refuse_others(engine, root, target, &plan.entries)?;
    let cruns = CRUNS.into_iter().find(|path| root.exists(Path::new(path)));
    if let Some(path) = cruns.filter(|_| engine == Engine::Podman && wish.name == "krun") {
        plan.warnings
            .push(format!("podman knew {path}, which is crun, as krun: it no longer does"));
    }
    Ok(plan)
}

fn files(engine: Engine) -> Files {
    if engine == Engine::Crio { CRIO } else { PODMAN }
}

/// Refuses another runtime of the same name, and files that come later and say something else.
fn refuse_others(engine: Engine, root: &Root, target: &Target, entries: &[Entry]) -> Result<()> {
    let Files { main, directory } = files(engine);
    let directory = Path::new(directory);
    let mut others = vec![PathBuf::from(main)];
    others.extend(root.names(directory).into_iter().map(|name| directory.join(name)));
    for path in others.iter().filter(|path| **path != target.file) {
        // podman reads *.conf there, CRI-O everything.
        let is_read = engine == Engine::Crio || path.extension().is_some_and(|end| end == "conf");
        let Some(text) = root.look(path).filter(|_| is_read) else { continue };
        let shown = root.shown(path);
        let other = Document::parse_text(Format::Toml, &text, &shown)?;
        let is_later = path.parent() == target.file.parent() && *path > target.file;
        for entry in entries {
            let said = other.get(&entry.place)?;
            refuse_other(entry, said.as_ref(), is_later, &shown)?;
        }
    }
    Ok(())
}

/// Refuses what a file says instead of an entry, unless that may be another one and the file counts less.
pub(super) fn refuse_other(
    entry: &Entry,
    said: Option<&Value>,
    is_later: bool,
    shown: &Path,
) -> Result<()> {
    let Some(said) = said.filter(|said| !entry.is_same(said)) else { return Ok(()) };
    if entry.replaces && !is_later {
        return Ok(());
    }
    let place = document::shown(&entry.place);
    let (reason, fix) = if entry.replaces {
        (format!("it is {said}, and this file counts more than kontain's"), "take it away")
    } else {
        (format!("it is {said} already"), "take it away, or choose another --name")
    };
    Err(NodeError::field(shown, place, reason, fix))
}
