//! Cgroups that systemd makes: `--systemd-cgroup`.
//!
//! Every container is a scope, a unit of processes that systemd has not started itself. krun has it
//! made around a placeholder. From then on the scope is a cgroup like others to libcontainer and to
//! krun, with a path that follows from its name. systemd is told its limits, too, since it writes them
//! again whenever it reads its units anew, and is told to forget the scope in the end.

mod body;
mod connection;
mod message;
mod properties;
mod scope;

use std::io;

pub(crate) use self::scope::{Scope, Standing, set_limits, stop};

/// Why systemd does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// Something else runs this host.
    #[error("--systemd-cgroup: there is no systemd on this host, nor a /run/systemd/system")]
    NotBooted,
    /// There systemd writes device rules of its own into the files that hold the container's.
    #[error(
        "--systemd-cgroup: this host's cgroups are of version 1, where krun makes them itself: \
         use the cgroupfs driver (native.cgroupdriver=cgroupfs)"
    )]
    Version1,
    /// It does not listen, or not to this user.
    #[error("--systemd-cgroup: connect to systemd (/run/systemd/private)")]
    Connect(#[source] io::Error),
    /// The connection breaks.
    #[error("systemd: {method}")]
    Talk {
        /// What was asked.
        method: &'static str,
        /// How it breaks.
        source: io::Error,
    },
    /// It says something that is no D-Bus.
    #[error("systemd: expected a D-Bus message, found something else")]
    Garbled,
    /// It says no.
    #[error("systemd: {method}: {text} ({name})")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// The error's name.
        name: String,
        /// The error's text.
        text: String,
    },
    /// It tried.
    #[error("systemd: {unit} was not started: {result}")]
    Job {
        /// The unit.
        unit: String,
        /// How the job ended.
        result: String,
    },
    /// runc's words.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {0:?} instead"
    )]
    Path(String),
    /// runc's words.
    #[error("invalid slice name: {0}")]
    Slice(String),
    /// A slice holds units, and no processes.
    #[error("cgroupsPath: found {0:?}, expected a name that makes a scope, not a slice")]
    NotAScope(String),
    /// Nobody stands for the container.
    #[error("start a placeholder")]
    Placeholder(#[source] io::Error),
}
