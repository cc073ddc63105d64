//! The mount of type `cgroup`, on hosts with version 1.
//!
//! It stands for many: one for every hierarchy. libcontainer makes them all writable whatever the
//! options say, and shows the whole of a hierarchy that the container has no place in. So they are
//! spelt out before it sees them: a tmpfs, and in it the container's own part of each hierarchy, with
//! the options of the bundle, as runc does it.

use std::io;
use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use rustix::fs::symlinkat;
use rustix::io::Errno;
use serde_json::{Value, json};

use super::in_container;

/// Where hierarchies are mounted.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The container's part of one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The last part of where it is mounted.
    name: String,
    /// The directory on the host.
    directory: PathBuf,
}

/// The parts that a container with these directories has of what is mounted here.
pub(super) fn parts(mounts: &[MountInfo], directories: &[PathBuf]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for mount in mounts {
        let is_hierarchy =
            mount.fs_type == "cgroup" && mount.mount_point.parent() == Some(Path::new(HIERARCHIES));
        let directory = directories.iter().find(|one| one.starts_with(&mount.mount_point));
        let name = mount.mount_point.file_name().and_then(|name| name.to_str());
        if let (true, Some(directory), Some(name)) = (is_hierarchy, directory, name)
            && !parts.iter().any(|part| part.name == name)
        {
            parts.push(Part { name: name.into(), directory: directory.clone() });
        }
    }
    parts
}

/// Replaces each mount of type `cgroup` by what it stands for.
pub(super) fn spell_out(mounts: &mut Value, parts: &[Part]) {
    let Some(mounts) = mounts.as_array_mut() else { return };
    *mounts = mounts
        .drain(..)
        .flat_map(|mount| if is_cgroup(&mount) { spelt_out(&mount, parts) } else { vec![mount] })
        .collect();
}

fn is_cgroup(mount: &Value) -> bool {
    mount["type"] == "cgroup"
}

fn spelt_out(mount: &Value, parts: &[Part]) -> Vec<Value> {
    let destination = Path::new(mount["destination"].as_str().unwrap_or_default());
    let mut options = mount["options"].as_array().cloned().unwrap_or_default();
    options.push(json!("rbind"));
    let place = json!({
        "destination": destination, "type": "tmpfs", "source": "tmpfs",
        "options": ["noexec", "nosuid", "nodev", "mode=755"],
    });
    let bound = parts.iter().map(|part| {
        json!({
            "destination": destination.join(&part.name), "type": "bind",
            "source": part.directory, "options": options,
        })
    });
    [place].into_iter().chain(bound).collect()
}

/// Gives each controller of a hierarchy with several a name of its own, in the container whose first
/// process is `pid`.
pub(super) fn link(document: &Value, parts: &[Part], pid: i32) -> io::Result<()> {
    let mounts = document["mounts"].as_array().into_iter().flatten();
    for destination in mounts.filter(|mount| is_cgroup(mount)).map(|mount| &mount["destination"]) {
        let path = Path::new(destination.as_str().unwrap_or_default());
        let Some(place) = in_container::own_tmpfs(pid, path)? else { continue };
        for (controller, name) in links(parts) {
            match symlinkat(name, &place, controller) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

fn links(parts: &[Part]) -> impl Iterator<Item = (&str, &str)> {
    let several = parts.iter().map(|part| part.name.as_str()).filter(|name| name.contains(','));
    several.flat_map(|name| name.split(',').map(move |controller| (controller, name)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use procfs::process::MountInfo;
    use serde_json::json;

    use super::{Part, links, parts, spell_out};

    fn part(name: &str) -> Part {
        Part { name: name.into(), directory: format!("/sys/fs/cgroup/{name}/web").into() }
    }

    #[test]
    fn only_hierarchies_the_container_is_in_have_a_part() {
        let lines = [
            "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            "31 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
            "32 25 0:28 / /sys/fs/cgroup/openrc rw - cgroup cgroup rw,name=openrc",
            "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
            "34 25 0:27 / /mnt/pids rw - cgroup cgroup rw,pids",
        ];
        let mounts = lines.map(|line| MountInfo::from_line(line).unwrap());
        let directories = ["unified", "pids", "cpu,cpuacct"]
            .map(|name| PathBuf::from(format!("/sys/fs/cgroup/{name}/web")));

        assert_eq!(parts(&mounts, &directories), [part("pids"), part("cpu,cpuacct")]);
    }

    #[test]
    fn every_part_has_the_options_of_the_bundle() {
        let mut mounts = json!([
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "ro"] },
        ]);

        spell_out(&mut mounts, &[part("pids")]);

        assert_eq!(mounts[0]["type"], "proc");
        assert_eq!(mounts[1]["type"], "tmpfs");
        let expected = json!({
            "destination": "/sys/fs/cgroup/pids", "type": "bind",
            "source": "/sys/fs/cgroup/pids/web", "options": ["nosuid", "ro", "rbind"],
        });
        assert_eq!(mounts[2], expected);
    }

    #[test]
    fn controllers_that_share_a_hierarchy_are_linked() {
        let parts = [part("pids"), part("cpu,cpuacct")];

        let found: Vec<_> = links(&parts).collect();

        assert_eq!(found, [("cpu", "cpu,cpuacct"), ("cpuacct", "cpu,cpuacct")]);
    }
}
