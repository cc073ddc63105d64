//! containerd's CRI plugin: a runtime handler in `/etc/containerd/config.toml`, or in a drop-in where those are read.
//!
//! Version 2 of the file is containerd 1's, and the name of the plugin's table is another one there. containerd 1 takes
//! an imported file's table of a plugin in the place of the whole one, and forgets its own `runc` where `runtimes` is
//! there without it. Since version 3 tables are merged, and a drop-in does.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::drop_ins::refuse_other;
use super::eks::NODEADM;
use super::units::Options;
use super::{Entry, Plan, Target, Wish, place};
use crate::document::{Document, Format};
use crate::error::{NodeError, Result};
use crate::files::Root;

const FILE: &str = "/etc/containerd/config.toml";
const DROP_IN: &str = "/etc/containerd/conf.d/50-kontain.toml";
/// The plugin's table, in version 2 and since version 3.
const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
const SHIM: &str = "io.containerd.runc.v2";

pub(super) fn target(root: &Root, wish: &Wish) -> Result<Target> {
    // A drop-in is only one as long as it is read.
    if let Some(file) = wish.config.as_ref().filter(|file| *file != Path::new(DROP_IN)) {
        return Ok(Target { file: file.clone(), format: Format::Toml, header: String::new() });
    }
    if let Some(sign) = NODEADM.into_iter().find(|path| root.exists(Path::new(path))) {
        let reason = format!("nodeadm writes {FILE} anew at each boot, and has it import nothing");
        let fix = "run kontain install eks, which gives nodeadm a NodeConfig";
        return Err(NodeError::refused(&root.shown(Path::new(sign)), reason, fix));
    }
    let options = Options::of_service(root, "containerd.service", &[]);
    let told = options.value("--config").or_else(|| options.value("-c"));
    if let Some((source, file)) = told
        && Path::new(&file) != Path::new(FILE)
    {
        let reason = format!("containerd reads {file} instead of {FILE}");
        let (source, fix) = (root.shown(&source), format!("say --config {file}"));
        return Err(NodeError::field(&source, "--config", reason, fix));
    }
    let shown = root.shown(Path::new(FILE));
    let found = root.read(Path::new(FILE))?;
    let document = Document::parse(Format::Toml, found.as_ref(), &shown)?;
    let version = document.get(&["version".to_owned()])?.and_then(|version| version.as_u64());
    if let Some(version) = version.filter(|&version| version > 2)
        && imported(root, Path::new(FILE), &document, |_, path| path == Path::new(DROP_IN))?
    {
        let header = format!("# Made by `kontain install containerd`.\nversion = {version}\n");
        return Ok(Target { file: DROP_IN.into(), format: Format::Toml, header });
    }
    // Every containerd reads version 2.
    let header = "version = 2\n".to_owned();
    Ok(Target { file: FILE.into(), format: Format::Toml, header })
}

pub(super) fn plan(root: &Root, wish: &Wish, target: &Target, document: &Document) -> Result<Plan> {
    let shown = root.shown(&target.file);
    let version = version(document, &shown)?;
    let cri = CRI[usize::from(version > 2)];
    refuse_disabled(document, cri, &shown)?;
    if version == 2 {
        refuse_imports(root, target, document, cri)?;
    }
    let mut plan = Plan::default();
    let dead = CRI[usize::from(version == 2)];
    if document.get(&place(&["plugins", dead, "containerd"]))?.is_some() {
        let line = format!("{}: plugins.{dead:?}: containerd does not read it", shown.display());
        plan.warnings.push(format!("{line} in version {version}"));
    }
    let runtimes = ["plugins", cri, "containerd", "runtimes"];
    if version == 2 && document.get(&place(&runtimes))?.is_none() {
        let runc = [&runtimes[..], &["runc"]].concat();
        plan.entries.push(Entry::new(&runc, json!({"runtime_type": SHIM})));
    }
    let mut runtime = json!({"runtime_type": SHIM});
    let mut options = json!({"BinaryName": wish.binary()});
    let runc = runc_of(root, target, document, cri)?;
    // What runc's containers get, krun's get, too.
    if let Some(spec) = runc.get("base_runtime_spec") {
        runtime["base_runtime_spec"] = spec.clone();
    }
    if let Some(systemd) = runc.pointer("/options/SystemdCgroup") {
        options["SystemdCgroup"] = systemd.clone();
    }
    runtime["options"] = options;
    let mut entry = Entry::new(&[&runtimes[..], &[&wish.name]].concat(), runtime);
    entry.counts = "/options/BinaryName";
    plan.entries.push(entry);
    if wish.default {
        let name = ["plugins", cri, "containerd", "default_runtime_name"];
        let mut default = Entry::new(&name, json!(wish.name));
        default.replaces = true;
        plan.entries.push(default);
    }
    if target.file == Path::new(DROP_IN) {
        refuse_others(root, &plan.entries, cri)?;
    }
    Ok(plan)
}

