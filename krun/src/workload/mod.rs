//! The workload's last steps: from the container's first process to the monitor, or to the program
//! itself.
//!
//! What is here runs (or is prepared to run) as process 1 of the container, after
//! `pivot_root(2)`, with the workload's user and capabilities.

pub(crate) mod agent;
mod device;
mod environment;
pub(crate) mod executor;
pub(crate) mod inheritable;
mod launch;
pub(crate) mod monitor;
pub(crate) mod monitor_binary;
mod native;
pub(crate) mod open_files;
mod profile;
mod program;
pub(crate) mod stdio;
