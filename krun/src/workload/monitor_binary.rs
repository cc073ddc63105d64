//! The monitor's binary, `km`, opened on the host's side.
//!
//! In the container `/proc/1/exe` is this file, so a container must not be able to write it
//! (CVE-2019-5736). While it runs Linux refuses with `ETXTBSY`, but a patient attacker could
//! wait for the end. So what is opened is a read-only mount of the file, made for this
//! purpose and attached nowhere: whoever opens it through `/proc` gets `EROFS`. An ordinary user makes no
//! mounts, nor can his containers write what he cannot.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use crate::own_binary::{self, OwnBinaryError};

/// The monitor's name beside krun.
const NAME: &str = "km";

/// Why there is no monitor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitorError {
    /// Nobody knows where krun is.
    #[error(transparent)]
    OwnPath(#[from] OwnBinaryError),
    /// It is not where it should be.
    #[error("the monitor {path} cannot be opened ({reason}): install krun and km together")]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// Linux's word for it; not its text, which engines take for the image's fault.
        reason: &'static str,
    },
}

/// Opens the monitor at `path`, or the one beside krun.
pub(crate) fn open_monitor(path: Option<&Path>) -> Result<OwnedFd, MonitorError> {
    let path = match path {
        Some(path) => path.to_path_buf(),
        None => own_binary::path()?.with_file_name(NAME),
    };
    match own_binary::open_read_only_mount(&path) {
        Ok(monitor) => Ok(monitor),
        Err(error) => {
            let monitor = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| MonitorError::Open { path, reason: word(errno) })?;
            if rustix::process::geteuid().is_root() {
                tracing::warn!("the monitor is opened without a read-only mount: {error}");
            }
            Ok(monitor)
        }
    }
}

fn word(errno: rustix::io::Errno) -> &'static str {
    use rustix::io::Errno;
    match errno {
        Errno::NOENT => "it is missing",
        Errno::ACCESS | Errno::PERM => "not permitted",
        Errno::NOTDIR => "its directory is a file",
        _ => "the file system refuses",
    }
}
