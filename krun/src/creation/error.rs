//! Why a container could not be made.

use std::io;
use std::path::PathBuf;

use krun_policy::PolicyError;
use libcontainer::error::LibcontainerError;
use spec_compat::ConfigError;

use super::MappingError;
use crate::container::cgroups::CgroupError;
use crate::container::devices;
use crate::container::id::IdError;
use crate::container::limits::LimitsError;
use crate::container::store::StoreError;
use crate::own_binary::OwnBinaryError;
use crate::rootless::NamespaceError;
use crate::selinux::LabelError;
use crate::systemd::SystemdError;
use crate::workload::monitor::OpenError;

/// Why a container could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The name is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The name is taken, or the state directory is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cgroup is not usable.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A rule about devices cannot be obeyed.
    #[error(transparent)]
    DeviceRule(#[from] devices::Conflict),
    /// The rules about devices cannot be enforced.
    #[error(transparent)]
    DeviceRules(#[from] devices::DeviceRulesError),
    /// systemd does not make the cgroup.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The limits cannot be told to systemd.
    #[error("linux.resources")]
    Limits(#[source] serde_json::Error),
    /// They cannot be set.
    #[error(transparent)]
    SetLimits(#[from] LimitsError),
    /// A limit without a cgroup to set it in, in runc's words.
    #[error("cannot set {0} limit: container could not join or create cgroup")]
    NoCgroupFor(&'static str),
    /// There are limits, and nobody gave this user a cgroup. runc's words.
    #[error("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")]
    NoCgroup(#[source] Box<CreateError>),
    /// Version 2 has no place without a cgroup.
    #[error("--cgroup-manager disabled: found cgroups of version 2, expected version 1")]
    NoCgroups,
    /// The hierarchies cannot be hidden from libcontainer.
    #[error("hide the cgroups that cannot be had")]
    HideCgroups(#[source] io::Error),
    /// There is no user namespace.
    #[error(transparent)]
    UserNamespace(#[from] NamespaceError),
    /// The host's policy cannot be read, or denies the container.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A program or a mount is to have a label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A mount is to have a mapping that it cannot have.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// There is no monitor, or it cannot do what is asked.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nobody knows where krun is.
    #[error(transparent)]
    OwnPath(#[from] OwnBinaryError),
    /// The bundle is no directory.
    #[error("bundle {path}")]
    Bundle {
        /// What was given.
        path: PathBuf,
        /// Why it is none.
        source: io::Error,
    },
    /// The bundle's `config.json` cannot be read.
    #[error("JSON specification file {path}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bundle's `config.json` cannot be used.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// All its faults. Shown in this error's own text, hence no `#[source]`.
        source: ConfigError,
    },
    /// `root.path` leads to no directory.
    #[error("invalid rootfs (root.path): stat {path}")]
    Rootfs {
        /// Where it leads.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A descriptor that is to be preserved is not open.
    #[error("unable to preserve descriptor {descriptor} (of {count}): it is not open")]
    Preserve {
        /// Its number.
        descriptor: u32,
        /// How many are asked for.
        count: u16,
    },
    /// runc's words, but for the name.
    #[error("cannot allocate tty if krun will detach without setting console socket")]
    ConsoleSocketMissing,
    /// runc's words, but for the name.
    #[error("cannot use console socket if krun will not detach or allocate tty")]
    ConsoleSocketUseless,
    /// The caller's socket does not take the descriptor.
    #[error("--pidfd-socket")]
    PidfdSocket(#[source] io::Error),
    /// The agent behind `linux.seccomp.listenerPath` does not take the descriptor.
    #[error("linux.seccomp.listenerPath")]
    Agent(#[source] io::Error),
    /// `--root` cannot be made absolute.
    #[error("--root")]
    Root(#[source] io::Error),
    /// The signal mask cannot be changed.
    #[error("hold signals back")]
    Signals(#[source] nix::Error),
    /// The pid file cannot be written.
    #[error("write the pid file")]
    PidFile(#[source] io::Error),
    /// The transformed configuration cannot be written.
    #[error("write libcontainer's config.json")]
    WriteConfig(#[source] io::Error),
    /// What lies in an image's own `/dev` cannot be replaced.
    #[error("replace what lies in the root file system's /dev")]
    OwnDev(#[source] io::Error),
    /// A tmpfs cannot begin with what the image has there.
    #[error("tmpcopyup: copy the image's {destination}")]
    CopyUp {
        /// Where it is mounted.
        destination: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The container's part of the cgroup hierarchies cannot be mounted.
    #[error("mount cgroup")]
    CgroupMount(#[source] io::Error),
    /// Options that libcontainer leaves undone cannot be set.
    #[error("change the options of a mount")]
    MountChanges(#[source] io::Error),
    /// What `linux.mountLabel` leaves for the end cannot be done.
    #[error("linux.mountLabel")]
    MountLabel(#[source] io::Error),
    /// The start gate cannot be made.
    #[error("make the start gate")]
    Gate(#[source] io::Error),
    /// The console socket cannot be used.
    #[error("console socket")]
    Console(#[source] io::Error),
    /// libcontainer's own.
    #[error(transparent)]
    Libcontainer(#[from] LibcontainerError),
    /// libcontainer is content and has no process.
    #[error("no process was made")]
    NoProcess,
    /// The new process cannot be looked at.
    #[error("look at the new process")]
    Process(#[source] io::Error),
    /// The container's first process found a fault. runc's words.
    #[error("unable to start container process: error during container init: {0}")]
    Init(String),
    /// The caller changed its mind.
    #[error("interrupted by {0}")]
    Interrupted(nix::sys::signal::Signal),
}

/// libcontainer's failure and its first complaint, in the words of runc as far as possible.
///
/// libcontainer passes on neither the cause of an error nor what it was about, so this is
/// made of what there is: the last and most precise words of the error, and the complaint.
pub(crate) fn init_words(error: &str, complaint: Option<&str>, cwd: &str) -> String {
    const PREAMBLE: &str = "error in executing process : ";
    const AFTERMATH: &str = ". error during cleanup";
    let error = error.split_once(PREAMBLE).map_or(error, |(_, precise)| precise);
    // Whatever libcontainer could not clean up, krun does.
    let error = error.split_once(AFTERMATH).map_or(error, |(first, _)| first);
    match complaint {
        None => error.to_owned(),
        Some(complaint) if complaint.starts_with("failed to chdir") => {
            let words = words(complaint).unwrap_or(complaint);
            format!("chdir to cwd ({cwd:?}) set in config.json failed: {words}")
        }
        Some(complaint) => match words(complaint) {
            Some(words) => format!("{error}: {complaint}: {words}"),
            None => format!("{error}: {complaint}"),
        },
    }
}

/// What libcontainer logs has error numbers by name; callers look for Linux's words.
fn words(complaint: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 8] = [
        ("ENOENT", "no such file or directory"),
        ("ENOTDIR", "not a directory"),
        ("EACCES", "permission denied"),
        ("EPERM", "operation not permitted"),
        ("EINVAL", "invalid argument"),
        ("EBUSY", "device or resource busy"),
        ("ENODEV", "no such device"),
        ("EROFS", "read-only file system"),
    ];
    WORDS.iter().find(|(name, _)| complaint.contains(name)).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::init_words;

    #[test]
    fn an_error_number_is_put_into_words() {
        let error = "failed: error in executing process : failed to prepare rootfs";

        assert_eq!(
            init_words(error, Some("failed to mount: err=Nix(ENODEV)"), "/"),
            "failed to prepare rootfs: failed to mount: err=Nix(ENODEV): no such device"
        );
        assert_eq!(init_words("plain", None, "/"), "plain");
        assert_eq!(init_words("plain. error during cleanup: busy", None, "/"), "plain");
    }

    #[test]
    fn a_missing_working_directory_is_told_as_by_runc() {
        assert_eq!(
            init_words("failed to unix syscall", Some("failed to chdir: e=ENOENT"), "/x"),
            "chdir to cwd (\"/x\") set in config.json failed: no such file or directory"
        );
    }
}
