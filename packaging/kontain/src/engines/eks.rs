//! EKS: a NodeConfig of kontain's own in `/etc/eks/nodeadm.d`, which nodeadm merges into containerd's file at each boot.
//!
//! nodeadm takes its template of version 3 of that file as soon as any text that it merges names one of version 3's
//! plugins, and else that of version 2, which it has containerd migrate. What was written for the other one is then
//! in the file and is not read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Engine, Entry, Plan, Target, Wish};
use crate::error::{NodeError, Result};
use crate::files::Root;

/// Signs of nodeadm.
pub(super) const NODEADM: [&str; 2] = ["/etc/eks/nodeadm.d", "/usr/bin/nodeadm"];
const DROP_IN: &str = "/etc/eks/nodeadm.d/50-kontain.yaml";
/// What nodeadm has merged at the last boot, user data among it.
const MERGED: &str = "/run/eks/nodeadm/config.json";
/// What the drop-in is called where things of a file have names.
const NAME: &str = "NodeConfig";
/// What `packaging/eks/nodeadm` has, for containerd 1 and 2.
const CONFIGS: [&str; 2] = [
    include_str!("../../../eks/nodeadm/containerd-1.yaml"),
    include_str!("../../../eks/nodeadm/containerd-2.yaml"),
];
/// By which nodeadm tells texts of version 3 from others, and what those of version 2 name instead.
const OF_VERSION_3: [&str; 2] = ["io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"];
const OF_VERSION_2: &str = "io.containerd.grpc.v1.cri";
const CONTAINERD: [&str; 2] = ["/usr/bin/containerd", "/usr/local/bin/containerd"];
/// The module that containerd is: since version 2 its path ends in the version.
const MODULE: &[u8] = b"github.com/containerd/containerd";

pub(super) fn target(root: &Root, wish: &Wish) -> Result<Target> {
    if !NODEADM.into_iter().any(|path| root.exists(Path::new(path))) {
        let shown = root.shown(Path::new(NODEADM[0]));
        let fix = "on other nodes of Kubernetes it is kontain install containerd";
        return Err(NodeError::refused(&shown, "no nodeadm configures this node", fix));
    }
    if wish.default {
        let reason = "pods ask for krun by their RuntimeClass, and those of the node's own must not run by it";
        return Err(NodeError::refused(Path::new("--default"), reason, "leave it out"));
    }
    let file = wish.config.clone().unwrap_or_else(|| DROP_IN.into());
    Ok(Engine::Eks.target_of(&file))
}

pub(super) fn plan(root: &Root, wish: &Wish, target: &Target) -> Result<Plan> {
    let version = version(root)?;
    refuse_others(root, target, version)?;
    let text = CONFIGS[version - 1]
        .replace("/opt/kontain/bin/krun", &wish.binary())
        .replace("runtimes.krun", &format!("runtimes.{}", wish.name));
    let mut plan = Plan::default();
    plan.entries.push(Entry::new(&[NAME], json!(text)));
    Ok(plan)
}

/// Refuses other texts for nodeadm that were written for the other version.
fn refuse_others(root: &Root, target: &Target, version: usize) -> Result<()> {
    let directory = target.file.parent().unwrap_or(Path::new("/"));
    let mut others: Vec<PathBuf> =
        root.names(directory).into_iter().map(|name| directory.join(name)).collect();
    others.push(MERGED.into());
    for path in others.iter().filter(|path| **path != target.file) {
        let text = root.look(path).unwrap_or_default();
        let (is_other, own, its) = match version {
            1 => (OF_VERSION_3.iter().any(|name| text.contains(name)), 2, 3),
            _ => (text.contains(OF_VERSION_2), 3, 2),
        };
        if is_other {
            let reason = format!(
                "it is for version {its} of containerd's file, and for this containerd it must be {own}: nodeadm would \
                 write both, and one is not read"
            );
            let fix = format!("write it for version {own}, boot the node, and try again");
            return Err(NodeError::field(&root.shown(path), "spec.containerd.config", reason, fix));
        }
    }
    Ok(())
}

/// Which containerd the node has, by what its program says of itself: it is not run, as the node may be an image.
fn version(root: &Root) -> Result<usize> {
    let found =
        CONTAINERD.into_iter().find_map(|path| Some((path, root.open_file(Path::new(path))?)));
    let Some((path, program)) = found else {
        let shown = root.shown(Path::new(CONTAINERD[0]));
        return Err(NodeError::refused(&shown, "there is no containerd", "install it first"));
    };
    let shown = root.shown(Path::new(path));
    let read = module_version(program).map_err(|error| NodeError::system("read", &shown, error))?;
    match read {
        Some(version @ (1 | 2)) => Ok(version),
        other => {
            let other = other.map_or("none".to_owned(), |version| version.to_string());
            let reason = format!("its version is {other}, and kontain knows 1 and 2");
            Err(NodeError::refused(
                &shown,
                reason,
                "install another containerd, or another kontain",
            ))
        }
    }
}

/// The highest version in the paths of a program's modules.
fn module_version(mut program: File) -> std::io::Result<Option<usize>> {
    let (mut highest, mut buffer, mut kept) = (None, vec![0; 1 << 20], Vec::new());
    loop {
        let count = program.read(&mut buffer)?;
        kept.extend_from_slice(&buffer[..count]);
        let is_last = count == 0;
        let mut at = 0;
        while let Some(found) = find(&kept[at..], MODULE) {
            let end = at + found + MODULE.len();
            // What follows may be in the next piece.
            if !is_last && kept.len() < end + 8 {
                break;
            }
            highest = highest.max(Some(version_at(&kept[end..])));
            at = end;
        }
        if is_last {
            return Ok(highest);
        }
        let rest = kept.len().saturating_sub(MODULE.len() + 8).max(at);
        kept.drain(..rest);
    }
}

/// The version that `/v2/` or the like says behind a module's name: 1 if nothing does.
fn version_at(bytes: &[u8]) -> usize {
    let digits = bytes.strip_prefix(b"/v").unwrap_or_default();
    let digits: Vec<u8> = digits.iter().copied().take_while(u8::is_ascii_digit).take(3).collect();
    String::from_utf8_lossy(&digits).parse().unwrap_or(1)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
