//! The hierarchies without limits that runc puts a container into and libcontainer does not.
//!
//! These are systemd's own (`name=systemd`), those of controllers that libcontainer does not know,
//! and the one of version 2 on a hybrid host. A process that stayed outside would see, and where they
//! are mounted reach, the host's. libcontainer's processes are made by krun's, and inherit its places:
//! so krun itself enters for that long, or a child of krun's does that calls libcontainer. As with runc it is no
//! fault if a hierarchy refuses.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::{MountInfo, Process};
use rustix::fs::{Access, access};

use super::cgroups;

/// The controllers that libcontainer sees to.
const LIBCONTAINERS: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// Where a hybrid host has version 2.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// How long a directory that is in use is waited for, and how often it is looked at.
const REMOVAL_LIMIT: Duration = Duration::from_secs(1);
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

/// The directories that a cgroup at `path` has in such ones of these hierarchies, whether they exist or not.
pub(crate) fn directories(hierarchies: &[MountInfo], path: &Path) -> Vec<PathBuf> {
    if cgroups::is_version_2() {
        return Vec::new();
    }
    let relative = path.strip_prefix("/").unwrap_or(path);
    let mounts = hierarchies.iter().filter(|mount| is_left_out(mount));
    mounts.map(|mount| mount.mount_point.join(relative)).collect()
}

fn is_left_out(mount: &MountInfo) -> bool {
    match (mount.fs_type.as_str(), mount.super_options.get("name")) {
        ("cgroup", Some(name)) => name.as_deref() == Some("systemd"),
        ("cgroup", None) => {
            !LIBCONTAINERS.iter().any(|controller| mount.super_options.contains_key(*controller))
        }
        ("cgroup2", _) => mount.mount_point == Path::new(UNIFIED),
        _ => false,
    }
}

/// This process's stay in a container's directories, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Where the process is, and where it was before.
    places: Vec<(PathBuf, PathBuf)>,
}

impl Visit {
    /// Enters the directories, which are in these hierarchies, and makes them.
    pub(crate) fn begin(hierarchies: &[MountInfo], directories: &[PathBuf]) -> Self {
        Self::with(make_and_enter, hierarchies, directories)
    }

    /// Enters those of the directories that are there: a container that is being deleted must not get
    /// them back.
    pub(crate) fn to_existing(hierarchies: &[MountInfo], directories: &[PathBuf]) -> Self {
        Self::with(enter, hierarchies, directories)
    }

    fn with(
        enter: fn(&Path) -> io::Result<()>,
        hierarchies: &[MountInfo],
        directories: &[PathBuf],
    ) -> Self {
        let mut visit = Self { places: Vec::new() };
        for directory in directories {
            let home = home(hierarchies, directory).and_then(demand_return);
            match home.and_then(|home| enter(directory).map(|()| home)) {
                Ok(home) => visit.places.push((directory.clone(), home)),
                Err(error) => tracing::debug!("{}: not entered: {error}", directory.display()),
            }
        }
        visit
    }

    /// Whether this directory was entered.
    pub(crate) fn is_in(&self, directory: &Path) -> bool {
        self.places.iter().any(|(entered, _)| entered == directory)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        for (_, home) in &self.places {
            if let Err(error) = enter(home) {
                tracing::warn!("go back to cgroup {}: {error}", home.display());
            }
        }
    }
}

/// An ordinary user might not come back, and would be killed with the container.
fn demand_return(home: PathBuf) -> io::Result<PathBuf> {
    access(home.join("cgroup.procs"), Access::WRITE_OK)?;
    Ok(home)
}

fn make_and_enter(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    enter(directory)
}

/// Puts this process, which has one thread only, into the cgroup.
///
/// On version 1 a thread that moves itself alone is spared the wait that [`super::forerunner`] tells of.
pub(crate) fn enter(directory: &Path) -> io::Result<()> {
    let threads = directory.join("tasks");
    let file = if threads.exists() { threads } else { directory.join("cgroup.procs") };
    // 0 is whoever writes it.
    fs::write(file, "0")
}

/// Where this process is in the hierarchy that `directory` belongs to.
pub(crate) fn home(hierarchies: &[MountInfo], directory: &Path) -> io::Result<PathBuf> {
    let mount = hierarchies.iter().find(|mount| directory.starts_with(&mount.mount_point));
    let mount = mount.ok_or(io::ErrorKind::NotFound)?;
    let places = Process::myself().and_then(|own| own.cgroups()).map_err(io::Error::other)?;
    let place = places.into_iter().find(|place| match mount.fs_type.as_str() {
        "cgroup2" => place.hierarchy == 0,
        _ => place.controllers.iter().any(|name| has_option(mount, name)),
    });
    let path = PathBuf::from(place.ok_or(io::ErrorKind::NotFound)?.pathname);
    // What is mounted need not be the whole hierarchy.
    let below = path.strip_prefix(&mount.root).map_err(io::Error::other)?;
    Ok(mount.mount_point.join(below))
}

/// Whether `/proc/self/cgroup` means this mount by `name`.
pub(crate) fn has_option(mount: &MountInfo, name: &str) -> bool {
    match name.strip_prefix("name=") {
        Some(name) => {
            mount.super_options.get("name").is_some_and(|one| one.as_deref() == Some(name))
        }
        None => mount.super_options.contains_key(name),
    }
}

/// Removes the directories, in which nobody is any more, as far as they can be.
///
/// An `exec` that came too late may be on its way out.
pub(crate) fn remove(directories: &[PathBuf]) {
    let began = Instant::now();
    for directory in directories {
        while let Err(error) = cgroups::remove_tree(directory) {
            if !error.is_busy() || began.elapsed() > REMOVAL_LIMIT {
                tracing::debug!("{error}");
                break;
            }
            thread::sleep(REMOVAL_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::MountInfo;

    use super::{has_option, is_left_out};

    fn mount(kind: &str, directory: &str, options: &str) -> MountInfo {
        let line = format!(
            "31 25 0:27 / /sys/fs/cgroup/{directory} rw,relatime - {kind} cgroup {options}"
        );
        MountInfo::from_line(&line).unwrap()
    }

    #[test]
    fn what_libcontainer_leaves_out_is_known() {
        for (kind, directory, options, expected) in [
            ("cgroup", "systemd", "rw,xattr,name=systemd", true),
            ("cgroup", "openrc", "rw,name=openrc", false),
            ("cgroup", "rdma", "rw,rdma", true),
            ("cgroup", "cpu,cpuacct", "rw,cpu,cpuacct", false),
            ("cgroup2", "unified", "rw,nsdelegate", true),
            ("cgroup2", "elsewhere", "rw", false),
            ("tmpfs", "systemd", "rw,name=systemd", false),
        ] {
            assert_eq!(is_left_out(&mount(kind, directory, options)), expected, "{directory}");
        }
    }

    #[test]
    fn a_mount_is_found_by_the_name_in_proc() {
        let systemd = mount("cgroup", "systemd", "rw,name=systemd");
        let pids = mount("cgroup", "pids", "rw,pids");

        assert!(has_option(&systemd, "name=systemd") && !has_option(&systemd, "pids"));
        assert!(has_option(&pids, "pids") && !has_option(&pids, "name=pids"));
    }
}
