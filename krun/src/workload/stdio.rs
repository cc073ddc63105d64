//! Standard input, output and error of a program: whose they are, and how large its terminal is.
//!
//! They belong to whoever made them, mostly root, and the terminal to the container's root. As with runc they
//! are given to the program's user: another one could not open his own terminal, nor `/dev/stdout`, by name.
//! That needs `CAP_CHOWN`, which is lent to the process that becomes the program for that long; it cannot be
//! done from outside, since the program of `exec` runs as soon as it is ready.

use std::os::fd::BorrowedFd;

use caps::{CapSet, Capability};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::Capabilities;
use rustix::fs::{FileType, Stat, Uid, fchown, fstat, makedev};
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
    /// Of the terminal, if the bundle says so.
    size: Option<Winsize>,
    /// The sets in which the program has the right itself.
    kept: [bool; LENT_IN.len()],
}

impl Stdio {
    /// What they are to be for the program of `config`.
    pub(crate) fn of(config: &Config) -> Self {
        let process = config.process();
        let rights = process.capabilities().as_ref();
        let has = |set: Option<&Capabilities>| {
            set.is_some_and(|set| set.iter().any(|one| one.to_cap() == LENT))
        };
        Self {
            owner: Uid::from_raw(process.user().uid()),
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
            give(file, self.owner)
                .map_err(|errno| fault(&format!("give standard {name} to the user"), errno))?;
        }
        for (set, kept) in [CapSet::Effective, CapSet::Permitted].into_iter().zip(self.kept) {
            if !kept {
                caps::drop(None, set, LENT).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
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

/// Gives a file to a user; its group is what the mount wants it to be.
fn give(file: BorrowedFd<'_>, owner: Uid) -> Result<(), Errno> {
    let status = fstat(file)?;
    if status.st_uid == owner.as_raw() || is_null_device(&status) {
        return Ok(());
    }
    match fchown(file, Some(owner), None) {
        // As with runc: one that has no name in the container's user namespace stays whose it is.
        Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        given => given,
    }
}

/// That one is everybody's.
fn is_null_device(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == makedev(1, 3)
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
        Stdio::of(&Config::parse(document.to_string().as_bytes()).unwrap())
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
}
