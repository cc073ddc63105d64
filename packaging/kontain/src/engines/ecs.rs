//! ECS: the attributes by which tasks find an instance, and the policy by which the agent and pause containers run
//! natively. With docker's default runtime these make an instance of ECS one of krun's.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Engine, Entry, Plan, Target, Wish};
use crate::error::{NodeError, Result};
use crate::files::Root;
use crate::record;

/// What user data writes, often anew; it counts more than the next one.
const CONFIG: &str = "/etc/ecs/ecs.config";
/// The instance's own.
const OWN_CONFIG: &str = "/var/lib/ecs/ecs.config";
const VARIABLE: &str = "ECS_INSTANCE_ATTRIBUTES";
const ATTRIBUTES: [(&str, &str); 2] = [("kontain.runtime", "krun"), ("kontain.backend", "kvm")];
/// What an agent keeps of its registration.
const STATES: [&str; 2] = ["/var/lib/ecs/data/agent.db", "/var/lib/ecs/data/ecs_agent_data.json"];
const NVIDIA: &str = "/etc/docker-runtimes.d/nvidia";

const POLICY: &str = "/etc/kontain/policy.d/10-ecs.toml";
const POLICY_NAME: &str = "preset";
/// The agent's image, in which that of pause containers is.
const AGENT: &str = "/var/cache/ecs/ecs-agent.tar";
const PAUSE_IMAGE: &str = "images/amazon-ecs-pause.tar";
const PAUSE: &str = "pause";
/// That image, and its program, are some hundred kilobytes.
const LARGEST: u64 = 64 << 20;

fn has_variable(root: &Root, path: &str) -> bool {
    let text = root.look(Path::new(path)).unwrap_or_default();
    text.lines().any(|line| line.strip_prefix(VARIABLE).is_some_and(|rest| rest.starts_with('=')))
}

pub(super) fn target(root: &Root, wish: &Wish) -> Target {
    let usual = [CONFIG, OWN_CONFIG].into_iter().find(|path| has_variable(root, path));
    let usual = usual.unwrap_or(OWN_CONFIG);
    let file = wish.config.clone().unwrap_or_else(|| usual.into());
    Engine::Ecs.target_of(&file)
}

pub(super) fn plan(root: &Root, target: &Target) -> Result<Plan> {
    let mut plan = Plan::default();
    if target.file != Path::new(CONFIG) && has_variable(root, CONFIG) {
        let (reason, file) = ("it is here, and this file counts more than", target.file.display());
        let fix = "kontain uninstall ecs, and kontain install ecs";
        let shown = root.shown(Path::new(CONFIG));
        return Err(NodeError::field(&shown, VARIABLE, format!("{reason} {file}"), fix));
    }
    for (name, value) in ATTRIBUTES {
        plan.entries.push(Entry::new(&[VARIABLE, name], json!(value)));
    }
    let state = STATES.into_iter().find(|path| root.exists(Path::new(path)));
    if let Some(state) = state
        && root.read(&record::path(Engine::Ecs))?.is_none()
    {
        plan.warnings.push(format!(
            "{state}: the instance has registered, and attributes count only then: aws ecs put-attributes \
             --attributes name=kontain.runtime,value=krun,targetType=container-instance,targetId=INSTANCE"
        ));
    }
    if root.exists(Path::new(NVIDIA)) {
        plan.warnings.push("tasks with GPUs go on to run by nvidia, natively".to_owned());
    }
    Ok(plan)
}

pub(super) fn policy_target() -> Target {
    Engine::EcsPolicy.target_of(Path::new(POLICY))
}

const HEADER: &str = "# ECS: its agent and its pause containers are native, tasks in virtual machines (docs/ecs.md).\n";

pub(super) fn plan_policy(root: &Root) -> Plan {
    let mut plan = Plan::default();
    let hash = root.open_file(Path::new(AGENT)).and_then(|file| pause_hash(file).ok().flatten());
    let old = root.look(Path::new(POLICY)).filter(|old| is_ours(old));
    let text = match (hash, old) {
        (Some(hash), _) => {
            plan.warnings.push(format!("pause containers are native: {hash}"));
            format!("{HEADER}preset = \"ecs\"\npause_sha256 = [\"{hash}\"]\n")
        }
        // The agent's image may be gone again.
        (None, Some(old)) => old,
        (None, None) => {
            plan.warnings.push(format!(
                "{AGENT}: no pause container is in it: pause containers run in virtual machines, too"
            ));
            format!("{HEADER}preset = \"ecs\"\n")
        }
    };
    plan.entries.push(Entry::new(&[POLICY_NAME], json!(text)));
    plan
}

/// Whether a policy is one that kontain writes where it knows a pause container's program.
fn is_ours(text: &str) -> bool {
    let rest = text.strip_prefix(HEADER);
    let rest = rest.and_then(|rest| rest.strip_prefix("preset = \"ecs\"\npause_sha256 = [\""));
    let hash = rest.and_then(|rest| rest.strip_suffix("\"]\n"));
    hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The hash of the pause container's program. It lies in an image within the agent's image: each layer of an image is
/// an archive in the archive.
fn pause_hash(agent: File) -> io::Result<Option<String>> {
    let image = in_layers(agent, PAUSE_IMAGE)?;
    let Some(image) = image else { return Ok(None) };
    let program = in_layers(image.as_slice(), PAUSE)?;
    Ok(program.map(|program| hex(&Sha256::digest(program))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A file in one of an image's layers.
fn in_layers(image: impl Read, wanted: &str) -> io::Result<Option<Vec<u8>>> {
    let mut image = tar::Archive::new(image);
    for layer in image.entries()? {
        let mut layer = layer?;
        if !layer.header().entry_type().is_file() {
            continue;
        }
        let mut magic = [0; 2];
        let count = layer.read(&mut magic)?;
        let whole = io::Cursor::new(magic[..count].to_vec()).chain(layer);
        // What is no archive has none of it.
        let found = if magic == [0x1f, 0x8b] {
            in_archive(GzDecoder::new(whole), wanted)
        } else {
            in_archive(whole, wanted)
        };
        if let Ok(Some(found)) = found {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn in_archive(archive: impl Read, wanted: &str) -> io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let is_wanted = path.strip_prefix("./").unwrap_or(&path) == Path::new(wanted);
        if is_wanted && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.take(LARGEST).read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
