//! The engines: whether those that were told of krun still are, and whether `krun` is another program somewhere.

use std::path::Path;

use super::{Finding, Status};
use crate::document::{self, Document, Format};
use crate::engines::Engine;
use crate::error::Result;
use crate::files::Root;
use crate::record::Kept;

/// Where crun, built with libkrun, is called krun.
const CRUNS: [&str; 2] = ["/usr/local/bin/krun", "/usr/bin/krun"];

pub(super) fn check(root: &Root) -> Vec<Finding> {
    let told = Engine::ALL.into_iter().filter_map(|engine| told(root, engine));
    let mut all: Vec<_> = told.collect();
    if all.is_empty() {
        let fix = "kontain install docker, containerd, podman, crio, ecs or eks";
        all.push(Finding::new("engines", Status::Warn, "kontain has told no engine of krun", fix));
    }
    if let Some(path) = CRUNS.into_iter().find(|path| root.exists(Path::new(path))) {
        let why = format!("{path} is another program: crun is called so where it uses libkrun");
        let fix =
            "call /opt/kontain/bin/krun by its path, and install under another --name for podman";
        all.push(Finding::new("crun", Status::Warn, why, fix));
    }
    all
}

/// Whether an engine's file says what kontain wrote; none if kontain wrote nothing.
fn told(root: &Root, engine: Engine) -> Option<Finding> {
    let finding = match missing(root, engine) {
        Ok(None) => return None,
        Ok(Some((file, missing))) if missing.is_empty() => {
            let is_whole = engine.target_of(Path::new(&file)).format == Format::Whole;
            let why = if is_whole { "is as kontain has written it" } else { "names krun" };
            Finding::ok(engine.name(), format!("{file} {why}"))
        }
        Ok(Some((file, missing))) => {
            let why = format!("{file}: somebody has changed {}", missing.join(", "));
            let fix = format!("kontain uninstall {0}, and kontain install {0}", engine.name());
            Finding::new(engine.name(), Status::Fail, why, &fix)
        }
        Err(error) => {
            Finding::new(engine.name(), Status::Fail, error.to_string(), "see the message")
        }
    };
    Some(finding)
}

/// The file, and what kontain wrote there and is no longer so.
fn missing(root: &Root, engine: Engine) -> Result<Option<(String, Vec<String>)>> {
    let Some(Kept { record, .. }) = Kept::read(root, engine)? else { return Ok(None) };
    let shown = root.shown(&record.file);
    let found = root.read(&record.file)?;
    let format = engine.target_of(&record.file).format;
    let document = Document::parse(format, found.as_ref(), &shown)?;
    let mut missing = Vec::new();
    for added in &record.entries {
        if document.get(&added.place)?.as_ref() != Some(&added.value) {
            missing.push(document::shown(&added.place));
        }
    }
    Ok(Some((record.file.display().to_string(), missing)))
}
