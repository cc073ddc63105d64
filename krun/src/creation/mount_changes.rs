//! Options of mounts that libcontainer takes and does not carry out: propagation, `nosymfollow`, and what is
//! the file system's for all its mounts, such as `sync`.
//!
//! Without them a volume that is to be private would get the host's later mounts, and one that is to
//! be shared would not. They are set when all mounts are made, before the program starts, by a
//! thread that is in the container's mount namespace for that long.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use krun_sys::{MountAttributes, Propagation};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};
use serde_json::Value;

use super::{copy_up, in_container};

/// What a mount is still to become.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    destination: PathBuf,
    attributes: MountAttributes,
    /// Whether the mounts below become so, too.
    whole_tree: bool,
    /// What all mounts of the file system become.
    flags: Vec<&'static str>,
}

/// Flags of a file system that libcontainer takes for a mount's.
const FLAGS: [&str; 2] = ["sync", "mand"];

/// What is so without saying, or is of no effect on any file system of today's: `mount(8)`.
const WITHOUT_EFFECT: [&str; 7] =
    ["silent", "loud", "acl", "noacl", "iversion", "noiversion", "nolazytime"];

/// Takes out of a mount what libcontainer would take for the file system's own option, or do too early. `later`
/// are the mounts that follow.
pub(super) fn remove_options(mount: &mut Value, later: &[Value]) {
    let waits = is_filled(mount, later);
    let is_new = !is_bind(mount);
    if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
        options.retain(|option| {
            let is_without_effect = WITHOUT_EFFECT.iter().any(|one| option == one);
            let comes_later = option == "nosymfollow" || option == "symfollow";
            !(is_without_effect || comes_later || (waits && option == "ro"))
        });
        // Linux takes it when a file system is made only. libcontainer gives a file system what it does not know
        // itself; with no value this would be known to it.
        for option in options.iter_mut().filter(|option| is_new && **option == "dirsync") {
            *option = "dirsync=".into();
        }
    }
}

/// Whether something is still made in a mount, so that it can become read-only only when all is there. In
/// `/dev` libcontainer makes devices, and lets it be writable for good.
fn is_filled(mount: &Value, later: &[Value]) -> bool {
    let holds = |one: &Value| destination(one).starts_with(destination(mount));
    copy_up::is_wanted(mount)
        || destination(mount) == Path::new("/dev")
        || (mount["type"] == "tmpfs" && !is_bind(mount) && later.iter().any(holds))
}

/// What is to be changed, in the order of the mounts. What a later one covers cannot be reached.
pub(super) fn wanted(document: &Value) -> Vec<Change> {
    let mounts: &[Value] = document["mounts"].as_array().map_or(&[], Vec::as_slice);
    let mut changes = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let covered = mounts[index + 1..].iter().any(|later| {
            destination(mount).starts_with(destination(later))
                && destination(later) != Path::new("")
        });
        if !covered {
            changes.extend(changes_of(mount, is_filled(mount, &mounts[index + 1..])));
        }
    }
    changes
}

fn destination(mount: &Value) -> &Path {
    Path::new(mount["destination"].as_str().unwrap_or_default())
}

fn changes_of(mount: &Value, is_filled: bool) -> Vec<Change> {
    let mut own = MountAttributes::default();
    let mut changes = Vec::new();
    let change = |attributes, whole_tree| Change {
        destination: destination(mount).to_owned(),
        attributes,
        whole_tree,
        flags: Vec::new(),
    };
    let options = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for option in options {
        match option {
            "nosymfollow" => own.no_symlinks = true,
            "symfollow" => own.no_symlinks = false,
            "ro" => own.read_only = is_filled,
            "rw" => own.read_only = false,
            _ => {
                let recursive = option.strip_prefix('r').and_then(propagation);
                let found = propagation(option).or(recursive);
                let attributes = MountAttributes { propagation: found, ..Default::default() };
                changes.extend(found.map(|_| change(attributes, recursive.is_some())));
            }
        }
    }
    let flags = flags_of(mount);
    if own != MountAttributes::default() || !flags.is_empty() {
        changes.push(Change { flags, ..change(own, false) });
    }
    changes
}

/// A bind mount has the file system of somebody else, and cgroups have one for all.
fn flags_of(mount: &Value) -> Vec<&'static str> {
    let kind = mount["type"].as_str().unwrap_or_default();
    if is_bind(mount) || kind.starts_with("cgroup") {
        return Vec::new();
    }
    FLAGS.into_iter().filter(|flag| has(mount, flag)).collect()
}

fn is_bind(mount: &Value) -> bool {
    has(mount, "bind") || has(mount, "rbind")
}

fn has(mount: &Value, option: &str) -> bool {
    mount["options"].as_array().is_some_and(|list| list.iter().any(|one| one == option))
}

fn propagation(option: &str) -> Option<Propagation> {
    match option {
        "shared" => Some(Propagation::Shared),
        "slave" => Some(Propagation::Slave),
        "private" => Some(Propagation::Private),
        "unbindable" => Some(Propagation::Unbindable),
        _ => None,
    }
}