/// Refuses what the files beside a drop-in say against it: the main one, and what that imports.
fn refuse_others(root: &Root, entries: &[Entry], cri: &str) -> Result<()> {
    let shown = root.shown(Path::new(FILE));
    let found = root.read(Path::new(FILE))?;
    let main = Document::parse(Format::Toml, found.as_ref(), &shown)?;
    let others = RefCell::new(Vec::new());
    imported(root, Path::new(FILE), &main, |text, path| {
        others.borrow_mut().extend(text.map(|text| (path.to_owned(), text.to_owned())));
        false
    })?;
    let mut documents = vec![(shown, main, false)];
    let drop_in = Path::new(DROP_IN);
    for (path, text) in others.into_inner().into_iter().filter(|(path, _)| path != drop_in) {
        let is_later = path.parent() != drop_in.parent() || path.as_path() > drop_in;
        let shown = root.shown(&path);
        let document = Document::parse_text(Format::Toml, &text, &shown)?;
        documents.push((shown, document, is_later));
    }
    for (shown, document, is_later) in &documents {
        refuse_disabled(document, cri, shown)?;
        for entry in entries {
            let said = document.get(&entry.place)?;
            refuse_other(entry, said.as_ref(), *is_later, shown)?;
        }
    }
    Ok(())
}

/// Where the default is, in version 2 and since version 3.
pub(super) fn defaults() -> Vec<Vec<String>> {
    CRI.map(|cri| place(&["plugins", cri, "containerd", "default_runtime_name"])).into()
}

fn version(document: &Document, shown: &Path) -> Result<u64> {
    let fix = "see containerd config migrate, and try again";
    match document.get(&place(&["version"]))? {
        Some(Value::Number(number)) if (2..=4).contains(&number.as_u64().unwrap_or(0)) => {
            Ok(number.as_u64().unwrap_or(2))
        }
        Some(other) => {
            let reason = format!("{other} is none that kontain knows (2, 3, 4)");
            Err(NodeError::field(shown, "version", reason, fix))
        }
        None => {
            let reason = "there is none: containerd takes the file for one of version 1";
            Err(NodeError::field(shown, "version", reason, fix))
        }
    }
}

/// A handler of a plugin that does not run is never asked for.
fn refuse_disabled(document: &Document, cri: &str, shown: &Path) -> Result<()> {
    let list = document.get(&place(&["disabled_plugins"]))?.unwrap_or_default();
    let is_cri = |name: &&Value| [Some(cri), Some(CRI[0]), Some("cri")].contains(&name.as_str());
    let Some(name) = list.as_array().and_then(|list| list.iter().find(is_cri)) else {
        return Ok(());
    };
    let fix = "take it off the list, if this node's containerd is a kubelet's";
    Err(NodeError::field(shown, "disabled_plugins", format!("{name} is the CRI plugin"), fix))
}

/// containerd 1 would take an import's table in the place of ours.
fn refuse_imports(root: &Root, target: &Target, document: &Document, cri: &str) -> Result<()> {
    imported(root, &target.file, document, |text, path| {
        let Some(text) = text else { return false };
        let table = place(&["plugins", cri]);
        let other = Document::parse_text(Format::Toml, text, path);
        path != target.file && other.is_ok_and(|other| !matches!(other.get(&table), Ok(None)))
    })
    .and_then(|is_there| {
        if !is_there {
            return Ok(());
        }
        let reason = format!(
            "a file of these has plugins.{cri:?}, which containerd 1 takes in place of all"
        );
        let fix = "name that file with --config, or move its table here";
        Err(NodeError::field(&root.shown(&target.file), "imports", reason, fix))
    })
}

/// Whether any file that a document imports, or would if it were there, is such a one.
fn imported(
    root: &Root,
    file: &Path,
    document: &Document,
    is_such: impl Fn(Option<&str>, &Path) -> bool,
) -> Result<bool> {
    let imports = document.get(&place(&["imports"]))?.unwrap_or_default();
    let patterns = imports.as_array().into_iter().flatten().filter_map(Value::as_str);
    for pattern in patterns {
        let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern);
        let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name()) else {
            continue;
        };
        let pattern = wildmatch::WildMatch::new(&name.to_string_lossy());
        let drop_in = Path::new(DROP_IN);
        let mut paths: Vec<PathBuf> =
            root.names(directory).into_iter().map(|name| directory.join(name)).collect();
        paths.extend((drop_in.parent() == Some(directory)).then(|| drop_in.to_owned()));
        let matches = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy()))
        };
        if paths.iter().filter(matches).any(|path| is_such(root.look(path).as_deref(), path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the node says of runc.
fn runc_of(root: &Root, target: &Target, document: &Document, cri: &str) -> Result<Value> {
    let runc = place(&["plugins", cri, "containerd", "runtimes", "runc"]);
    if target.file != Path::new(DROP_IN) {
        return Ok(document.get(&runc)?.unwrap_or_default());
    }
    let shown = root.shown(Path::new(FILE));
    let found = root.read(Path::new(FILE))?;
    let main = Document::parse(Format::Toml, found.as_ref(), &shown)?;
    Ok(main.get(&runc)?.unwrap_or_default())
}
