//! `exec --cgroup`: a program in cgroups below the container's, which are there.
//!
//! On version 1 libcontainer would make them, and knows one path for all hierarchies. So a child of krun's enters
//! them, one in each hierarchy, hides the hierarchies from libcontainer and calls it. On version 2 libcontainer
//! does it, and krun looks whether the cgroup is there.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process;

use procfs::process::MountInfo;

use crate::container::cgroups;
use crate::container::memberships;
use crate::container::record::Record;
use crate::error_chain::as_go_writes;
use crate::rootless::HiddenCgroups;

/// The file that processes are written to.
const PROCESSES: &str = "cgroup.procs";

/// Why there are no such cgroups. runc's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubCgroupError {
    /// Too many parts.
    #[error("invalid --cgroup argument: {0}")]
    Invalid(String),
    /// Of several ones each has a controller.
    #[error("invalid --cgroup argument: {0} (missing <controller>: prefix)")]
    NoController(String),
    /// The container has no cgroup of this controller.
    #[error("unknown controller {0} in SubCgroupPaths")]
    UnknownController(String),
    /// It leads out of the container's.
    #[error("{0} is not a sub cgroup path")]
    Outside(String),
    /// Nobody can be put there.
    #[error("unable to start container process: {0}")]
    Enter(String),
}

/// Where below the container's cgroups a program is to be.
#[derive(Debug)]
pub(super) enum SubCgroup {
    /// In these themselves.
    Same,
    /// Where libcontainer is to put it.
    ByLibcontainer(String),
    /// In these, in each hierarchy.
    ByKrun(Vec<PathBuf>),
}

impl SubCgroup {
    /// What `--cgroup`, given once or more, comes to.
    pub(super) fn of(
        asked: &[String],
        record: &Record,
        hierarchies: &[MountInfo],
    ) -> Result<Self, SubCgroupError> {
        let asked = parse(asked)?;
        let own = [&record.cgroups[..], &record.memberships].concat();
        let mut places = own.clone();
        for (controller, path) in &asked {
            let mut is_known = false;
            for (own, place) in own.iter().zip(&mut places) {
                if controller.as_ref().is_none_or(|name| has_controller(hierarchies, own, name)) {
                    *place = below(own, path)?;
                    is_known = true;
                }
            }
            if let (Some(name), false) = (controller, is_known) {
                return Err(SubCgroupError::UnknownController(name.clone()));
            }
        }
        if places == own {
            return Ok(Self::Same);
        }
        match asked.into_iter().next() {
            Some((None, path)) if cgroups::is_version_2() => {
                places.iter().try_for_each(|place| demand(place))?;
                let way = own.first().zip(places.first()).and_then(|(own, at)| way(own, at));
                way.map(Self::ByLibcontainer).ok_or(SubCgroupError::Outside(path))
            }
            _ => Ok(Self::ByKrun(places)),
        }
    }

    /// What libcontainer is to be told.
    pub(super) fn for_libcontainer(&self) -> Option<String> {
        let Self::ByLibcontainer(path) = self else { return None };
        Some(path.clone())
    }

    /// The directories that a child of krun's is to enter in place of `own`, the container's.
    pub(super) fn directories<'a>(&'a self, own: &'a [PathBuf]) -> &'a [PathBuf] {
        if let Self::ByKrun(places) = self { places } else { own }
    }

    /// The path that libcontainer finds where the hierarchies are hidden from it.
    pub(super) fn hidden_path(&self) -> Option<&'static str> {
        self.is_by_krun().then_some(HiddenCgroups::PATH)
    }

    /// Whether a child of krun's is to enter the cgroups.
    pub(super) fn is_by_krun(&self) -> bool {
        matches!(self, Self::ByKrun(_))
    }
}

/// Puts this process into all of them.
pub(super) fn enter(directories: &[PathBuf]) -> Result<(), String> {
    let fault = |directory: &PathBuf, error: io::Error| refused(directory, &error);
    directories
        .iter()
        .try_for_each(|one| memberships::enter(one).map_err(|error| fault(one, error)))
}

fn demand(directory: &Path) -> Result<(), SubCgroupError> {
    let there = fs::File::options().write(true).open(directory.join(PROCESSES));
    there.map(drop).map_err(|error| SubCgroupError::Enter(refused(directory, &error)))
}

