//! krun without the host's full rights: as an ordinary user, or as root of a user namespace that an
//! engine, such as podman, has made for one.
//!
//! What is different then, as with runc: the state is kept in the user's own directory, a cgroup that
//! cannot be had is done without, and a bundle's user namespace has to be there before anything else.

mod hidden_cgroups;
mod id_maps;
mod new_namespace;
mod ready_namespace;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use krun_sys::is_in_user_namespace;
use rustix::process::geteuid;

pub(crate) use self::hidden_cgroups::{HiddenCgroups, are_hideable};
pub(crate) use self::new_namespace::{NamespaceError, enter};
pub(crate) use self::ready_namespace::ReadyNamespace;
use crate::cli::{Global, Rootless};

/// Where root's containers are remembered.
const ROOTS_DIRECTORY: &str = "/run/krun";

/// The directory of the containers' state.
pub(crate) fn state_root(global: &Global) -> PathBuf {
    global.root.clone().unwrap_or_else(|| {
        let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
        let runtime = runtime.filter(|_| has_own_runtime_directory());
        runtime.map_or_else(|| ROOTS_DIRECTORY.into(), |path| Path::new(&path).join("krun"))
    })
}

/// The root of a user namespace may be a container's, which has the variable by accident.
fn has_own_runtime_directory() -> bool {
    !geteuid().is_root()
        || is_in_user_namespace() && env::var_os("USER").is_none_or(|user| user != "root")
}

/// Whether a cgroup that this process has no right to is done without.
pub(crate) fn forgives_cgroups(global: &Global) -> bool {
    match global.rootless {
        Rootless::Auto => !geteuid().is_root() || is_in_user_namespace(),
        Rootless::Always => true,
        Rootless::Never => false,
    }
}

/// The number that this user has outside of a user namespace that he is in.
pub(crate) fn id_outside() -> u32 {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let own = geteuid().as_raw();
    mapped(&map, own).unwrap_or(own)
}

/// Where a map has an inner number: it has lines of a first inner one, a first outer one, and a count.
fn mapped(map: &str, inner: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().flat_map(str::parse).collect();
        let &[first_inner, first_outer, count] = numbers.as_slice() else { return None };
        let below = inner.checked_sub(first_inner)?;
        (below < count).then(|| first_outer.saturating_add(below))
    })
}

#[cfg(test)]
mod tests {
    use super::mapped;

    #[test]
    fn a_number_is_found_in_the_range_it_is_in() {
        let map = "         0       1000          1\n         1     100000      65536\n";

        for (inner, outer) in
            [(0, Some(1000)), (1, Some(100_000)), (65536, Some(165_535)), (65537, None)]
        {
            assert_eq!(mapped(map, inner), outer);
        }
        assert_eq!(mapped("", 0), None);
    }
}
