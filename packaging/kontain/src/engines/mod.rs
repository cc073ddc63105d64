//! The engines: where each has its configuration, and what it must say for krun to be there.

mod containerd;
mod docker;
mod drop_ins;
mod ecs;
mod eks;
mod units;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::document::{Document, Format};
use crate::error::{NodeError, Result};
use crate::files::Root;

/// An engine that kontain knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// dockerd, by its daemon.json.
    Docker,
    /// containerd's CRI plugin, by its config.toml or a drop-in.
    Containerd,
    /// podman, by a drop-in of containers.conf.
    Podman,
    /// CRI-O, by a drop-in of crio.conf.
    Crio,
    /// An instance of ECS: attributes, the policy for its agent, and docker, whose default krun becomes.
    Ecs,
    /// The policy for ECS's agent and pause containers, which is a part of that.
    #[value(skip)]
    EcsPolicy,
    /// A node of EKS: a drop-in of nodeadm's, which configures containerd at each boot.
    Eks,
}

/// What an administrator wants of an engine.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The runtime's name.
    pub name: String,
    /// krun's binary, on the node.
    pub binary: PathBuf,
    /// Whether it is to be the default.
    pub default: bool,
    /// The engine's file, if it is not the usual one.
    pub config: Option<PathBuf>,
}

/// A file in which an engine is told.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
    /// What a new file begins with.
    pub(crate) header: String,
}

/// One value that an engine is to be told.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) place: Vec<String>,
    pub(crate) value: Value,
    /// Where in the value it says what counts: one that says the same there is as good.
    pub(crate) counts: &'static str,
    /// Whether it takes the place of another one.
    pub(crate) replaces: bool,
}

/// All that an engine is to be told, and what its administrator should know.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) entries: Vec<Entry>,
    pub(crate) warnings: Vec<String>,
}

impl Engine {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Docker,
        Self::Containerd,
        Self::Podman,
        Self::Crio,
        Self::Ecs,
        Self::EcsPolicy,
        Self::Eks,
    ];

    /// What is to be done for it, in this order, and to be undone in the other one. The policy comes before the default:
    /// without it krun would run ECS's agent in a virtual machine.
    pub fn parts(self) -> Vec<Self> {
        match self {
            Self::Ecs => vec![Self::Ecs, Self::EcsPolicy, Self::Docker],
            Self::Docker
            | Self::Containerd
            | Self::Podman
            | Self::Crio
            | Self::EcsPolicy
            | Self::Eks => vec![self],
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::Crio => "crio",
            Self::Ecs => "ecs",
            Self::EcsPolicy => "ecs-policy",
            Self::Eks => "eks",
        }
    }

    /// What makes the engine read its configuration again.
    pub(crate) fn next(self) -> &'static str {
        match self {
            Self::Docker => "systemctl reload docker",
            Self::Containerd => "systemctl restart containerd",
            Self::Podman => "nothing: podman reads it each time",
            Self::Crio => "systemctl restart crio",
            Self::Ecs => "have the instance register, as by systemctl start ecs",
            Self::EcsPolicy => "nothing: krun reads it for each container",
            Self::Eks => {
                "boot the node, or kontain install containerd --config /etc/containerd/config.toml until then"
            }
        }
    }

    /// A file of its that was changed before.
    pub(crate) fn target_of(self, file: &Path) -> Target {
        let format = match self {
            Self::Docker => Format::Json,
            Self::Containerd | Self::Podman | Self::Crio => Format::Toml,
            Self::Ecs => Format::Variables,
            Self::EcsPolicy | Self::Eks => Format::Whole,
        };
        Target { file: file.to_owned(), format, header: String::new() }
    }

    /// Whether it reads every file beside its own, whatever its name.
    pub(crate) fn reads_all_beside(self, file: &Path) -> bool {
        let directory = file.parent().and_then(Path::extension);
        matches!(self, Self::Crio | Self::Eks) && directory.is_some_and(|end| end == "d")
    }

    /// Where its file may say what containers run with that ask for nothing else.
    pub(crate) fn defaults(self) -> Vec<Vec<String>> {
        match self {
            Self::Docker => vec![place(&["default-runtime"])],
            Self::Containerd => containerd::defaults(),
            Self::Podman => vec![place(&["engine", "runtime"])],
            Self::Crio => vec![place(&["crio", "runtime", "default_runtime"])],
            Self::Ecs | Self::EcsPolicy | Self::Eks => Vec::new(),
        }
    }

    /// The program that a runtime's entry names first.
    pub(crate) fn binary_of(self, entry: &Value) -> Option<&str> {
        let pointer = match self {
            Self::Docker => "/path",
            Self::Containerd => "/options/BinaryName",
            Self::Podman => "/0",
            Self::Crio => "/runtime_path",
            Self::Ecs | Self::EcsPolicy | Self::Eks => return None,
        };
        entry.pointer(pointer).and_then(Value::as_str)
    }

    /// Where it is told. Refuses where it would not read it.
    pub(crate) fn target(self, root: &Root, wish: &Wish) -> Result<Target> {
        match self {
            Self::Docker => docker::target(root, wish),
            Self::Containerd => containerd::target(root, wish),
            Self::Podman | Self::Crio => Ok(drop_ins::target(self, wish)),
            Self::Ecs => Ok(ecs::target(root, wish)),
            Self::EcsPolicy => Ok(ecs::policy_target()),
            Self::Eks => eks::target(root, wish),
        }
    }

    /// What it is told, where its file says this otherwise.
    pub(crate) fn plan(
        self,
        root: &Root,
        wish: &Wish,
        target: &Target,
        document: &Document,
    ) -> Result<Plan> {
        match self {
            Self::Docker => docker::plan(root, wish, target),
            Self::Containerd => containerd::plan(root, wish, target, document),
            Self::Podman | Self::Crio => drop_ins::plan(self, root, wish, target),
            Self::Ecs => ecs::plan(root, target),
            Self::EcsPolicy => Ok(ecs::plan_policy(root)),
            Self::Eks => eks::plan(root, wish, target),
        }
    }
}

