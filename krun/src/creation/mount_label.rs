//! `linux.mountLabel`: the SELinux label of all files in the file systems that are made for a container.
//!
//! libcontainer would give it to more of them than can take it: cgroups, which are one file system
//! for all mounts, and message queues, in a user namespace. So the label is kept from it, and each file
//! system that has it with runc has it as an option of its own, `context`. A message queues' directory
//! gets it when it is mounted, as with runc. A directory that is masked is an empty tmpfs with
//! the label; as libcontainer has no place for that, krun masks all paths where there is a label.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{
    AtFlags, CWD, FileType, FsWord, Mode, OFlags, XattrFlags, fsetxattr, fstatfs, major, minor,
    openat, statat,
};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use serde_json::{Value, json};

use super::in_container;
use crate::selinux::{self, LabelError};

/// The kernel labels their files by itself, or they are labelled when they are mounted.
const WITHOUT_CONTEXT: [&str; 4] = ["proc", "sysfs", "cgroup", MESSAGE_QUEUES];
const MESSAGE_QUEUES: &str = "mqueue";
/// `MQUEUE_MAGIC` of the kernel's `ipc/mqueue.c`.
const QUEUES_MAGIC: FsWord = 0x1980_0202;
/// Where the label of a file is.
const ATTRIBUTE: &str = "security.selinux";
/// The numbers of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// What is left to do when libcontainer has made all mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LabelLater {
    label: String,
    /// Whether it has queues of its own: those of the host's are labelled where they are shared.
    has_own_queues: bool,
    message_queues: Vec<PathBuf>,
    masked: Vec<PathBuf>,
}

/// Where there is no SELinux no file system takes a label.
pub(super) fn demand_possible(document: &Value) -> Result<(), LabelError> {
    match label(document) {
        Some(label) if !selinux::is_enabled() => Err(LabelError::Mount(label.to_owned())),
        _ => Ok(()),
    }
}

fn label(document: &Value) -> Option<&str> {
    document["linux"]["mountLabel"].as_str().filter(|label| !label.is_empty())
}

/// Puts the label where it belongs, and takes what is left to do out of the document.
pub(super) fn spell_out(document: &mut Value) {
    let Some(label) = label(document).map(str::to_owned) else {
        // libcontainer takes an empty one for a label.
        document["linux"].as_object_mut().map(|linux| linux.remove("mountLabel"));
        return;
    };
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        if takes_context(mount) {
            let option = json!(format!("context={label}"));
            match mount["options"].as_array_mut() {
                Some(options) => options.push(option),
                None => mount["options"] = json!([option]),
            }
        }
    }
    if let Some(linux) = document["linux"].as_object_mut() {
        linux.retain(|name, _| name != "mountLabel" && name != "maskedPaths");
    }
}

fn takes_context(mount: &Value) -> bool {
    let kind = mount["type"].as_str().unwrap_or_default();
    let mut options = mount["options"].as_array().into_iter().flatten();
    let is_bind = kind == "bind" || options.any(|one| one == "bind" || one == "rbind");
    !is_bind && !WITHOUT_CONTEXT.contains(&kind)
}

impl LabelLater {
    /// What the bundle's document has to be done later.
    pub(super) fn of(document: &Value) -> Option<Self> {
        let label = label(document)?.to_owned();
        let mounts = document["mounts"].as_array().into_iter().flatten();
        let queues = mounts.filter(|mount| mount["type"] == MESSAGE_QUEUES);
        let message_queues = paths(queues.map(|mount| &mount["destination"]));
        let masked = paths(document["linux"]["maskedPaths"].as_array().into_iter().flatten());
        let namespaces = document["linux"]["namespaces"].as_array().into_iter().flatten();
        let has_own_queues = namespaces.clone().any(|one| one["type"] == "ipc");
        Some(Self { label, has_own_queues, message_queues, masked })
    }

    /// Does it in the container whose first process is `pid`, before its program runs.
    pub(super) fn carry_out(&self, pid: i32) -> io::Result<()> {
        for path in &self.message_queues {
            let opened = in_container::open(pid, path, OFlags::RDONLY | OFlags::DIRECTORY);
            // Another mount, which may be the host's, may cover it.
            let Ok(queues) = opened else { continue };
            let device = statat(&queues, c"", AtFlags::EMPTY_PATH)?.st_dev;
            let is_the_hosts = self.has_own_queues && in_container::is_mounted_here(device)?;
            if fstatfs(&queues)?.f_type == QUEUES_MAGIC && !is_the_hosts {
                fsetxattr(&queues, ATTRIBUTE, self.label.as_bytes(), XattrFlags::empty())?;
            }
        }
        if self.masked.is_empty() {
            return Ok(());
        }
        let open = |path| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let namespace = open(format!("/proc/{pid}/ns/mnt"))?;
        let root = open(format!("/proc/{pid}/root"))?;
        let null = null(&root)?;
        let owner = root_of(pid)?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| self.mask_inside(&namespace, &root, &null, &owner));
            let panicked = |_| io::Error::other("the thread in the mount namespace panicked");
            inside.join().map_err(panicked)?
        })
    }

    /// Mounts are made within their namespace, where only a thread whose root and working directory
    /// are its own can go.
    fn mask_inside(
        &self,
        namespace: &OwnedFd,
        root: &OwnedFd,
        null: &OwnedFd,
        owner: &[(&str, String)],
    ) -> io::Result<()> {
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        self.masked.iter().try_for_each(|path| {
            let place = match in_container::open_in(root, path, OFlags::PATH) {
                // What is not there needs no mask.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    return Ok(());
                }
                place => place?,
            };
            let mask = if status(&place)?.0 == FileType::Directory {
                empty_directory(&self.label, owner)?
            } else {
                let whole = OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLONE;
                open_tree(null, c"", whole | OpenTreeFlags::OPEN_TREE_CLOEXEC)?
            };
            let by_descriptor =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            Ok(move_mount(&mask, c"", &place, c"", by_descriptor)?)
        })
    }
}

