//! The policy table: what the monitor does about each system call.
//!
//! `forward` compiles only for calls whose facts prove that forwarding is
//! harmless (`monitor_sys::abi`). What is not listed is unknown: `ENOSYS`.

use std::sync::LazyLock;

use monitor_sys::{
    Errno,
    abi::{CALLS, Forwardable, number},
};

use super::{
    Answer, Args, aio, execution, files, filtering, keys, limits, memory, misc, paths, polling,
    process_control, processes, signals, sockets, threads,
};
use crate::thread::Thread;

/// A function that answers a call.
pub type Handler = fn(&mut Thread, Args) -> Answer;

/// What is done about a call.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// The host makes it, with the guest's arguments.
    Forward(Forwardable),
    /// The monitor answers it.
    Handle(Handler),
    /// It fails with this error, for this reason.
    Refuse(Errno, &'static str),
}

/// What is done about the call of this number, if the table knows it.
pub fn policy(number: u64) -> Option<&'static Policy> {
    static BY_NUMBER: LazyLock<Vec<Option<Policy>>> = LazyLock::new(by_number);
    BY_NUMBER.get(usize::try_from(number).ok()?)?.as_ref()
}

fn by_number() -> Vec<Option<Policy>> {
    let last = CALLS.last().map_or(0, |call| call.number);
    let mut table = vec![None; last + 1];
    for &(number, policy) in POLICIES {
        table[number] = Some(policy);
    }
    table
}

macro_rules! policy {
    ($call:ident forward) => {
        Policy::Forward(Forwardable::$call)
    };
    ($call:ident handle($handler:path)) => {
        Policy::Handle($handler)
    };
    ($call:ident refuse($errno:expr, $reason:literal)) => {
        Policy::Refuse($errno, $reason)
    };
}

macro_rules! table {
    ($($call:ident => $policy:ident $(($($argument:tt)*))?;)*) => {
        const POLICIES: &[(usize, Policy)] =
            &[$((number::$call, policy!($call $policy $(($($argument)*))?))),*];
    };
}

