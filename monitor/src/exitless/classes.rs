//! Which calls need not leave the guest.
//!
//! A call may be posted if it means the same made by another thread of the process: it asks about the
//! process, a descriptor or a path, not about the caller. How it is made without waiting is [`super::make`]'s
//! to know, which declines what it cannot. A call is answered in the gate if only the thread itself can
//! change the answer.

use monitor_sys::{
    abi::number,
    gate::{ANSWERS, CLASSES},
};

use crate::{arch::x86_64::gate::Plan, seccomp::Filters};

/// What the kernel shows of an ID that has no mapping yet; another process can give it one.
const UNMAPPED: u64 = 65534;

/// The calls that may be posted.
const POSTED: &[usize] = &[
    // Bytes.
    number::READ,
    number::WRITE,
    number::PREAD64,
    number::PWRITE64,
    number::READV,
    number::WRITEV,
    number::PREADV,
    number::PWRITEV,
    number::SENDFILE,
    number::LSEEK,
    number::FTRUNCATE,
    number::FADVISE64,
    number::GETDENTS,
    number::GETDENTS64,
    // Sockets.
    number::RECVFROM,
    number::SENDTO,
    number::RECVMSG,
    number::SENDMSG,
    number::ACCEPT,
    number::ACCEPT4,
    number::SOCKET,
    number::GETSOCKNAME,
    number::GETPEERNAME,
    number::GETSOCKOPT,
    number::SETSOCKOPT,
    // Descriptors.
    number::OPEN,
    number::OPENAT,
    number::CLOSE,
    number::DUP,
    number::FCNTL,
    number::IOCTL,
    number::PIPE,
    number::PIPE2,
    number::EVENTFD2,
    number::EPOLL_CREATE1,
    number::EPOLL_CTL,
    number::EPOLL_WAIT,
    number::EPOLL_PWAIT,
    number::POLL,
    number::TIMERFD_CREATE,
    number::TIMERFD_SETTIME,
    // Files.
    number::STAT,
    number::LSTAT,
    number::FSTAT,
    number::NEWFSTATAT,
    number::STATX,
    number::STATFS,
    number::FSTATFS,
    number::ACCESS,
    number::FACCESSAT,
    number::FACCESSAT2,
    number::READLINK,
    number::READLINKAT,
    number::GETCWD,
    number::CHDIR,
    number::FCHDIR,
    number::UMASK,
    number::MKDIR,
    number::RMDIR,
    number::UNLINK,
    number::UNLINKAT,
    number::RENAME,
    number::CHMOD,
    number::FCHMOD,
    number::FCHOWN,
    number::UTIMENSAT,
    // Memory.
    number::MMAP,
    number::MUNMAP,
    number::MPROTECT,
    number::MADVISE,
    number::BRK,
    // The process, the system, time.
    number::RT_SIGACTION,
    number::FUTEX,
    number::GETPPID,
    number::GETPGRP,
    number::GETRANDOM,
    number::UNAME,
    number::SYSINFO,
    number::CLOCK_GETTIME,
    number::GETTIMEOFDAY,
    number::TIME,
];

/// The calls that are answered in the gate.
const ANSWERED: [usize; 6] = [
    number::GETPID,
    number::GETTID,
    number::GETUID,
    number::GETEUID,
    number::GETGID,
    number::GETEGID,
];

/// Who a thread is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// Its process's number.
    pub(super) process: u64,
    /// Its own.
    pub(super) thread: u64,
    /// The real and the effective user.
    pub(super) users: [u64; 2],
    /// The same of groups.
    pub(super) groups: [u64; 2],
}

/// Which of the calls that need not leave are allowed whatever their arguments are.
#[derive(Debug)]
pub(super) struct Allowed([bool; CLASSES]);

impl Allowed {
    /// Asks filters.
    pub(super) fn by(filters: &Filters) -> Self {
        let mut allowed = [false; CLASSES];
        for &call in POSTED.iter().chain(&ANSWERED) {
            let number = u32::try_from(call).expect("numbers of calls are small");
            allowed[call] = filters.always_allow(number);
        }
        Self(allowed)
    }
}

/// What the gate of a thread does that is allowed so much.
pub(super) fn plan(allowed: &Allowed, identity: &Identity, patience: u32) -> Plan {
    let mut plan = Plan::leaving(patience);
    for &call in POSTED.iter().filter(|&&call| allowed.0[call]) {
        plan.post(call);
    }
    let ([user, effective_user], [group, effective_group]) = (identity.users, identity.groups);
    let answers = [identity.process, identity.thread, user, effective_user, group, effective_group];
    for ((index, call), value) in (0..).zip(ANSWERED).zip(answers) {
        let is_id = !matches!(call, number::GETPID | number::GETTID);
        if allowed.0[call] && !(is_id && value == UNMAPPED) {
            plan.answer(call, index, value);
        }
    }
    plan
}

const _: () = {
    assert!(ANSWERS >= ANSWERED.len());
    let mut at = 0;
    while at < POSTED.len() {
        assert!(POSTED[at] < CLASSES);
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use monitor_sys::{
        abi::number,
        gate::{CLASS_ANSWERED, CLASS_LEAVES, CLASS_POSTED},
    };

    use super::{Allowed, Identity, UNMAPPED, plan};
    use crate::seccomp::{
        Filters,
        program::{Instruction, Program},
    };

    const IDENTITY: Identity =
        Identity { process: 7, thread: 8, users: [0, UNMAPPED], groups: [5, 6] };

    #[test]
    fn a_thread_that_nobody_restricts_posts_and_answers() {
        let plan = plan(&Allowed::by(&Filters::default()), &IDENTITY, 1);

        assert_eq!(plan.classes[number::READ], CLASS_POSTED);
        assert_eq!(plan.classes[number::GETTID], CLASS_ANSWERED | 1);
        assert_eq!(plan.answers[..3], [7, 8, 0]);
        assert_eq!(plan.classes[number::GETEUID], CLASS_LEAVES, "it may be given a mapping");
        assert_eq!(plan.classes[number::EXECVE], CLASS_LEAVES);
    }

    #[test]
    fn what_a_filter_looks_closer_at_leaves() {
        let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
        // read: errno; write: depends on its first argument; all else is allowed.
        let program = vec![
            step(0x20, 0, 0, 0),
            step(0x15, 4, 0, 0),
            step(0x15, 0, 2, 1),
            step(0x20, 0, 0, 16),
            step(0x15, 1, 0, 3),
            step(0x06, 0, 0, 0x7fff_0000),
            step(0x06, 0, 0, 0x0005_0001),
        ];
        let mut filters = Filters::default();
        filters.push(Program::check(program).unwrap());

        let plan = plan(&Allowed::by(&filters), &IDENTITY, 1);

        assert_eq!(plan.classes[number::READ], CLASS_LEAVES);
        assert_eq!(plan.classes[number::WRITE], CLASS_LEAVES);
        assert_eq!(plan.classes[number::CLOSE], CLASS_POSTED);
        assert_eq!(plan.classes[number::GETPID], CLASS_ANSWERED);
    }
}
