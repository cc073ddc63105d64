//! Standard input, output and error of a program: whose they are, and how large its terminal is.
//!
//! They belong to whoever made them, mostly root, and the terminal to the container's root. As with runc they
//! are given to the program's user: another one could not open his own terminal, nor `/dev/stdout`, by name.
//! What outlives the container or is others', too, is left alone: terminals that are not the container's, all
//! other devices, and, unless whoever called left it to the container and went, files.
//!
//! That needs `CAP_CHOWN`, which is lent to the process that becomes the program for that long; it cannot be
//! done from outside, since the program of `exec` runs as soon as it is ready.

use std::os::fd::BorrowedFd;

use caps::{CapSet, Capability};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::Capabilities;
use rustix::fs::{FileType, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use spec_compat::Config;

/// What giving away needs.
const LENT: Capability = Capability::CAP_CHOWN;
/// The sets of `process.capabilities` that it is lent in. Nothing is executed meanwhile, so no other counts.
const LENT_IN: [&str; 2] = ["effective", "permitted"];

/// What standard input, output and error are to be.
#[derive(Clone, Debug)]
pub(crate) struct Stdio {
    owner: Uid,
    /// Whether they are the container's own terminal.
    has_terminal: bool,
    /// Whether the caller hands his own on, and does not wait for the program.
    is_detached: bool,
    /// Of the terminal, if the bundle says so.
    size: Option<Winsize>,
    /// The sets in which the program has the right itself.
    kept: [bool; LENT_IN.len()],
}

impl Stdio {
    /// What they are to be for the program of `config`.
    pub(crate) fn of(config: &Config, is_detached: bool) -> Self {
        let process = config.process();
        let rights = process.capabilities().as_ref();
        let has = |set: Option<&Capabilities>| {
            set.is_some_and(|set| set.iter().any(|one| one.to_cap() == LENT))
        };
        Self {
            owner: Uid::from_raw(process.user().uid()),
            has_terminal: config.wants_terminal(),
            is_detached,
            size: size(config),
            kept: [
                has(rights.and_then(|rights| rights.effective().as_ref())),
                has(rights.and_then(|rights| rights.permitted().as_ref())),
            ],
        }
    }

    /// Makes them so, and gives back what is lent.
    pub(super) fn set_up(&self) -> Result<(), String> {
        if let Some(size) = self.size {
            tcsetwinsize(stdin(), size).map_err(|errno| fault("process.consoleSize", errno))?;
        }
        for (name, file) in [("input", stdin()), ("output", stdout()), ("error", stderr())] {
            self.give(file)
                .map_err(|errno| fault(&format!("give standard {name} to the user"), errno))?;
        }
        for (set, kept) in [CapSet::Effective, CapSet::Permitted].into_iter().zip(self.kept) {
            if !kept {
                caps::drop(None, set, LENT).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Gives a file to the user if it is for the container; its group is what the mount wants it to be.
    fn give(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let status = fstat(file)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if status.st_uid == self.owner.as_raw() || !self.is_for_container(kind) {
            return Ok(());
        }
        match fchown(file, Some(self.owner), None) {
            // As with runc: one that has no name in the container's user namespace stays whose it is.
            Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
            given => given,
        }
    }

    /// runc hands on nothing but pipes while it waits. krun hands on what it has, so a file would stay the
    /// user's, and lose the bits of its mode that the change of owner takes.
    fn is_for_container(&self, kind: FileType) -> bool {
        match kind {
            FileType::Fifo | FileType::Socket => true,
            FileType::RegularFile => self.is_detached,
            FileType::CharacterDevice => self.has_terminal,
            FileType::Directory | FileType::Symlink | FileType::BlockDevice | FileType::Unknown => {
                false
            }
        }
    }
}

fn fault(what: &str, errno: Errno) -> String {
    format!("{what}: {}", std::io::Error::from(errno))
}

/// As with runc, of a terminal only, and where both numbers are there.
fn size(config: &Config) -> Option<Winsize> {
    let size = config.process().console_size().filter(|_| config.wants_terminal())?;
    let [rows, columns] = [size.height(), size.width()].map(|one| u16::try_from(one).unwrap_or(0));
    (rows != 0 && columns != 0).then_some(Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    })
}

/// Adds what is lent to the process section that libcontainer sees, if there is somebody to lend it: the root
/// of a user namespace has it, krun itself may not.
pub(crate) fn lend_right(config: &Config, process: &mut Value) {
    let is_there = || caps::has_cap(None, CapSet::Permitted, LENT).unwrap_or(false);
    if !(config.has_user_namespace() || is_there()) {
        return;
    }
    let lent = json!(LENT.to_string());
    for name in LENT_IN {
        if let Some(list) = process["capabilities"][name].as_array_mut()
            && !list.contains(&lent)
        {
            list.push(lent.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;
    use serde_json::{Value, json};
    use spec_compat::Config;

    use super::Stdio;

    fn stdio(process: &Value) -> Stdio {
        let mut document = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": ["sh"]},
        });
        for (name, value) in process.as_object().unwrap() {
            document["process"][name] = value.clone();
        }
        Stdio::of(&Config::parse(document.to_string().as_bytes()).unwrap(), false)
    }

    #[test]
    fn only_a_terminal_has_a_size_and_only_a_whole_one() {
        let size = |terminal: bool, height: u32, width: u32| {
            let size = json!({"height": height, "width": width});
            let size = stdio(&json!({"terminal": terminal, "consoleSize": size})).size;
            size.map(|size| (size.ws_row, size.ws_col))
        };

        assert_eq!(size(true, 10, 110), Some((10, 110)));
        assert_eq!(size(false, 10, 110), None);
        assert_eq!(size(true, 0, 110), None);
    }

    #[test]
    fn what_the_program_has_itself_is_not_taken_back() {
        let capabilities = json!({"effective": ["CAP_KILL"], "permitted": ["CAP_CHOWN"]});

        let stdio = stdio(&json!({"capabilities": capabilities, "user": {"uid": 7, "gid": 0}}));

        assert_eq!(stdio.kept, [false, true]);
        assert_eq!(stdio.owner.as_raw(), 7);
    }

    #[test]
    fn the_callers_terminal_and_devices_are_left_alone_and_his_files_while_he_waits() {
        const KINDS: [FileType; 5] = [
            FileType::Fifo,
            FileType::Socket,
            FileType::RegularFile,
            FileType::CharacterDevice,
            FileType::BlockDevice,
        ];
        for (is_detached, terminal, expected) in [
            (false, false, [true, true, false, false, false]),
            (true, false, [true, true, true, false, false]),
            (true, true, [true, true, true, true, false]),
        ] {
            let stdio = Stdio { is_detached, ..stdio(&json!({"terminal": terminal})) };

            assert_eq!(KINDS.map(|kind| stdio.is_for_container(kind)), expected);
        }
    }
}
