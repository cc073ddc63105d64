//! SELinux: whether the host's kernel has it, and the labels of the programs of containers.
//!
//! As with runc a program's label is asked of the kernel by its thread's `attr/exec`, and the next
//! `execve(2)` grants it. In a virtual machine that is the monitor's: what confines the monitor confines
//! the program in it. Those that the program executes have its label, as the monitor stays what it is.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use procfs::process::Process;
use rustix::fs::{
    CWD, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatVfsMountFlags, fstatfs, openat2,
    statfs, statvfs,
};
use spec_compat::Config;

/// `SELINUX_MAGIC` of `linux/magic.h`.
const SELINUX: FsWord = 0xf97c_ff8c;
/// Where the kernel's interface is mounted nearly everywhere.
const INTERFACE: &str = "/sys/fs/selinux";
/// What every process is before there is a policy.
const WITHOUT_POLICY: &str = "kernel";

/// A label that the host's kernel knows nothing of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabelError {
    /// runc's words.
    #[error("selinux label is specified in config, but selinux is disabled or not supported")]
    Process,
    /// runc would have the kernel refuse the mount.
    #[error(
        "linux.mountLabel: selinux is disabled or not supported: found {0:?}, expected nothing there"
    )]
    Mount(String),
}

/// The label of a program.
#[derive(Clone, Debug)]
pub(crate) struct Label(String);

impl Label {
    /// That of `process.selinuxLabel`.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, LabelError> {
        match config.process().selinux_label().as_deref() {
            None | Some("") => Ok(None),
            Some(_) if !is_enabled() => Err(LabelError::Process),
            Some(label) => Ok(Some(Self(label.to_owned()))),
        }
    }

    /// The keyrings that this process makes have the label. A kernel without keyrings has no such attribute.
    pub(crate) fn give_to_keys(&self) -> Result<(), String> {
        match self.write("keycreate") {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(|error| fault("self/attr/keycreate", &error)),
        }
    }

    /// The next program that this process or a child of it executes has the label.
    pub(crate) fn give_to_program(&self) -> Result<(), String> {
        let done = self.write("exec");
        done.map_err(|error| {
            format!("can't set process label: {}", fault("thread-self/attr/exec", &error))
        })
    }

    /// Writes it into what is the kernel's, whatever the image has at `/proc`, and nothing mounted there.
    fn write(&self, attribute: &str) -> io::Result<()> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat2(CWD, "/proc", directory, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::other("/proc is not procfs"));
        }
        let file = openat2(
            &proc,
            format!("thread-self/attr/{attribute}"),
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
        )?;
        fs::File::from(file).write_all(self.0.as_bytes())
    }
}

/// In the form of runc's, and with its names.
fn fault(path: &str, error: &io::Error) -> String {
    let reason = rustix::io::Errno::from_io_error(error)
        .map(|errno| nix::errno::Errno::from_raw(errno.raw_os_error()).desc().to_lowercase());
    let reason = reason.unwrap_or_else(|| error.to_string());
    format!("write /proc/{path}: {reason}")
}

/// Whether there is SELinux, and a policy. Read-only it is somebody else's, as runc takes it.
pub(crate) fn is_enabled() -> bool {
    let has_interface = is_interface(Path::new(INTERFACE)) || is_mounted_elsewhere();
    has_interface && has_policy()
}

fn is_interface(path: &Path) -> bool {
    let is_writable =
        || statvfs(path).is_ok_and(|all| !all.f_flag.contains(StatVfsMountFlags::RDONLY));
    statfs(path).is_ok_and(|all| all.f_type == SELINUX) && is_writable()
}

fn is_mounted_elsewhere() -> bool {
    let mounts = Process::myself().and_then(|own| own.mountinfo());
    let mut mounts = mounts.into_iter().flatten();
    mounts.any(|mount| mount.fs_type == "selinuxfs" && is_interface(&mount.mount_point))
}

fn has_policy() -> bool {
    let label = fs::read_to_string("/proc/thread-self/attr/current");
    label.is_ok_and(|label| label.trim_end_matches(['\0', '\n']) != WITHOUT_POLICY)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{fault, is_interface};

    #[test]
    fn another_file_system_is_not_the_interface() {
        assert!(!is_interface(Path::new("/proc")));
        assert!(!is_interface(Path::new("/nosuch")));
    }

    #[test]
    fn a_fault_has_the_words_of_runc() {
        let error = io::Error::from_raw_os_error(22);
        let words = fault("thread-self/attr/exec", &error);
        assert_eq!(words, "write /proc/thread-self/attr/exec: invalid argument");
        let error = io::Error::other("/proc is not procfs");
        assert!(fault("x", &error).ends_with(": /proc is not procfs"));
    }
}
