//! Why a program could not be started in a container.

use std::io;
use std::path::PathBuf;

use spec_compat::{ConfigError, LAST_ID};

use super::sub_cgroup::SubCgroupError;
use crate::container::cgroups::CgroupError;
use crate::container::store::StoreError;
use crate::creation::CreateError;
use crate::own_binary::OwnBinaryError;
use crate::selinux::LabelError;
use crate::systemd::SystemdError;
use crate::workload::monitor::OpenError;

/// Why a program could not be started in a container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// There is no such container, or it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// runc's words.
    #[error("cannot exec in a stopped container")]
    Stopped,
    /// runc's words.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    Paused,
    /// There is nothing to start.
    #[error("process args cannot be empty: name a program behind the container, or use --process")]
    NoProgram,
    /// `--user` is no user.
    #[error("--user: found {0:?}, expected UID[:GID] in numbers")]
    User(String),
    /// An option names a user or group that Linux would not take for one. runc's words behind it.
    #[error("{option}: found {id}: uids and gids must be in range 0-{LAST_ID}")]
    Id {
        /// The option.
        option: &'static str,
        /// The number.
        id: i64,
    },
    /// The file of `--process` cannot be read.
    #[error("--process {path}")]
    ReadProcess {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process section is not usable.
    #[error("{name}: {source}")]
    Config {
        /// Where it comes from.
        name: String,
        /// All its faults. Shown in this error's own text, hence no `#[source]`.
        source: ConfigError,
    },
    /// What `create` kept of the bundle cannot be read.
    #[error("read bundle.json in the container's directory")]
    Kept(#[source] io::Error),
    /// As in `create`.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The program is to have a label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// There is no monitor, or it cannot do what is asked.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// krun's binary cannot be kept from a native container.
    #[error(transparent)]
    OwnBinary(#[from] OwnBinaryError),
    /// systemd does not let krun into the container's cgroup.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The program cannot be put into the cgroups that it is to be in.
    #[error(transparent)]
    SubCgroup(#[from] SubCgroupError),
    /// This host's cgroups cannot be found.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The caller's socket does not take the descriptor.
    #[error("--pidfd-socket")]
    PidfdSocket(#[source] io::Error),
    /// The agent behind `linux.seccomp.listenerPath` does not take the descriptor.
    #[error("linux.seccomp.listenerPath")]
    Agent(#[source] io::Error),
    /// The container's directory cannot be used.
    #[error("make a place for the process")]
    Place(#[source] io::Error),
    /// The console socket cannot be used.
    #[error("console socket")]
    Console(#[source] io::Error),
    /// The new process cannot be looked at.
    #[error("look at the new process")]
    Process(#[source] io::Error),
    /// The signal mask cannot be changed.
    #[error("hold signals back")]
    Signals(#[source] nix::Error),
    /// The pid file cannot be written.
    #[error("write the pid file")]
    PidFile(#[source] io::Error),
    /// The program could not be looked after.
    #[error("wait for the process")]
    Foreground(#[source] io::Error),
    /// The program could not be started. runc's words.
    #[error("unable to start container process: {0}")]
    Program(String),
}
