//! Whose systemd makes a container's scope: the host's, or an ordinary user's own.
//!
//! Both listen at a socket of theirs and say the same there. What is different is where the socket is,
//! what part of the cgroups is theirs, and that a user's processes can be outside of that part.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::SystemdError;
use super::body::Value;
use super::connection::Connection;
use super::properties::Property;
use super::scope;
use crate::cli::{Global, Rootless};
use crate::rootless;

/// The host's systemd listens here.
const SOCKET_OF_HOST: &str = "/run/systemd/private";
/// Where a user's listens, below his `XDG_RUNTIME_DIR`.
const SOCKET_OF_USER: &str = "systemd/private";
/// Where those directories are, if the variable does not say it.
const RUNTIME_DIRECTORIES: &str = "/run/user";

/// Whose systemd it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Owner {
    /// The host's.
    #[default]
    Host,
    /// The caller's.
    User,
}

impl Owner {
    /// Whose makes this command's scopes: for root the host's, and also for root of a user namespace that
    /// has a systemd of its own.
    pub(crate) fn of(global: &Global) -> Self {
        let is_users = match global.rootless {
            Rootless::Auto => !geteuid().is_root() || !belongs_to_root(Path::new(SOCKET_OF_HOST)),
            Rootless::Always => true,
            Rootless::Never => false,
        };
        if is_users { Self::User } else { Self::Host }
    }

    /// Where it listens.
    pub(super) fn socket(self) -> PathBuf {
        match self {
            Self::Host => SOCKET_OF_HOST.into(),
            Self::User => runtime_directory().join(SOCKET_OF_USER),
        }
    }

    /// Where scopes go that nobody has a place for.
    pub(super) fn default_slice(self) -> &'static str {
        match self {
            Self::Host => "system.slice",
            Self::User => "user.slice",
        }
    }

    /// The cgroup that all of its own are below.
    pub(super) fn top(self) -> Result<PathBuf, SystemdError> {
        match self {
            Self::Host => Ok("/".into()),
            Self::User => top_of(&mut Connection::open(self)?),
        }
    }

    /// Sees to it that this process, which has one thread only, may put its children into the scopes.
    ///
    /// Linux wants the right to the cgroup that is above both places. A user has it below his own systemd's,
    /// and his sessions are not there: then a scope of its own is made for this process, which
    /// ends with it. podman does the same.
    pub(crate) fn let_in(self) -> Result<(), SystemdError> {
        if self == Self::Host {
            return Ok(());
        }
        let mut systemd = Connection::open(self)?;
        if own_cgroup()?.starts_with(top_of(&mut systemd)?) {
            return Ok(());
        }
        let pid = std::process::id();
        let text = |text: &str| Value::Text(text.to_owned());
        let list = [
            ("Description", text("krun"), None),
            ("Slice", text(self.default_slice()), None),
            ("PIDs", Value::Processes(vec![pid]), None),
            ("CollectMode", text("inactive-or-failed"), Some(236)),
        ];
        let list = list.map(|(name, value, since)| Property { name, value, since });
        let list = scope::known(&mut systemd, list.into())?;
        let unit = format!("krun-process-{pid}.scope");
        scope::begin(&mut systemd, &unit, scope::pairs(&list))
    }
}

/// Whether root, as this process knows it, has the file, or there is none.
fn belongs_to_root(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |file| file.uid() == 0)
}

fn runtime_directory() -> PathBuf {
    let named = env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    named.map_or_else(
        || Path::new(RUNTIME_DIRECTORIES).join(rootless::id_outside().to_string()),
        PathBuf::from,
    )
}

fn top_of(systemd: &mut Connection) -> Result<PathBuf, SystemdError> {
    systemd.property("ControlGroup").map(PathBuf::from)
}

/// Where this process is, where cgroups are of version 2.
fn own_cgroup() -> Result<PathBuf, SystemdError> {
    let cgroups = Process::myself().and_then(|process| process.cgroups());
    let cgroups = cgroups.map_err(SystemdError::OwnCgroup)?;
    let found = cgroups.into_iter().find(|cgroup| cgroup.hierarchy == 0);
    Ok(found.map_or_else(PathBuf::new, |cgroup| cgroup.pathname.into()))
}
