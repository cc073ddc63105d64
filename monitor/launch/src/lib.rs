//! The launch record: what krun tells km beyond what `execve(2)` itself carries.
//!
//! krun executes km with the *guest's* arguments and environment, so that
//! `/proc/<pid>/cmdline` is the guest's and Linux's own limits (`E2BIG`) hold.
//! One variable is put in front of that environment, [`LAUNCH_VARIABLE`]; it
//! names a descriptor that holds an encoded [`LaunchRecord`].
//!
//! This crate has no logic: a structure, its bytes, and a version.
#![forbid(unsafe_code)]

mod record;
mod version;

pub use record::{Action, Descriptors, Device, DeviceKind, LaunchRecord};
pub use version::{DecodeError, VERSION};

/// The first variable of km's environment: `KM_LAUNCH=<descriptor>`.
///
/// Only the first position counts, so that a guest's variable of this name
/// means nothing.
pub const LAUNCH_VARIABLE: &str = "KM_LAUNCH";

/// The line on standard error by which [`Action::Check`] says that the program can be run. It comes
/// before the end of the process, which takes longer than all of the check: Linux takes the virtual
/// machine apart.
pub const CAN_RUN: &str = "can run";