fn paths<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<PathBuf> {
    values.filter_map(Value::as_str).map(PathBuf::from).collect()
}

/// The container's own `/dev/null`, if it is that.
fn null(root: &OwnedFd) -> io::Result<OwnedFd> {
    let null = in_container::open_in(root, "/dev/null".as_ref(), OFlags::PATH)?;
    if status(&null)? == (FileType::CharacterDevice, NULL) {
        Ok(null)
    } else {
        Err(io::Error::other("the container's /dev/null is another file"))
    }
}

/// What a file is, and the numbers of a device.
fn status(file: &OwnedFd) -> io::Result<(FileType, (u32, u32))> {
    let status = statat(file, c"", AtFlags::EMPTY_PATH)?;
    let numbers = (major(status.st_rdev), minor(status.st_rdev));
    Ok((FileType::from_raw_mode(status.st_mode), numbers))
}

/// The options that make root of the process's user namespace a tmpfs's owner, if that is not krun's own.
fn root_of(pid: i32) -> io::Result<Vec<(&'static str, String)>> {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/user"));
    if namespace(&pid.to_string())?.ino() == namespace("self")?.ino() {
        return Ok(Vec::new());
    }
    let mut options = Vec::new();
    for (option, map) in [("uid", "uid_map"), ("gid", "gid_map")] {
        let map = fs::read_to_string(format!("/proc/{pid}/{map}"))?;
        options.extend(root_in(&map).map(|id| (option, id.to_owned())));
    }
    Ok(options)
}

/// What a namespace's 0 is here.
fn root_in(map: &str) -> Option<&str> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace();
        (numbers.next() == Some("0")).then(|| numbers.next()).flatten()
    })
}

/// A read-only tmpfs, nowhere mounted yet.
fn empty_directory(label: &str, owner: &[(&str, String)]) -> io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"tmpfs")?;
    fsconfig_set_flag(&context, c"ro")?;
    fsconfig_set_string(&context, c"context", label)?;
    for (option, id) in owner {
        fsconfig_set_string(&context, *option, id.as_str())?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::{LabelLater, root_in, root_of, spell_out};

    #[test]
    fn what_the_kernel_labels_by_itself_has_no_context() {
        let mut document = json!({
            "linux": { "mountLabel": "u:r:t:s0:c1,c2", "maskedPaths": ["/proc/acpi"], "sysctl": {} },
            "mounts": [
                { "destination": "/dev", "type": "tmpfs", "options": ["mode=755"] },
                { "destination": "/run", "type": "tmpfs" },
                { "destination": "/dev/mqueue", "type": "mqueue", "options": ["noexec"] },
                { "destination": "/a", "type": "none", "options": ["rbind"] },
                { "destination": "/proc", "type": "proc", "options": [] },
            ],
        });
        let later = LabelLater::of(&document);

        spell_out(&mut document);

        assert_eq!(document["mounts"][0]["options"], json!(["mode=755", "context=u:r:t:s0:c1,c2"]));
        assert_eq!(document["mounts"][1]["options"], json!(["context=u:r:t:s0:c1,c2"]));
        assert_eq!(document["mounts"][2]["options"], json!(["noexec"]));
        assert_eq!(document["mounts"][3]["options"], json!(["rbind"]));
        assert_eq!(document["mounts"][4]["options"], json!([]));
        assert_eq!(document["linux"], json!({ "sysctl": {} }));
        let expected = LabelLater {
            label: "u:r:t:s0:c1,c2".into(),
            has_own_queues: false,
            message_queues: vec![PathBuf::from("/dev/mqueue")],
            masked: vec![PathBuf::from("/proc/acpi")],
        };
        assert_eq!(later, Some(expected));
    }

    #[test]
    fn only_another_namespaces_root_is_named() {
        let own = i32::try_from(std::process::id()).unwrap();

        assert_eq!(root_of(own).unwrap(), []);
        assert_eq!(root_in("  1  5 1\n  0  100000  65536\n"), Some("100000"));
        assert_eq!(root_in("1 100000 65536\n"), None);
    }

    #[test]
    fn an_empty_label_is_none() {
        let mut document = json!({
            "linux": { "mountLabel": "", "maskedPaths": ["/proc/acpi"] },
            "mounts": [{ "destination": "/dev", "type": "tmpfs" }],
        });
        let later = LabelLater::of(&document);

        spell_out(&mut document);

        assert_eq!(document["linux"], json!({ "maskedPaths": ["/proc/acpi"] }));
        assert_eq!(document["mounts"], json!([{ "destination": "/dev", "type": "tmpfs" }]));
        assert_eq!(later, None);
    }
}
