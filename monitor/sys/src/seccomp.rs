//! Filters in the kernel: the monitor's own, and what the kernel is told of a guest's.
//!
//! The guest's filters act at the monitor's gate. For each of them the kernel gets one that lets every call of
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
    // It lets everything through, so it changes no call of the monitor's.
    load(&[LET_THROUGH], flags)
}

/// Puts the monitor's own filter on the calling thread and on all that it makes. `EACCES` if it may not
/// administer its namespace and may still gain rights.
///
/// `program` is classic BPF in the kernel's form.
pub fn confine(program: &[u8], flags: u32) -> Result<(), Errno> {
    let (instructions, _) = program.as_chunks::<8>();
    let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| libc::sock_filter {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    load(&instructions.iter().map(instruction).collect::<Vec<_>>(), u64::from(flags))
}

fn load(filter: &[libc::sock_filter], flags: u64) -> Result<(), Errno> {
    let len = u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let address = to_u64((&raw const program).addr());
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel reads the structure and the instructions it names, which live until the call
    // returns, and checks them. What they refuse fails as calls can, or ends the process.
    unsafe { host_call::raw(libc::SYS_seccomp, [operation, flags, address, 0, 0, 0]) }.map(|_| ())
}
