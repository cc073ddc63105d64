//! What the kernel is told of a guest's seccomp filters.
//!
//! The filters act at the monitor's gate. For each of them the kernel gets one that lets every call of
//! the monitor's through: so the kernel counts them, by thread and for children, and
//! `/proc/<pid>/status` says the same as if the guest were a process without a monitor.

use nix::errno::Errno;

use crate::host_call::{self, to_u64};

/// `return SECCOMP_RET_ALLOW`.
const LET_THROUGH: libc::sock_filter =
    libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };

/// Tells the kernel that the calling thread, or with `SECCOMP_FILTER_FLAG_TSYNC` in `flags` all threads,
/// have one more filter. Fails as `seccomp(2)` does.
pub fn tell(flags: u64) -> Result<(), Errno> {
    let filter = [LET_THROUGH];
    let program = libc::sock_fprog { len: 1, filter: filter.as_ptr().cast_mut() };
    let address = to_u64((&raw const program).addr());
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel reads the structure and the one instruction it names, which live until the call
    // returns. The filter lets everything through, so it changes no call of the monitor's.
    unsafe { host_call::raw(libc::SYS_seccomp, [operation, flags, address, 0, 0, 0]) }.map(|_| ())
}
