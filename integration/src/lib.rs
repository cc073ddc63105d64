//! What tests need to drive the built `krun` and `km` with real programs and real engines.
//!
//! # How expectations are made
//!
//! No test here says what a program prints. The same program runs natively, or in a container of
//! runc's, and that result is the expectation. So a test is proven before it judges us.
//!
//! # What is left behind
//!
//! Everything that is started is ended by its pid when its owner is dropped, and everything that
//! is mounted or made lies below a temporary directory and one cgroup with a name of its own.

#![forbid(unsafe_code)]

pub mod built;
pub mod bundle;
pub mod careless;
pub mod changed_bundle;
pub mod conmon;
pub mod containerd;
pub mod cri;
pub mod dockerd;
pub mod documents;
pub mod footprint;
pub mod guests;
pub mod native_and_km;
pub mod network;
pub mod node;
pub mod ordinary_user;
pub mod outcome;
pub mod podman;
pub mod rootfs;
pub mod runtime;
pub mod sleeper;
pub mod software;
