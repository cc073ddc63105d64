//! The workload's last steps: from the container's first process to the monitor.
//!
//! What is here runs (or is prepared to run) as process 1 of the container, after
//! `pivot_root(2)`, with the workload's user and capabilities.

pub(crate) mod device;
mod environment;
pub(crate) mod executor;
pub(crate) mod filter;
pub(crate) mod launch;
pub(crate) mod monitor_binary;
mod program;