/// Makes the changes in the container whose first process is `pid`.
pub(super) fn make(changes: &[Change], pid: i32) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut opened = Vec::new();
    for change in changes {
        match in_container::open(pid, &change.destination, OFlags::PATH) {
            Ok(mount) => opened.push((mount, change)),
            // Covered by another mount.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    let namespace = format!("/proc/{pid}/ns/mnt");
    let namespace = openat(CWD, namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| make_inside(&namespace, &opened));
        inside.join().map_err(|_| io::Error::other("the thread in the mount namespace panicked"))?
    })
}

/// A mount can be changed only from within its namespace, and only a thread whose root and working
/// directory are its own can go there.
fn make_inside(namespace: &OwnedFd, opened: &[(OwnedFd, &Change)]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    setns(namespace, CloneFlags::CLONE_NEWNS)?;
    for (mount, change) in opened {
        set_flags(mount, &change.flags)?;
        match krun_sys::set_attributes(mount.as_fd(), change.attributes, change.whole_tree) {
            // Not the root of a mount: covered by another.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                tracing::debug!("{} is covered", change.destination.display());
            }
            done => done?,
        }
    }
    Ok(())
}

fn set_flags(mount: &OwnedFd, flags: &[&str]) -> io::Result<()> {
    if flags.is_empty() {
        return Ok(());
    }
    let context = match fspick(mount, c"", FsPickFlags::FSPICK_EMPTY_PATH) {
        // Covered by another mount.
        Err(Errno::INVAL) => return Ok(()),
        context => context?,
    };
    for flag in flags {
        fsconfig_set_flag(&context, *flag)?;
    }
    Ok(fsconfig_reconfigure(&context)?)
}

#[cfg(test)]
mod tests {
    use krun_sys::{MountAttributes, Propagation};
    use serde_json::{Value, json};

    use super::{remove_options, wanted};

    fn mount(destination: &str, options: &[&str]) -> Value {
        json!({ "destination": destination, "type": "tmpfs", "options": options })
    }

    #[test]
    fn each_option_has_its_change() {
        let cases = [
            (&["rbind", "rprivate", "ro"][..], Some(Propagation::Private), false, false, true),
            (&["bind", "shared"], Some(Propagation::Shared), false, false, false),
            (&["nosymfollow"], None, true, false, false),
            (&["tmpcopyup", "ro"], None, false, true, false),
        ];
        for (options, propagation, no_symlinks, read_only, whole_tree) in cases {
            let changes = wanted(&json!({ "mounts": [mount("/a", options)] }));

            let expected = MountAttributes { propagation, no_symlinks, read_only };
            assert_eq!(changes.len(), 1, "{options:?}");
            assert_eq!((changes[0].attributes, changes[0].whole_tree), (expected, whole_tree));
        }
    }

    #[test]
    fn a_new_file_system_has_flags() {
        let mounts = [mount("/a", &["mand", "ro", "sync"]), mount("/b", &["bind", "sync"])];

        let changes = wanted(&json!({ "mounts": mounts }));

        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].flags, ["sync", "mand"]);
    }

    #[test]
    fn options_without_a_change_have_none() {
        let mounts =
            json!([mount("/a", &["ro", "rro", "rbind", "relatime", "nosymfollow", "symfollow"])]);

        assert!(wanted(&json!({ "mounts": mounts })).is_empty());
    }

    #[test]
    fn what_is_covered_is_left_alone() {
        let mounts = [mount("/a/b", &["shared"]), mount("/a", &[]), mount("/a/c", &["slave"])];

        let changes = wanted(&json!({ "mounts": mounts }));

        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].destination, std::path::Path::new("/a/c"));
    }

    #[test]
    fn libcontainer_does_not_see_what_comes_later() {
        let mut copied = mount("/a", &["ro", "tmpcopyup", "nosymfollow", "silent"]);
        let mut plain = mount("/b", &["ro", "symfollow", "size=1m"]);

        remove_options(&mut copied, &[]);
        remove_options(&mut plain, &[]);

        assert_eq!(copied["options"], json!(["tmpcopyup"]));
        assert_eq!(plain["options"], json!(["ro", "size=1m"]));

        let mut new = mount("/c", &["dirsync"]);
        let mut bound = mount("/c", &["bind", "dirsync"]);
        remove_options(&mut new, &[]);
        remove_options(&mut bound, &[]);
        assert_eq!(new["options"], json!(["dirsync="]));
        assert_eq!(bound["options"], json!(["bind", "dirsync"]));
    }

    #[test]
    fn what_is_still_filled_becomes_read_only_last() {
        let bound = json!({ "destination": "/dev", "type": "bind", "options": ["bind", "ro"] });
        for (mut mount, later, is_late) in [
            (mount("/dev", &["ro"]), "/proc", true),
            (bound, "/proc", true),
            (mount("/a", &["ro"]), "/a/b", true),
            (mount("/a", &["ro", "bind"]), "/a/b", false),
            (mount("/a", &["ro"]), "/ab", false),
        ] {
            let later = [json!({ "destination": later, "type": "proc" })];
            let changes = wanted(&json!({ "mounts": [mount, later[0]] }));
            remove_options(&mut mount, &later);

            assert_eq!(changes.iter().any(|change| change.attributes.read_only), is_late);
            let is_left =
                mount["options"].as_array().is_some_and(|left| left.contains(&json!("ro")));
            assert_eq!(is_left, !is_late, "{mount}");
        }
    }
}
