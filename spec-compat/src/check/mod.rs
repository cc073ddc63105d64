//! Every check of a `config.json` that needs nothing but the document.
//!
//! A check says what it found and what it expected, and lets the others go on. What needs
//! the host (does the root file system exist, is the namespace's path one) is krun's part.

mod hooks;
mod linux;
mod mounts;
mod process;
mod shapes;

use serde_json::Value;

pub(crate) use self::hooks::POINTS as HOOK_POINTS;
pub use self::process::LAST_ID;
use crate::Fault;
use crate::field::Field;

/// All faults of `document`, in its own order of sections.
pub(crate) fn all(document: &Value) -> Vec<Fault> {
    let root = Field::root(document);
    if !document.is_object() {
        return vec![root.fault("an object")];
    }
    let mut faults = Vec::new();
    shapes::check(&root, &mut faults);
    if !faults.is_empty() {
        // What is inside would be told twice.
        return faults;
    }
    version(&root.child("ociVersion"), &mut faults);
    root_file_system(&root.child("root"), &mut faults);
    process::check(&root.child("process"), &mut faults);
    mounts::check(&root.child("mounts"), &mut faults);
    hooks::check(&root.child("hooks"), &mut faults);
    linux::check(&root.child("linux"), &mut faults);
    sysctl(&root, &mut faults);
    faults
}

fn version(field: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "a version of the form 1.x.y";
    let Some(text) = field.required_text(EXPECTED, faults) else {
        return;
    };
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    if !matches!(numbers.as_slice(), [Ok(1), Ok(_), Ok(_)]) {
        faults.push(field.fault(EXPECTED));
    }
}

fn root_file_system(root: &Field<'_>, faults: &mut Vec<Fault>) {
    const EXPECTED: &str = "the path of the root file system";
    let path = root.child("path");
    if let Some(text) = path.required_text(EXPECTED, faults)
        && (text.is_empty() || text.contains('\0'))
    {
        faults.push(path.fault(EXPECTED));
    }
}

/// Parameters are files below `/proc`.
fn sysctl(root: &Field<'_>, faults: &mut Vec<Fault>) {
    let parameters = root.child("linux").child("sysctl");
    let is_proc = |mount: &Field<'_>| {
        let place = mount.child("destination").text("text", &mut Vec::new());
        place.is_some_and(|text| names_below_root(text) == ["proc"])
    };
    if parameters.has_members()
        && !root.child("mounts").elements(&mut Vec::new()).iter().any(is_proc)
    {
        faults.push(parameters.fault("a mount on /proc with it"));
    }
}

/// The names that lead from `/` to `path`, as its text says: what symbolic links say, only the host knows.
fn names_below_root(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests;
