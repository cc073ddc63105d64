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

pub use record::{Action, Descriptors, Device, DeviceKind, Exitless, Findings, LaunchRecord};
pub use version::{DecodeError, VERSION};

/// The address of the page from which km makes the calls that an agent is asked about
/// (`SECCOMP_RET_USER_NOTIF`). The kernel's filter knows them by it. A multiple of 4 GiB.
pub const ASKING_PAGE: u64 = 1 << 45;

/// What the host's limits of address space and data have more than the guest's, in bytes: more than a
/// guest can map.
pub const MONITORS_SHARE: u64 = 1 << 40;

/// The calls that km handles itself and no agent can be asked about, in the order of their numbers:
/// should it have them go on, the kernel would make them in km's own process.
pub const NEVER_ASKED: &[&str] = &[
    "mmap",
    "mprotect",
    "munmap",
    "brk",
    "rt_sigaction",
    "rt_sigreturn",
    "mremap",
    "madvise",
    "shmat",
    "clone",
    "fork",
    "vfork",
    "exit",
    "uname",
    "shmdt",
    "getrlimit",
    "rt_sigsuspend",
    "sigaltstack",
    "personality",
    "mlockall",
    "munlockall",
    "prctl",
    "arch_prctl",
    "setrlimit",
    "futex",
    "io_setup",
    "io_destroy",
    "io_getevents",
    "io_submit",
    "io_cancel",
    "set_tid_address",
    "exit_group",
    "pselect6",
    "ppoll",
    "unshare",
    "set_robust_list",
    "get_robust_list",
    "move_pages",
    "epoll_pwait",
    "recvmmsg",
    "fanotify_init",
    "prlimit64",
    "sendmmsg",
    "setns",
    "seccomp",
    "pkey_mprotect",
    "io_pgetevents",
    "close_range",
    "pidfd_getfd",
    "epoll_pwait2",
    "futex_waitv",
    "futex_requeue",
    "mseal",
];

/// The first variable of km's environment: `KM_LAUNCH=<descriptor>`.
///
/// Only the first position counts, so that a guest's variable of this name
/// means nothing.
pub const LAUNCH_VARIABLE: &str = "KM_LAUNCH";

/// How the line on standard error begins by which [`Action::Check`] says that the program can be run;
/// [`Findings::to_line`] has the rest. It comes before the end of the process, which takes longer than all of the
/// check: Linux takes the virtual machine apart.
pub const CAN_RUN: &str = "can run";