/// A place in a document.
fn place(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

impl Wish {
    /// What is wanted of a part of an engine. Docker's is to be the default on an instance of ECS, where no task can ask
    /// for a runtime.
    #[must_use]
    pub fn of_part(&self, engine: Engine, part: Engine) -> Self {
        if engine == part {
            return self.clone();
        }
        Self { default: part == Engine::Docker, config: None, ..self.clone() }
    }

    /// Refuses what no engine would take.
    pub(crate) fn demand_possible(&self, root: &Root) -> Result<()> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let name = self.name.as_bytes();
        let ends =
            [name.first(), name.last()].iter().all(|end| end.is_some_and(|&end| end != b'-'));
        if !ends || name.len() > 63 || !name.iter().copied().all(is_name) || self.name == "runc" {
            let reason = format!("{:?} cannot be a runtime's name everywhere", self.name);
            let fix = "use small letters, digits and hyphens, and not runc";
            return Err(NodeError::refused(Path::new("--name"), reason, fix));
        }
        let text = self.binary.to_str().filter(|text| text.starts_with('/'));
        if text.is_none_or(|text| text.chars().any(|c| c.is_whitespace() || c.is_control())) {
            let reason = format!("{} is no absolute path without spaces", self.binary.display());
            return Err(NodeError::refused(Path::new("--binary"), reason, "name another one"));
        }
        if !root.is_program(&self.binary) {
            let fix = "install krun first (make install), or name it with --binary";
            return Err(NodeError::refused(&root.shown(&self.binary), "there is no program", fix));
        }
        Ok(())
    }

    /// The binary, as text.
    pub(crate) fn binary(&self) -> String {
        self.binary.to_string_lossy().into_owned()
    }
}

impl Entry {
    /// A value that must be exactly this.
    pub(crate) fn new(place: &[&str], value: Value) -> Self {
        Self { place: self::place(place), value, counts: "", replaces: false }
    }

    /// Whether a value says the same.
    pub(crate) fn is_same(&self, other: &Value) -> bool {
        let wanted = self.value.pointer(self.counts);
        wanted.is_some() && wanted == other.pointer(self.counts)
    }
}
