//! Files as the guest sees them, where the host's view would be the monitor's.

pub mod apart;
pub mod neighbour;
pub mod pidfd;
pub mod proc_list;
pub mod proc_self;
pub mod proc_status;
pub mod proc_sum;
pub mod proc_view;
pub mod walk;
