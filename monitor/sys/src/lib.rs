//! Every `unsafe` operation of the monitor, behind safe functions.
//!
//! The one idea that carries them: all that the guest can name lies below
//! [`guest_memory::GUEST_END`], nothing of the monitor's own ever does, and
//! between the two lies a gap of tebibytes in which nothing is mapped. So a host
//! call that follows only guest pointers can disturb only the guest.
#![expect(unsafe_code, reason = "this crate exists to hold the monitor's unsafe operations")]

pub mod abi;
pub mod aio;
pub mod asking;
pub mod auxiliary;
pub mod clone;
pub mod descriptors;
pub mod files;
pub mod forward;
pub mod frames;
pub mod gate;
pub mod guest_copy;
pub mod guest_memory;
pub mod host_call;
pub mod host_vdso;
pub mod kkm;
pub mod kvm;
pub mod listing;
pub mod locking;
pub mod messages;
pub mod named;
pub mod nested;
pub mod polling;
pub mod proc_files;
mod proc_mount;
mod proc_name;
pub mod process;
pub mod process_view;
pub mod procfs;
pub mod robust;
pub mod seccomp;
pub mod signals;
#[cfg(feature = "taken-over")]
pub mod taken_over;
pub mod threads;
pub mod transfer;

/// The guest's errors and ours, as Linux numbers them.
pub use nix::errno::Errno;
