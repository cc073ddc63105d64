//! The OCI hook points: programs of the host's that run at fixed moments of a container's
//! life, with the container's state on standard input.
//!
//! This crate runs the hooks of one [`Point`] in their order: [`run()`] stops at the first that
//! fails, [`run_all`] does not. *When* a point is reached, and what a failure means there, is krun's part.
#![forbid(unsafe_code)]

mod point;
mod run;

pub use point::Point;
pub use run::{Failure, HookError, run, run_all};
