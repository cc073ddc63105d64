//! Cgroups that systemd makes: `--systemd-cgroup`.
//!
//! Every container is a scope, a unit of processes that systemd has not started itself. krun has it
//! made around a placeholder. From then on the scope is a cgroup like others to libcontainer and to
//! krun, with a path that follows from its name. systemd is told its limits, too, since it writes them
//! again whenever it reads its units anew, and is told to forget the scope in the end.
//!
//! An ordinary user's scopes are made by his own systemd, below the cgroup that the host's has given to it.

mod annotations;
mod body;
mod connection;
mod devices;
mod message;
mod owner;
mod properties;
mod scope;
mod variant;

use std::io;
use std::path::PathBuf;

pub(crate) use self::owner::Owner;
pub(crate) use self::scope::{Scope, Standing, Wanted, set_limits, stop};

/// Why systemd does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// Something else runs this host.
    #[error("--systemd-cgroup: there is no systemd on this host, nor a /run/systemd/system")]
    NotBooted,
    /// A property of the bundle's has no name. runc's words.
    #[error("annotation {annotation} name incorrect: {reason}")]
    PropertyName {
        /// The annotation's name.
        annotation: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A property of the bundle's has no value. runc's words.
    #[error("annotation {annotation}={text} value parse error: {reason}")]
    PropertyValue {
        /// The annotation's name.
        annotation: String,
        /// Its value.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not listen, or not to this user.
    #[error("--systemd-cgroup: connect to systemd ({socket})")]
    Connect {
        /// Where it should.
        socket: PathBuf,
        /// How it refuses.
        source: io::Error,
    },
    /// A user's own has cgroups of version 2 only. runc's words.
    #[error("cannot use rootless systemd cgroups manager on cgroup v1")]
    Version1,
    /// The place of krun's own process cannot be found out.
    #[error("read /proc/self/cgroup")]
    OwnCgroup(#[source] procfs::ProcError),
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
