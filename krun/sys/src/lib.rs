//! Every `unsafe` of krun: the system calls that no crate offers in a safe form.
//!
//! Each function takes owned or borrowed descriptors and gives a `Result`; what a caller
//! may rely on is said at the function. All else in krun is `#![forbid(unsafe_code)]`.

mod bpf;
mod child;
mod device;
mod disposition;
mod filter;
mod fork;
mod keyring;
mod mount;
mod placeholder;
mod signal;
mod users;

pub use bpf::{attach_device_program, load_device_program};
pub use child::spawn;
pub use device::{kkm_identity, kvm_api_version};
pub use disposition::{end_when_asked, reset_sigpipe};
pub use filter::{load_seccomp_filter, load_seccomp_listener};
pub use fork::{fork_for_status, fork_into, fork_to};
pub use keyring::join_session_keyring;
pub use mount::{
    MountAttributes, MountFlags, Propagation, make_read_only, map_owners, set_attributes, set_flags,
};
pub use placeholder::Placeholder;
pub use signal::send_signal;
pub use users::{is_in_user_namespace, nobody};