fn refused(directory: &Path, error: &io::Error) -> String {
    let (pid, file) = (process::id(), directory.join(PROCESSES));
    let words = error.to_string();
    let words = as_go_writes(&words);
    format!(
        "error adding pid {pid} to cgroups: failed to write {pid}: openat2 {}: {words}",
        file.display()
    )
}

/// Paths, each with its controller, or one for all.
fn parse(asked: &[String]) -> Result<Vec<(Option<String>, String)>, SubCgroupError> {
    let mut parsed = Vec::new();
    for one in asked {
        match one.split_once(':') {
            None if asked.len() > 1 => return Err(SubCgroupError::NoController(one.clone())),
            None => parsed.push((None, one.clone())),
            Some((_, path)) if path.contains(':') => {
                return Err(SubCgroupError::Invalid(one.clone()));
            }
            Some((controllers, path)) => {
                let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
                parsed.extend(controllers.split(',').map(|name| (named(name), path.to_owned())));
            }
        }
    }
    // As for runc a path without a controller is for all, whatever else is said.
    match parsed.iter().rposition(|(controller, _)| controller.is_none()) {
        Some(last) => Ok(vec![parsed.swap_remove(last)]),
        None => Ok(parsed),
    }
}

fn has_controller(hierarchies: &[MountInfo], directory: &Path, name: &str) -> bool {
    let holds = |mount: &&MountInfo| directory.starts_with(&mount.mount_point);
    let deepest = |mount: &&MountInfo| mount.mount_point.components().count();
    let mount = hierarchies.iter().filter(holds).max_by_key(deepest);
    mount.is_some_and(|mount| mount.fs_type == "cgroup" && memberships::has_option(mount, name))
}

fn below(own: &Path, path: &str) -> Result<PathBuf, SubCgroupError> {
    let mut place = own.to_owned();
    for step in Path::new(path).components() {
        match step {
            Component::Normal(name) => place.push(name),
            Component::ParentDir => _ = place.pop(),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let is_below = place.starts_with(own);
    is_below.then_some(place).ok_or_else(|| SubCgroupError::Outside(path.to_owned()))
}

/// From a cgroup to one below it, without a slash at the beginning: libcontainer takes such a path for one of the host's.
fn way(own: &Path, place: &Path) -> Option<String> {
    Some(place.strip_prefix(own).ok()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SubCgroupError, below, parse, way};

    #[test]
    fn a_path_is_for_one_controller_or_for_all() {
        let parsed = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(&words).map_err(|error| error.to_string())
        };
        let pair = |name: &str, path: &str| (Some(name.to_owned()), path.to_owned());

        assert_eq!(parsed(&["a/b"]), Ok(vec![(None, "a/b".to_owned())]));
        assert_eq!(parsed(&["cpu,cpuacct:a"]), Ok(vec![pair("cpu", "a"), pair("cpuacct", "a")]));
        assert_eq!(
            parsed(&["cpu:a", "b"]).unwrap_err(),
            "invalid --cgroup argument: b (missing <controller>: prefix)"
        );
        assert_eq!(parsed(&["cpu:a:b"]).unwrap_err(), "invalid --cgroup argument: cpu:a:b");
        assert_eq!(parsed(&[":a"]), Ok(vec![(None, "a".to_owned())]));
        assert_eq!(parsed(&["cpu:a", ":b", "memory:c"]), Ok(vec![(None, "b".to_owned())]));
        assert_eq!(parsed(&["cpu,:a"]), Ok(vec![(None, "a".to_owned())]));
    }

    #[test]
    fn libcontainer_is_told_the_way_from_the_containers_cgroup() {
        let own = Path::new("/sys/fs/cgroup/web");
        for path in ["a/b", "/a/b/", "../web/a/./b", "/a/c/../b"] {
            let place = below(own, path).unwrap();

            assert_eq!(way(own, &place).as_deref(), Some("a/b"), "{path}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_containers() {
        let own = Path::new("/sys/fs/cgroup/cpu/web");

        assert_eq!(below(own, "/").as_deref(), Ok(own));
        assert_eq!(below(own, "a/../b/"), Ok(own.join("b")));
        for path in ["..", "../web2", "a/../../..", "/../"] {
            assert_eq!(below(own, path), Err(SubCgroupError::Outside(path.to_owned())));
        }
    }
}
