//! The mount of type `cgroup`, as libcontainer is to make it where hierarchies are of version 1.
//!
//! A bundle asks for one mount, which stands for a tmpfs with a directory for every hierarchy. libcontainer
//! forgets the options of these: what runc mounts read-only could be written, limits included.
//! And in a PID namespace that is joined it takes the number its process has there for that of a
//! process of the host, which may be another's or nobody's. So it is asked for the parts one by one.

use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use procfs::{ProcError, ProcessCGroup};
use serde_json::{Value, json};

use crate::container::cgroups::{self, CgroupError};

/// Where the host's hierarchies are.
const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The controllers in whose hierarchies libcontainer makes a cgroup for the container.
const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "hugetlb",
    "memory",
    "pids",
    "perf_event",
    "blkio",
    "net_prio",
    "net_cls",
    "freezer",
];

/// A hierarchy of the host's that the container is to see.
#[derive(Debug)]
struct Hierarchy {
    /// The controllers, or the name of one without controllers, as the directory is called.
    name: String,
    /// The container's cgroup in it.
    directory: PathBuf,
}

/// Replaces mounts of type `cgroup` by their parts, for a container whose cgroup this is.
pub(super) fn replace(document: &mut Value, cgroup: &Path) -> Result<(), CgroupError> {
    let Some(mounts) = document.get_mut("mounts").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    if cgroups::is_version_2() || !mounts.iter().any(is_of_cgroups) {
        return Ok(());
    }
    let hierarchies = hierarchies(cgroup)?;
    let parts = |mount: Value| {
        if is_of_cgroups(&mount) { parts(&mount, &hierarchies) } else { vec![mount] }
    };
    *mounts = std::mem::take(mounts).into_iter().flat_map(parts).collect();
    Ok(())
}

fn is_of_cgroups(mount: &Value) -> bool {
    mount["type"] == "cgroup"
}

/// The tmpfs, then a bind mount with the bundle's options for every name of every hierarchy.
fn parts(mount: &Value, hierarchies: &[Hierarchy]) -> Vec<Value> {
    let destination = Path::new(mount["destination"].as_str().unwrap_or(HIERARCHIES));
    let tmpfs = json!({
        "destination": destination, "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "noexec", "mode=755"]
    });
    let mut options = vec![json!("bind")];
    options.extend(mount["options"].as_array().into_iter().flatten().cloned());
    let mut parts = vec![tmpfs];
    for hierarchy in hierarchies {
        // Controllers that share a hierarchy are found by their own names, too.
        let single = hierarchy.name.split(',').filter(|name| *name != hierarchy.name);
        for name in [hierarchy.name.as_str()].into_iter().chain(single) {
            parts.push(json!({
                "destination": destination.join(name), "type": "bind",
                "source": hierarchy.directory, "options": options
            }));
        }
    }
    parts
}

fn hierarchies(cgroup: &Path) -> Result<Vec<Hierarchy>, ProcError> {
    let own = Process::myself()?;
    let memberships = own.cgroups()?.0;
    let mut found = Vec::new();
    for mount in own.mountinfo()? {
        let is_hierarchy = mount.fs_type == "cgroup" && mount.mount_point.starts_with(HIERARCHIES);
        let Some(name) = mount.mount_point.file_name().filter(|_| is_hierarchy) else { continue };
        let is_libcontainers =
            CONTROLLERS.iter().any(|controller| mount.super_options.contains_key(*controller));
        // In the others the container stays where krun is.
        let place = if is_libcontainers {
            Some(cgroup.to_owned())
        } else {
            memberships.iter().find(|one| is_in(one, &mount)).and_then(|one| below(one, &mount))
        };
        if let Some(place) = place {
            let directory = mount.mount_point.join(place.strip_prefix("/").unwrap_or(&place));
            found.push(Hierarchy { name: name.to_string_lossy().into_owned(), directory });
        }
    }
    Ok(found)
}

/// Whether a membership is one in the hierarchy that is mounted here.
fn is_in(membership: &ProcessCGroup, mount: &MountInfo) -> bool {
    let is_option = |controller: &String| match controller.strip_prefix("name=") {
        Some(name) => mount.super_options.get("name").is_some_and(|it| it.as_deref() == Some(name)),
        None => mount.super_options.contains_key(controller),
    };
    membership.controllers.iter().any(is_option)
}

/// The cgroup's path below the mount, if it can be seen there.
fn below(membership: &ProcessCGroup, mount: &MountInfo) -> Option<PathBuf> {
    let path = Path::new(&membership.pathname);
    path.strip_prefix(&mount.root).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Hierarchy, parts};

    #[test]
    fn every_part_has_the_options_of_the_whole() {
        let mount = json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nosuid", "ro"]
        });
        let shared = Hierarchy { name: "cpu,cpuacct".to_owned(), directory: "/host/it".into() };

        let parts = parts(&mount, &[shared]);

        let places: Vec<_> = parts.iter().map(|part| &part["destination"]).collect();
        assert_eq!(
            places,
            [
                "/sys/fs/cgroup",
                "/sys/fs/cgroup/cpu,cpuacct",
                "/sys/fs/cgroup/cpu",
                "/sys/fs/cgroup/cpuacct"
            ]
        );
        for part in &parts[1..] {
            assert_eq!(part["source"], "/host/it");
            assert_eq!(part["options"], json!(["bind", "nosuid", "ro"]));
        }
    }
}
