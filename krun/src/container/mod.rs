//! A container: its name, its recorded state, its process, its cgroups.

pub(crate) mod cgroups;
pub(crate) mod devices;
pub(crate) mod forerunner;
pub(crate) mod freezer;
pub(crate) mod id;
pub(crate) mod limits;
pub(crate) mod memberships;
pub(crate) mod oom;
pub(crate) mod pidfd_socket;
pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod start;
pub(crate) mod start_gate;
pub(crate) mod stats;
pub(crate) mod store;