table! {
    READ => forward;
    WRITE => forward;
    OPEN => handle(files::open);
    CLOSE => forward;
    STAT => handle(paths::stat);
    FSTAT => forward;
    LSTAT => handle(paths::lstat);
    POLL => handle(polling::poll);
    LSEEK => forward;
    MMAP => handle(memory::mmap);
    MPROTECT => handle(memory::mprotect);
    MUNMAP => handle(memory::munmap);
    BRK => handle(memory::brk);
    RT_SIGACTION => handle(signals::rt_sigaction);
    RT_SIGPROCMASK => forward;
    RT_SIGRETURN => handle(signals::rt_sigreturn);
    IOCTL => handle(files::ioctl);
    PREAD64 => forward;
    PWRITE64 => forward;
    READV => forward;
    WRITEV => forward;
    ACCESS => handle(paths::access);
    PIPE => forward;
    SELECT => handle(polling::select);
    SCHED_YIELD => forward;
    MREMAP => handle(memory::mremap);
    MSYNC => handle(memory::msync);
    MINCORE => forward;
    MADVISE => handle(memory::madvise);
    SHMGET => forward;
    SHMAT => handle(memory::shmat);
    SHMCTL => forward;
    DUP => forward;
    DUP2 => forward;
    PAUSE => forward;
    NANOSLEEP => forward;
    GETITIMER => forward;
    ALARM => forward;
    SETITIMER => forward;
    GETPID => forward;
    SENDFILE => forward;
    SOCKET => forward;
    CONNECT => forward;
    ACCEPT => forward;
    SENDTO => forward;
    RECVFROM => forward;
    SENDMSG => handle(sockets::sendmsg);
    RECVMSG => handle(sockets::recvmsg);
    SHUTDOWN => forward;
    BIND => forward;
    LISTEN => forward;
    GETSOCKNAME => forward;
    GETPEERNAME => forward;
    SOCKETPAIR => forward;
    SETSOCKOPT => handle(sockets::setsockopt);
    GETSOCKOPT => handle(sockets::getsockopt);
    CLONE => handle(threads::clone);
    FORK => handle(threads::fork);
    VFORK => handle(threads::vfork);
    EXECVE => handle(execution::execve);
    EXIT => handle(threads::exit);
    WAIT4 => forward;
    KILL => forward;
    UNAME => handle(misc::uname);
    SEMGET => forward;
    SEMOP => forward;
    SEMCTL => handle(misc::semctl);
    SHMDT => handle(memory::shmdt);
    MSGGET => forward;
    MSGSND => forward;
    MSGRCV => forward;
    MSGCTL => forward;
    FCNTL => handle(files::fcntl);
    FLOCK => forward;
    FSYNC => forward;
    FDATASYNC => forward;
    TRUNCATE => handle(paths::truncate);
    FTRUNCATE => forward;
    GETDENTS => handle(files::getdents);
    GETCWD => forward;
    CHDIR => handle(paths::chdir);
    FCHDIR => forward;
    RENAME => forward;
    MKDIR => forward;
    RMDIR => forward;
    CREAT => handle(files::creat);
    LINK => forward;
    UNLINK => forward;
    SYMLINK => forward;
    READLINK => handle(paths::readlink);
    CHMOD => handle(paths::chmod);
    FCHMOD => forward;
    CHOWN => handle(paths::chown);
    FCHOWN => forward;
    LCHOWN => handle(paths::lchown);
    UMASK => forward;
    GETTIMEOFDAY => forward;
    GETRLIMIT => handle(limits::get);
    GETRUSAGE => forward;
    SYSINFO => forward;
    TIMES => forward;
    PTRACE => refuse(Errno::EPERM, "would stop the monitor's threads and show their registers, not the guest's");
    GETUID => forward;
    SYSLOG => forward;
    GETGID => forward;
    SETUID => forward;
    SETGID => forward;
    GETEUID => forward;
    GETEGID => forward;
    SETPGID => forward;
    GETPPID => forward;
    GETPGRP => forward;
    SETSID => forward;
    SETREUID => forward;
    SETREGID => forward;
    GETGROUPS => forward;
    SETGROUPS => forward;
    SETRESUID => forward;
    GETRESUID => forward;
    SETRESGID => forward;
    GETRESGID => forward;
    GETPGID => forward;
    SETFSUID => forward;
    SETFSGID => forward;
    GETSID => forward;
    CAPGET => forward;
    CAPSET => forward;
    RT_SIGPENDING => forward;
    RT_SIGTIMEDWAIT => forward;
    RT_SIGQUEUEINFO => forward;
    RT_SIGSUSPEND => handle(polling::rt_sigsuspend);
    SIGALTSTACK => handle(signals::sigaltstack);
    UTIME => handle(paths::utime);
    MKNOD => forward;
    USELIB => refuse(Errno::ENOSYS, "not in kernels of today");
    PERSONALITY => handle(process_control::personality);
    USTAT => forward;
    STATFS => handle(paths::statfs);
    FSTATFS => forward;
    SYSFS => forward;
    GETPRIORITY => forward;
    SETPRIORITY => forward;
    SCHED_SETPARAM => forward;
    SCHED_GETPARAM => forward;
    SCHED_SETSCHEDULER => forward;
    SCHED_GETSCHEDULER => forward;
    SCHED_GET_PRIORITY_MAX => forward;
    SCHED_GET_PRIORITY_MIN => forward;
    SCHED_RR_GET_INTERVAL => forward;
    MLOCK => handle(memory::mlock);
    MUNLOCK => handle(memory::munlock);
    MLOCKALL => handle(memory::mlockall);
    MUNLOCKALL => handle(memory::munlockall);
    VHANGUP => forward;
    MODIFY_LDT => refuse(Errno::ENOSYS, "16-bit segments, which the guest's tables lack");
    PIVOT_ROOT => handle(paths::pivot_root);
    SYSCTL => refuse(Errno::ENOSYS, "not in kernels of today");
    PRCTL => handle(process_control::prctl);
    ARCH_PRCTL => handle(process_control::arch_prctl);
    ADJTIMEX => forward;
    SETRLIMIT => handle(limits::setrlimit);
    CHROOT => handle(paths::chroot);
    SYNC => forward;
    ACCT => handle(paths::acct);
    SETTIMEOFDAY => forward;
    MOUNT => handle(paths::mount);
    UMOUNT2 => handle(paths::umount2);
    SWAPON => handle(paths::swapon);
    SWAPOFF => forward;
    REBOOT => forward;
    SETHOSTNAME => forward;
    SETDOMAINNAME => forward;
    IOPL => refuse(Errno::EPERM, "there are no devices behind the guest's ports");
    IOPERM => refuse(Errno::EPERM, "there are no devices behind the guest's ports");
    CREATE_MODULE => refuse(Errno::ENOSYS, "not in kernels of today");
    INIT_MODULE => refuse(Errno::EPERM, "code in the host's kernel");
    DELETE_MODULE => refuse(Errno::EPERM, "code in the host's kernel");
    GET_KERNEL_SYMS => refuse(Errno::ENOSYS, "not in kernels of today");
    QUERY_MODULE => refuse(Errno::ENOSYS, "not in kernels of today");
    QUOTACTL => handle(paths::quotactl);
    NFSSERVCTL => refuse(Errno::ENOSYS, "not in kernels of today");
    GETPMSG => refuse(Errno::ENOSYS, "not in kernels of today");
    PUTPMSG => refuse(Errno::ENOSYS, "not in kernels of today");
    AFS_SYSCALL => refuse(Errno::ENOSYS, "not in kernels of today");
    TUXCALL => refuse(Errno::ENOSYS, "not in kernels of today");
    SECURITY => refuse(Errno::ENOSYS, "not in kernels of today");
    GETTID => forward;
    READAHEAD => forward;
    SETXATTR => handle(paths::setxattr);
    LSETXATTR => handle(paths::lsetxattr);
    FSETXATTR => forward;
    GETXATTR => handle(paths::getxattr);
    LGETXATTR => handle(paths::lgetxattr);
    FGETXATTR => forward;
    LISTXATTR => handle(paths::listxattr);
    LLISTXATTR => handle(paths::llistxattr);
    FLISTXATTR => forward;
    REMOVEXATTR => handle(paths::removexattr);
    LREMOVEXATTR => handle(paths::lremovexattr);
    FREMOVEXATTR => forward;
    TKILL => forward;
    TIME => forward;
    FUTEX => handle(threads::futex);
    SCHED_SETAFFINITY => forward;
    SCHED_GETAFFINITY => forward;
    SET_THREAD_AREA => refuse(Errno::ENOSYS, "segments of 32-bit programs, which are not run");
    IO_SETUP => handle(aio::io_setup);
    IO_DESTROY => handle(aio::io_destroy);
    IO_GETEVENTS => handle(aio::io_getevents);
    IO_SUBMIT => handle(aio::io_submit);
    IO_CANCEL => handle(aio::io_cancel);
    GET_THREAD_AREA => refuse(Errno::ENOSYS, "segments of 32-bit programs, which are not run");
    LOOKUP_DCOOKIE => refuse(Errno::ENOSYS, "not in kernels of today");
    EPOLL_CREATE => forward;
    EPOLL_CTL_OLD => refuse(Errno::ENOSYS, "never was in a kernel");
    EPOLL_WAIT_OLD => refuse(Errno::ENOSYS, "never was in a kernel");
    REMAP_FILE_PAGES => forward;
    GETDENTS64 => handle(files::getdents64);
    SET_TID_ADDRESS => handle(threads::set_tid_address);
    RESTART_SYSCALL => refuse(Errno::EINTR, "only the kernel makes it");
    SEMTIMEDOP => forward;
    FADVISE64 => forward;
    TIMER_CREATE => forward;
    TIMER_SETTIME => forward;
    TIMER_GETTIME => forward;
    TIMER_GETOVERRUN => forward;
    TIMER_DELETE => forward;
    CLOCK_SETTIME => forward;
    CLOCK_GETTIME => forward;
    CLOCK_GETRES => forward;
    CLOCK_NANOSLEEP => forward;
    EXIT_GROUP => handle(threads::exit_group);
    EPOLL_WAIT => forward;
    EPOLL_CTL => forward;
    TGKILL => forward;
    UTIMES => handle(paths::utimes);
    VSERVER => refuse(Errno::ENOSYS, "not in kernels of today");
    MBIND => forward;
    SET_MEMPOLICY => forward;
    GET_MEMPOLICY => forward;
    MQ_OPEN => forward;
    MQ_UNLINK => forward;
    MQ_TIMEDSEND => forward;
    MQ_TIMEDRECEIVE => forward;
    MQ_NOTIFY => handle(misc::mq_notify);
    MQ_GETSETATTR => forward;
    KEXEC_LOAD => refuse(Errno::EPERM, "the host's kernel");
    WAITID => forward;
    ADD_KEY => forward;
    REQUEST_KEY => forward;
    KEYCTL => handle(keys::keyctl);
    IOPRIO_SET => forward;
    IOPRIO_GET => forward;
    INOTIFY_INIT => forward;
    INOTIFY_ADD_WATCH => handle(paths::inotify_add_watch);
    INOTIFY_RM_WATCH => forward;
    MIGRATE_PAGES => forward;
    OPENAT => handle(files::openat);
    MKDIRAT => forward;
    MKNODAT => forward;
    FCHOWNAT => handle(paths::fchownat);
    FUTIMESAT => handle(paths::futimesat);
    NEWFSTATAT => handle(paths::newfstatat);
    UNLINKAT => forward;
    RENAMEAT => forward;
    LINKAT => handle(paths::linkat);
    SYMLINKAT => forward;
    READLINKAT => handle(paths::readlinkat);
    FCHMODAT => handle(paths::fchmodat);
    FACCESSAT => handle(paths::faccessat);
    PSELECT6 => handle(polling::pselect6);
    PPOLL => handle(polling::ppoll);
    UNSHARE => handle(threads::unshare);
    SET_ROBUST_LIST => handle(threads::set_robust_list);
    GET_ROBUST_LIST => handle(threads::get_robust_list);
    SPLICE => forward;
    TEE => forward;
    SYNC_FILE_RANGE => forward;
    VMSPLICE => forward;
    MOVE_PAGES => handle(processes::move_pages);
    UTIMENSAT => handle(paths::utimensat);
    EPOLL_PWAIT => handle(polling::epoll_pwait);
    SIGNALFD => forward;
    TIMERFD_CREATE => forward;
    EVENTFD => forward;
    FALLOCATE => forward;
    TIMERFD_SETTIME => forward;
    TIMERFD_GETTIME => forward;
    ACCEPT4 => forward;
    SIGNALFD4 => forward;
    EVENTFD2 => forward;
    EPOLL_CREATE1 => forward;
    DUP3 => forward;
    PIPE2 => forward;
    INOTIFY_INIT1 => forward;
    PREADV => forward;
    PWRITEV => forward;
    RT_TGSIGQUEUEINFO => forward;
    PERF_EVENT_OPEN => refuse(Errno::ENOSYS, "a host thread's events are mostly the monitor's, and samples name its addresses");
    RECVMMSG => handle(sockets::recvmmsg);
    FANOTIFY_INIT => handle(paths::fanotify_init);
    FANOTIFY_MARK => handle(paths::fanotify_mark);
    PRLIMIT64 => handle(limits::prlimit64);
    NAME_TO_HANDLE_AT => handle(paths::name_to_handle_at);
    OPEN_BY_HANDLE_AT => handle(files::open_by_handle_at);
    CLOCK_ADJTIME => forward;
    SYNCFS => forward;
    SENDMMSG => handle(sockets::sendmmsg);
    SETNS => handle(threads::setns);
    GETCPU => forward;
    PROCESS_VM_READV => handle(processes::process_vm_readv);
    PROCESS_VM_WRITEV => handle(processes::process_vm_writev);
    KCMP => handle(processes::kcmp);
    FINIT_MODULE => refuse(Errno::EPERM, "code in the host's kernel");
    SCHED_SETATTR => forward;
    SCHED_GETATTR => forward;
    RENAMEAT2 => forward;
    SECCOMP => handle(filtering::seccomp);
    GETRANDOM => forward;
    MEMFD_CREATE => forward;
    KEXEC_FILE_LOAD => refuse(Errno::EPERM, "the host's kernel");
    BPF => refuse(Errno::EPERM, "programs in the host's kernel");
    EXECVEAT => handle(execution::execveat);
    USERFAULTFD => refuse(Errno::ENOSYS, "the monitor's own accesses would wait for a thread of the guest's");
    MEMBARRIER => forward;
    MLOCK2 => handle(memory::mlock2);
    COPY_FILE_RANGE => forward;
    PREADV2 => forward;
    PWRITEV2 => forward;
    PKEY_MPROTECT => handle(memory::pkey_mprotect);
    PKEY_ALLOC => refuse(Errno::ENOSPC, "as a processor without protection keys");
    PKEY_FREE => refuse(Errno::EINVAL, "there is no key to free");
    STATX => handle(paths::statx);
    IO_PGETEVENTS => handle(aio::io_pgetevents);
    RSEQ => refuse(Errno::ENOSYS, "as a kernel without it: the host looks where the monitor is, not where the guest is");
    URETPROBE => refuse(Errno::ENOSYS, "only probed programs make it");
    PIDFD_SEND_SIGNAL => forward;
    IO_URING_SETUP => refuse(Errno::ENOSYS, "the host would carry out a ring's entries unchecked");
    IO_URING_ENTER => refuse(Errno::ENOSYS, "no ring can be made");
    IO_URING_REGISTER => refuse(Errno::ENOSYS, "no ring can be made");
    OPEN_TREE => handle(paths::open_tree);
    MOVE_MOUNT => handle(paths::move_mount);
    FSOPEN => forward;
    FSCONFIG => handle(misc::fsconfig);
    FSMOUNT => forward;
    FSPICK => handle(paths::fspick);
    PIDFD_OPEN => forward;
    CLONE3 => handle(threads::clone3);
    CLOSE_RANGE => handle(files::close_range);
    OPENAT2 => handle(files::openat2);
    PIDFD_GETFD => handle(processes::pidfd_getfd);
    FACCESSAT2 => handle(paths::faccessat2);
    PROCESS_MADVISE => forward;
    EPOLL_PWAIT2 => handle(polling::epoll_pwait2);
    MOUNT_SETATTR => handle(paths::mount_setattr);
    QUOTACTL_FD => forward;
    LANDLOCK_CREATE_RULESET => refuse(Errno::EOPNOTSUPP, "as a kernel without Landlock: rules would bind the monitor too");
    LANDLOCK_ADD_RULE => refuse(Errno::EOPNOTSUPP, "no ruleset can be made");
    LANDLOCK_RESTRICT_SELF => refuse(Errno::EOPNOTSUPP, "no ruleset can be made");
    MEMFD_SECRET => refuse(Errno::ENOSYS, "as a kernel without it: secret memory cannot be a slot");
    PROCESS_MRELEASE => forward;
    FUTEX_WAITV => handle(threads::futex_waitv);
    SET_MEMPOLICY_HOME_NODE => forward;
    CACHESTAT => forward;
    FCHMODAT2 => handle(paths::fchmodat2);
    MAP_SHADOW_STACK => refuse(Errno::EOPNOTSUPP, "as a processor without shadow stacks");
    FUTEX_WAKE => forward;
    FUTEX_WAIT => forward;
    FUTEX_REQUEUE => handle(threads::futex_requeue);
    STATMOUNT => forward;
    LISTMOUNT => forward;
    LSM_GET_SELF_ATTR => forward;
    LSM_SET_SELF_ATTR => refuse(Errno::EOPNOTSUPP, "would confine the monitor, or the one that execve starts");
    LSM_LIST_MODULES => forward;
    MSEAL => handle(memory::mseal);
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::Path};

    use monitor_sys::abi::CALLS;

    use super::{POLICIES, Policy, policy};

    fn row(number: usize, name: &str, policy: &Policy) -> String {
        let (what, why) = match policy {
            Policy::Forward(_) => ("forwarded", String::new()),
            Policy::Handle(_) => ("handled", String::new()),
            Policy::Refuse(errno, reason) => ("refused", format!("`{errno:?}`: {reason}")),
        };
        format!("| {number} | {name} | {what} | {why} |\n")
    }

    fn page() -> String {
        let count =
            |wanted: fn(&Policy) -> bool| POLICIES.iter().filter(|row| wanted(&row.1)).count();
        let forwarded = count(|policy| matches!(policy, Policy::Forward(_)));
        let handled = count(|policy| matches!(policy, Policy::Handle(_)));
        let refused = count(|policy| matches!(policy, Policy::Refuse(..)));
        let mut page = format!(
            "# Linux's system calls in the monitor\n\n\
             Printed from the monitor's two tables by a test; do not edit. Of the {} calls \
             Linux 6.12 has on x86-64, {forwarded} are forwarded to the host once their arguments \
             were checked, {handled} are handled by the monitor, {refused} are refused. A number \
             that is not here is answered with `ENOSYS`, and logged once.\n\n\
             | number | call | | |\n|---|---|---|---|\n",
            CALLS.len()
        );
        for (number, policy) in POLICIES {
            let name = CALLS.iter().find(|call| call.number == *number).unwrap().name;
            page.write_str(&row(*number, name, policy)).unwrap();
        }
        page
    }

    #[test]
    fn every_known_call_has_a_policy() {
        for call in CALLS {
            let number = u64::try_from(call.number).unwrap();
            assert!(policy(number).is_some(), "{}", call.name);
        }
        assert_eq!(POLICIES.len(), CALLS.len());
    }

    #[test]
    fn unknown_numbers_have_none() {
        for number in [400, 463, 512, 1 << 32, u64::MAX] {
            assert!(policy(number).is_none(), "{number}");
        }
    }

    /// With `UPDATE_DOCS=1` the page is written instead of compared.
    #[test]
    fn the_compatibility_page_says_what_the_tables_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/linux.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, page()).unwrap();
        }

        let written = fs::read_to_string(path).unwrap_or_default();

        assert!(written == page(), "docs/linux.md is old: run the test with UPDATE_DOCS=1");
    }
}
