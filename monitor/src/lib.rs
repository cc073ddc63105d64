//! The monitor: runs one Linux program in a virtual machine, without a guest
//! kernel. The guest is one process at level 3; its system calls leave the
//! machine, and are answered here or made on the host.
//!
//! From below: [`arch`] and [`layout`] say what the guest's CPU and addresses
//! look like, [`platform`] runs it, [`memory`], [`files`] and [`signal`] keep
//! what Linux keeps of a process, [`seccomp`] holds filters, [`loader`], [`thread`] and [`process`] make and
//! end it, [`syscall`] answers it, [`run_loop`] turns the crank, and [`machine`]
//! and [`command_line`] put it all together.
#![forbid(unsafe_code)]

pub mod arch;
pub mod command_line;
pub mod exitless;
pub mod files;
pub mod layout;
pub mod loader;
pub mod machine;
pub mod memory;
pub mod platform;
pub mod process;
pub mod run_loop;
pub mod seccomp;
pub mod signal;
pub mod syscall;
pub mod thread;
