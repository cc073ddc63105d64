//! OCI documents: reading `config.json`, and the JSON krun prints.
//!
//! Bytes in, values out. Nothing here opens a file or knows the time, so that everything
//! can be tested, fuzzed and run under miri without a container.
//!
//! * [`Config`] is a `config.json` that has passed every check; [`ConfigError`] has all its
//!   faults at once.
//! * [`State`] is what `krun state` prints and what hooks read on standard input.
//! * [`features::document`] is what `krun features` prints.
//! * [`example::document`] is what `krun spec` writes.
//! * [`log_line`] writes the lines that callers look for in `--log`.
#![forbid(unsafe_code)]

mod check;
mod config;
pub mod example;
mod fault;
pub mod features;
mod field;
pub mod log_line;
mod state;

pub use check::LAST_ID;
pub use config::Config;
pub use fault::{ConfigError, Fault};
pub use oci_spec::runtime::{
    Hook, LinuxDeviceCgroup as DeviceRule, LinuxDeviceType as DeviceType, Spec,
};
pub use state::{State, Status};

/// The newest version of the runtime specification whose documents krun reads and writes.
pub const OCI_VERSION: &str = "1.3.0";
