//! The rows. Arguments as in `include/linux/syscalls.h` and the man pages of
//! Linux 6.12; lengths as the kernel uses them, not as C libraries wrap them.
//!
//! Where the kernel itself bounds what it copies through a pointer whose length
//! the caller hands over by reference (`accept`'s address, at most 128 bytes;
//! the list of security modules and their attributes), the row names that bound.

use super::{Arg, Call, Forwardable, holds};

macro_rules! calls {
    ($($number:literal $constant:ident $name:ident ($($arg:expr),*) $class:ident;)*) => {
        /// Every call of the table, in the order of their numbers.
        pub const CALLS: &[Call] = {
            use Arg::*;
            &[$(Call {
                number: $number,
                name: stringify!($name),
                args: &[$($arg),*],
                forwardable: is_forwardable!($class),
            }),*]
        };

        /// The calls' numbers, by their names.
        pub mod number {
            $(
                #[doc = concat!("`", stringify!($name), "(2)`.")]
                pub const $constant: usize = $number;
            )*
        }

        $( forwardable!($class $constant $number); )*
    };
}

macro_rules! is_forwardable {
    (forwardable) => {
        true
    };
    (ours) => {
        false
    };
}

macro_rules! forwardable {
    (forwardable $constant:ident $number:literal) => {
        impl Forwardable {
            #[doc = concat!("Call ", stringify!($number), ", which may be forwarded.")]
            pub const $constant: Self = {
                let call = row($number);
                assert!(holds(call.args), "a forwardable row hides a pointer");
                Self(call)
            };
        }
    };
    (ours $constant:ident $number:literal) => {};
}

/// The row of a number that the table has.
const fn row(number: usize) -> &'static Call {
    let mut at = 0;
    while CALLS[at].number != number {
        at += 1;
    }
    &CALLS[at]
}

calls! {
    0 READ read (Fd, Out(2), Int) forwardable;
    1 WRITE write (Fd, In(2), Int) forwardable;
    2 OPEN open (Str, Hex, Hex) ours;
    3 CLOSE close (Fd) forwardable;
    4 STAT stat (Str, Struct(144)) forwardable;
    5 FSTAT fstat (Fd, Struct(144)) forwardable;
    6 LSTAT lstat (Str, Struct(144)) forwardable;
    7 POLL poll (Array(1, 8), Int, Int) forwardable;
    8 LSEEK lseek (Fd, Int, Int) forwardable;
    9 MMAP mmap (Opaque, Hex, Hex, Hex, Fd, Hex) ours;
    10 MPROTECT mprotect (Opaque, Hex, Hex) ours;
    11 MUNMAP munmap (Opaque, Hex) ours;
    12 BRK brk (Opaque) ours;
    13 RT_SIGACTION rt_sigaction (Int, Struct(32), Struct(32), Int) ours;
    14 RT_SIGPROCMASK rt_sigprocmask (Int, In(3), Out(3), Int) forwardable;
    15 RT_SIGRETURN rt_sigreturn () ours;
    16 IOCTL ioctl (Fd, Hex, Opaque) ours;
    17 PREAD64 pread64 (Fd, Out(2), Int, Int) forwardable;
    18 PWRITE64 pwrite64 (Fd, In(2), Int, Int) forwardable;
    19 READV readv (Fd, IovOut(2), Int) forwardable;
    20 WRITEV writev (Fd, IovIn(2), Int) forwardable;
    21 ACCESS access (Str, Hex) forwardable;
    22 PIPE pipe (Struct(8)) forwardable;
    23 SELECT select (Int, Bits(0), Bits(0), Bits(0), Struct(16)) forwardable;
    24 SCHED_YIELD sched_yield () forwardable;
    25 MREMAP mremap (Opaque, Hex, Hex, Hex, Opaque) ours;
    26 MSYNC msync (Span(1), Int, Hex) forwardable;
    27 MINCORE mincore (Span(1), Int, Out(1)) forwardable;
    28 MADVISE madvise (Span(1), Int, Int) forwardable;
    29 SHMGET shmget (Int, Int, Hex) forwardable;
    30 SHMAT shmat (Int, Opaque, Hex) ours;
    31 SHMCTL shmctl (Int, Int, Struct(112)) forwardable;
    32 DUP dup (Fd) forwardable;
    33 DUP2 dup2 (Fd, Fd) forwardable;
    34 PAUSE pause () forwardable;
    35 NANOSLEEP nanosleep (Struct(16), Struct(16)) forwardable;
    36 GETITIMER getitimer (Int, Struct(32)) forwardable;
    37 ALARM alarm (Int) forwardable;
    38 SETITIMER setitimer (Int, Struct(32), Struct(32)) forwardable;
    39 GETPID getpid () forwardable;
    40 SENDFILE sendfile (Fd, Fd, Struct(8), Int) forwardable;
    41 SOCKET socket (Int, Int, Int) forwardable;
    42 CONNECT connect (Fd, In(2), Word) forwardable;
    43 ACCEPT accept (Fd, Struct(128), Struct(4)) forwardable;
    44 SENDTO sendto (Fd, In(2), Most, Hex, In(5), Word) forwardable;
    45 RECVFROM recvfrom (Fd, Out(2), Most, Hex, Struct(128), Struct(4)) forwardable;
    46 SENDMSG sendmsg (Fd, Opaque, Hex) ours;
    47 RECVMSG recvmsg (Fd, Opaque, Hex) ours;
    48 SHUTDOWN shutdown (Fd, Int) forwardable;
    49 BIND bind (Fd, In(2), Word) forwardable;
    50 LISTEN listen (Fd, Int) forwardable;
    51 GETSOCKNAME getsockname (Fd, Struct(128), Struct(4)) forwardable;
    52 GETPEERNAME getpeername (Fd, Struct(128), Struct(4)) forwardable;
    53 SOCKETPAIR socketpair (Int, Int, Int, Struct(8)) forwardable;
    54 SETSOCKOPT setsockopt (Fd, Int, Int, In(4), Word) ours;
    55 GETSOCKOPT getsockopt (Fd, Int, Int, Opaque, Struct(4)) ours;
    56 CLONE clone (Hex, Opaque, Opaque, Opaque, Opaque) ours;
    57 FORK fork () ours;
    58 VFORK vfork () ours;
    59 EXECVE execve (Str, Opaque, Opaque) ours;
    60 EXIT exit (Int) ours;
    61 WAIT4 wait4 (Int, Struct(4), Hex, Struct(144)) forwardable;
    62 KILL kill (Int, Int) forwardable;
    63 UNAME uname (Struct(390)) ours;
    64 SEMGET semget (Int, Int, Hex) forwardable;
    65 SEMOP semop (Int, Array(2, 6), Int) forwardable;
    66 SEMCTL semctl (Int, Int, Int, Opaque) ours;
    67 SHMDT shmdt (Opaque) ours;
    68 MSGGET msgget (Int, Hex) forwardable;
    69 MSGSND msgsnd (Int, In(2), Int, Hex) forwardable;
    70 MSGRCV msgrcv (Int, Out(2), Int, Int, Hex) forwardable;
    71 MSGCTL msgctl (Int, Int, Struct(120)) forwardable;
    72 FCNTL fcntl (Fd, Int, Opaque) ours;
    73 FLOCK flock (Fd, Int) forwardable;
    74 FSYNC fsync (Fd) forwardable;
    75 FDATASYNC fdatasync (Fd) forwardable;
    76 TRUNCATE truncate (Str, Int) forwardable;
    77 FTRUNCATE ftruncate (Fd, Int) forwardable;
    78 GETDENTS getdents (Fd, Out(2), Word) forwardable;
    79 GETCWD getcwd (Out(1), Int) forwardable;
    80 CHDIR chdir (Str) forwardable;
    81 FCHDIR fchdir (Fd) forwardable;
    82 RENAME rename (Str, Str) forwardable;
    83 MKDIR mkdir (Str, Hex) forwardable;
    84 RMDIR rmdir (Str) forwardable;
    85 CREAT creat (Str, Hex) ours;
    86 LINK link (Str, Str) forwardable;
    87 UNLINK unlink (Str) forwardable;
    88 SYMLINK symlink (Str, Str) forwardable;
    89 READLINK readlink (Str, Out(2), Word) forwardable;
    90 CHMOD chmod (Str, Hex) forwardable;
    91 FCHMOD fchmod (Fd, Hex) forwardable;
    92 CHOWN chown (Str, Int, Int) forwardable;
    93 FCHOWN fchown (Fd, Int, Int) forwardable;
    94 LCHOWN lchown (Str, Int, Int) forwardable;
    95 UMASK umask (Hex) forwardable;
    96 GETTIMEOFDAY gettimeofday (Struct(16), Struct(8)) forwardable;
    97 GETRLIMIT getrlimit (Int, Struct(16)) forwardable;
    98 GETRUSAGE getrusage (Int, Struct(144)) forwardable;
    99 SYSINFO sysinfo (Struct(112)) forwardable;
    100 TIMES times (Struct(32)) forwardable;
    101 PTRACE ptrace (Int, Int, Opaque, Opaque) ours;
    102 GETUID getuid () forwardable;
    103 SYSLOG syslog (Int, Out(2), Word) forwardable;
    104 GETGID getgid () forwardable;
    105 SETUID setuid (Int) forwardable;
    106 SETGID setgid (Int) forwardable;
    107 GETEUID geteuid () forwardable;
    108 GETEGID getegid () forwardable;
    109 SETPGID setpgid (Int, Int) forwardable;
    110 GETPPID getppid () forwardable;
    111 GETPGRP getpgrp () forwardable;
    112 SETSID setsid () forwardable;
    113 SETREUID setreuid (Int, Int) forwardable;
    114 SETREGID setregid (Int, Int) forwardable;
    115 GETGROUPS getgroups (Int, Array(0, 4)) forwardable;
    116 SETGROUPS setgroups (Int, Array(0, 4)) forwardable;
    117 SETRESUID setresuid (Int, Int, Int) forwardable;
    118 GETRESUID getresuid (Struct(4), Struct(4), Struct(4)) forwardable;
    119 SETRESGID setresgid (Int, Int, Int) forwardable;
    120 GETRESGID getresgid (Struct(4), Struct(4), Struct(4)) forwardable;
    121 GETPGID getpgid (Int) forwardable;
    122 SETFSUID setfsuid (Int) forwardable;
    123 SETFSGID setfsgid (Int) forwardable;
    124 GETSID getsid (Int) forwardable;
    125 CAPGET capget (Struct(8), Struct(24)) forwardable;
    126 CAPSET capset (Struct(8), Struct(24)) forwardable;
    127 RT_SIGPENDING rt_sigpending (Out(1), Int) forwardable;
    128 RT_SIGTIMEDWAIT rt_sigtimedwait (In(3), Struct(128), Struct(16), Int) forwardable;
    129 RT_SIGQUEUEINFO rt_sigqueueinfo (Int, Int, Struct(128)) forwardable;
    130 RT_SIGSUSPEND rt_sigsuspend (In(1), Int) forwardable;
    131 SIGALTSTACK sigaltstack (Struct(24), Struct(24)) ours;
    132 UTIME utime (Str, Struct(16)) forwardable;
    133 MKNOD mknod (Str, Hex, Hex) forwardable;
    134 USELIB uselib (Str) ours;
    135 PERSONALITY personality (Hex) ours;
    136 USTAT ustat (Hex, Struct(32)) forwardable;
    137 STATFS statfs (Str, Struct(120)) forwardable;
    138 FSTATFS fstatfs (Fd, Struct(120)) forwardable;
    139 SYSFS sysfs (Int, Str, Str) forwardable;
    140 GETPRIORITY getpriority (Int, Int) forwardable;
    141 SETPRIORITY setpriority (Int, Int, Int) forwardable;
    142 SCHED_SETPARAM sched_setparam (Int, Struct(4)) forwardable;
    143 SCHED_GETPARAM sched_getparam (Int, Struct(4)) forwardable;
    144 SCHED_SETSCHEDULER sched_setscheduler (Int, Int, Struct(4)) forwardable;
    145 SCHED_GETSCHEDULER sched_getscheduler (Int) forwardable;
    146 SCHED_GET_PRIORITY_MAX sched_get_priority_max (Int) forwardable;
    147 SCHED_GET_PRIORITY_MIN sched_get_priority_min (Int) forwardable;
    148 SCHED_RR_GET_INTERVAL sched_rr_get_interval (Int, Struct(16)) forwardable;
    149 MLOCK mlock (Span(1), Int) forwardable;
    150 MUNLOCK munlock (Span(1), Int) forwardable;
    151 MLOCKALL mlockall (Hex) ours;
    152 MUNLOCKALL munlockall () ours;
    153 VHANGUP vhangup () forwardable;
    154 MODIFY_LDT modify_ldt (Int, Opaque, Int) ours;
    155 PIVOT_ROOT pivot_root (Str, Str) forwardable;
    156 SYSCTL _sysctl (Opaque) ours;
    157 PRCTL prctl (Int, Opaque, Opaque, Opaque, Opaque) ours;
    158 ARCH_PRCTL arch_prctl (Hex, Opaque) ours;
    159 ADJTIMEX adjtimex (Struct(208)) forwardable;
    160 SETRLIMIT setrlimit (Int, Struct(16)) forwardable;
    161 CHROOT chroot (Str) forwardable;
    162 SYNC sync () forwardable;
    163 ACCT acct (Str) forwardable;
    164 SETTIMEOFDAY settimeofday (Struct(16), Struct(8)) forwardable;
    165 MOUNT mount (Str, Str, Str, Hex, Str) forwardable;
    166 UMOUNT2 umount2 (Str, Hex) forwardable;
    167 SWAPON swapon (Str, Hex) forwardable;
    168 SWAPOFF swapoff (Str) forwardable;
    169 REBOOT reboot (Hex, Hex, Hex, Str) forwardable;
    170 SETHOSTNAME sethostname (In(1), Word) forwardable;
    171 SETDOMAINNAME setdomainname (In(1), Word) forwardable;
    172 IOPL iopl (Int) ours;
    173 IOPERM ioperm (Int, Int, Int) ours;
    174 CREATE_MODULE create_module (Opaque) ours;
    175 INIT_MODULE init_module (Opaque, Int, Str) ours;
    176 DELETE_MODULE delete_module (Str, Hex) ours;
    177 GET_KERNEL_SYMS get_kernel_syms (Opaque) ours;
    178 QUERY_MODULE query_module (Opaque) ours;
    179 QUOTACTL quotactl (Hex, Str, Int, Struct(112)) forwardable;
    180 NFSSERVCTL nfsservctl (Opaque) ours;
    181 GETPMSG getpmsg (Opaque) ours;
    182 PUTPMSG putpmsg (Opaque) ours;
    183 AFS_SYSCALL afs_syscall (Opaque) ours;
    184 TUXCALL tuxcall (Opaque) ours;
    185 SECURITY security (Opaque) ours;
    186 GETTID gettid () forwardable;
    187 READAHEAD readahead (Fd, Int, Int) forwardable;
    188 SETXATTR setxattr (Str, Str, In(3), Int, Hex) forwardable;
    189 LSETXATTR lsetxattr (Str, Str, In(3), Int, Hex) forwardable;
    190 FSETXATTR fsetxattr (Fd, Str, In(3), Int, Hex) forwardable;
    191 GETXATTR getxattr (Str, Str, Out(3), Int) forwardable;
    192 LGETXATTR lgetxattr (Str, Str, Out(3), Int) forwardable;
    193 FGETXATTR fgetxattr (Fd, Str, Out(3), Int) forwardable;
    194 LISTXATTR listxattr (Str, Out(2), Int) forwardable;
    195 LLISTXATTR llistxattr (Str, Out(2), Int) forwardable;
    196 FLISTXATTR flistxattr (Fd, Out(2), Int) forwardable;
    197 REMOVEXATTR removexattr (Str, Str) forwardable;
    198 LREMOVEXATTR lremovexattr (Str, Str) forwardable;
    199 FREMOVEXATTR fremovexattr (Fd, Str) forwardable;
    200 TKILL tkill (Int, Int) forwardable;
    201 TIME time (Struct(8)) forwardable;
    202 FUTEX futex (Struct(4), Hex, Int, Opaque, Opaque, Int) ours;
    203 SCHED_SETAFFINITY sched_setaffinity (Int, Word, In(1)) forwardable;
    204 SCHED_GETAFFINITY sched_getaffinity (Int, Word, Out(1)) forwardable;
    205 SET_THREAD_AREA set_thread_area (Opaque) ours;
    206 IO_SETUP io_setup (Int, Opaque) ours;
    207 IO_DESTROY io_destroy (Opaque) ours;
    208 IO_GETEVENTS io_getevents (Opaque, Int, Int, Opaque, Struct(16)) ours;
    209 IO_SUBMIT io_submit (Opaque, Int, Opaque) ours;
    210 IO_CANCEL io_cancel (Opaque, Opaque, Opaque) ours;
    211 GET_THREAD_AREA get_thread_area (Opaque) ours;
    212 LOOKUP_DCOOKIE lookup_dcookie (Hex, Out(2), Int) ours;
    213 EPOLL_CREATE epoll_create (Int) forwardable;
    214 EPOLL_CTL_OLD epoll_ctl_old (Opaque) ours;
    215 EPOLL_WAIT_OLD epoll_wait_old (Opaque) ours;
    216 REMAP_FILE_PAGES remap_file_pages (Span(1), Int, Hex, Int, Hex) forwardable;
    217 GETDENTS64 getdents64 (Fd, Out(2), Word) forwardable;
    218 SET_TID_ADDRESS set_tid_address (Opaque) ours;
    219 RESTART_SYSCALL restart_syscall () ours;
    220 SEMTIMEDOP semtimedop (Int, Array(2, 6), Int, Struct(16)) forwardable;
    221 FADVISE64 fadvise64 (Fd, Int, Int, Int) forwardable;
    222 TIMER_CREATE timer_create (Int, Struct(64), Struct(4)) forwardable;
    223 TIMER_SETTIME timer_settime (Int, Hex, Struct(32), Struct(32)) forwardable;
    224 TIMER_GETTIME timer_gettime (Int, Struct(32)) forwardable;
    225 TIMER_GETOVERRUN timer_getoverrun (Int) forwardable;
    226 TIMER_DELETE timer_delete (Int) forwardable;
    227 CLOCK_SETTIME clock_settime (Int, Struct(16)) forwardable;
    228 CLOCK_GETTIME clock_gettime (Int, Struct(16)) forwardable;
    229 CLOCK_GETRES clock_getres (Int, Struct(16)) forwardable;
    230 CLOCK_NANOSLEEP clock_nanosleep (Int, Hex, Struct(16), Struct(16)) forwardable;
    231 EXIT_GROUP exit_group (Int) ours;
    232 EPOLL_WAIT epoll_wait (Fd, Array(2, 12), Int, Int) forwardable;
    233 EPOLL_CTL epoll_ctl (Fd, Int, Fd, Struct(12)) forwardable;
    234 TGKILL tgkill (Int, Int, Int) forwardable;
    235 UTIMES utimes (Str, Struct(32)) forwardable;
    236 VSERVER vserver (Opaque) ours;
    237 MBIND mbind (Span(1), Int, Int, Bits(4), Int, Hex) forwardable;
    238 SET_MEMPOLICY set_mempolicy (Int, Bits(2), Int) forwardable;
    239 GET_MEMPOLICY get_mempolicy (Struct(4), Bits(2), Int, Struct(1), Hex) forwardable;
    240 MQ_OPEN mq_open (Str, Hex, Hex, Struct(64)) forwardable;
    241 MQ_UNLINK mq_unlink (Str) forwardable;
    242 MQ_TIMEDSEND mq_timedsend (Fd, In(2), Int, Int, Struct(16)) forwardable;
    243 MQ_TIMEDRECEIVE mq_timedreceive (Fd, Out(2), Int, Struct(4), Struct(16)) forwardable;
    244 MQ_NOTIFY mq_notify (Fd, Opaque) ours;
    245 MQ_GETSETATTR mq_getsetattr (Fd, Struct(64), Struct(64)) forwardable;
    246 KEXEC_LOAD kexec_load (Opaque, Int, Opaque, Hex) ours;
    247 WAITID waitid (Int, Int, Struct(128), Hex, Struct(144)) forwardable;
    248 ADD_KEY add_key (Str, Str, In(3), Int, Int) forwardable;
    249 REQUEST_KEY request_key (Str, Str, Str, Int) forwardable;
    250 KEYCTL keyctl (Int, Opaque, Opaque, Opaque, Opaque) ours;
    251 IOPRIO_SET ioprio_set (Int, Int, Hex) forwardable;
    252 IOPRIO_GET ioprio_get (Int, Int) forwardable;
    253 INOTIFY_INIT inotify_init () forwardable;
    254 INOTIFY_ADD_WATCH inotify_add_watch (Fd, Str, Hex) forwardable;
    255 INOTIFY_RM_WATCH inotify_rm_watch (Fd, Int) forwardable;
    256 MIGRATE_PAGES migrate_pages (Int, Int, Bits(1), Bits(1)) forwardable;
    257 OPENAT openat (Fd, Str, Hex, Hex) ours;
    258 MKDIRAT mkdirat (Fd, Str, Hex) forwardable;
    259 MKNODAT mknodat (Fd, Str, Hex, Hex) forwardable;
    260 FCHOWNAT fchownat (Fd, Str, Int, Int, Hex) forwardable;
    261 FUTIMESAT futimesat (Fd, Str, Struct(32)) forwardable;
    262 NEWFSTATAT newfstatat (Fd, Str, Struct(144), Hex) forwardable;
    263 UNLINKAT unlinkat (Fd, Str, Hex) forwardable;
    264 RENAMEAT renameat (Fd, Str, Fd, Str) forwardable;
    265 LINKAT linkat (Fd, Str, Fd, Str, Hex) forwardable;
    266 SYMLINKAT symlinkat (Str, Fd, Str) forwardable;
    267 READLINKAT readlinkat (Fd, Str, Out(3), Word) forwardable;
    268 FCHMODAT fchmodat (Fd, Str, Hex) forwardable;
    269 FACCESSAT faccessat (Fd, Str, Hex) forwardable;
    270 PSELECT6 pselect6 (Int, Bits(0), Bits(0), Bits(0), Struct(16), Opaque) ours;
    271 PPOLL ppoll (Array(1, 8), Int, Struct(16), In(4), Int) forwardable;
    272 UNSHARE unshare (Hex) forwardable;
    273 SET_ROBUST_LIST set_robust_list (Opaque, Int) ours;
    274 GET_ROBUST_LIST get_robust_list (Int, Opaque, Opaque) ours;
    275 SPLICE splice (Fd, Struct(8), Fd, Struct(8), Int, Hex) forwardable;
    276 TEE tee (Fd, Fd, Int, Hex) forwardable;
    277 SYNC_FILE_RANGE sync_file_range (Fd, Int, Int, Hex) forwardable;
    278 VMSPLICE vmsplice (Fd, IovIn(2), Int, Hex) forwardable;
    279 MOVE_PAGES move_pages (Int, Int, Opaque, Opaque, Opaque, Hex) ours;
    280 UTIMENSAT utimensat (Fd, Str, Struct(32), Hex) forwardable;
    281 EPOLL_PWAIT epoll_pwait (Fd, Array(2, 12), Int, Int, In(5), Int) forwardable;
    282 SIGNALFD signalfd (Fd, In(2), Int) forwardable;
    283 TIMERFD_CREATE timerfd_create (Int, Hex) forwardable;
    284 EVENTFD eventfd (Int) forwardable;
    285 FALLOCATE fallocate (Fd, Hex, Int, Int) forwardable;
    286 TIMERFD_SETTIME timerfd_settime (Fd, Hex, Struct(32), Struct(32)) forwardable;
    287 TIMERFD_GETTIME timerfd_gettime (Fd, Struct(32)) forwardable;
    288 ACCEPT4 accept4 (Fd, Struct(128), Struct(4), Hex) forwardable;
    289 SIGNALFD4 signalfd4 (Fd, In(2), Int, Hex) forwardable;
    290 EVENTFD2 eventfd2 (Int, Hex) forwardable;
    291 EPOLL_CREATE1 epoll_create1 (Hex) forwardable;
    292 DUP3 dup3 (Fd, Fd, Hex) forwardable;
    293 PIPE2 pipe2 (Struct(8), Hex) forwardable;
    294 INOTIFY_INIT1 inotify_init1 (Hex) forwardable;
    295 PREADV preadv (Fd, IovOut(2), Int, Int, Int) forwardable;
    296 PWRITEV pwritev (Fd, IovIn(2), Int, Int, Int) forwardable;
    297 RT_TGSIGQUEUEINFO rt_tgsigqueueinfo (Int, Int, Int, Struct(128)) forwardable;
    298 PERF_EVENT_OPEN perf_event_open (Opaque, Int, Int, Fd, Hex) ours;
    299 RECVMMSG recvmmsg (Fd, Opaque, Int, Hex, Struct(16)) ours;
    300 FANOTIFY_INIT fanotify_init (Hex, Hex) forwardable;
    301 FANOTIFY_MARK fanotify_mark (Fd, Hex, Hex, Fd, Str) forwardable;
    302 PRLIMIT64 prlimit64 (Int, Int, Struct(16), Struct(16)) forwardable;
    303 NAME_TO_HANDLE_AT name_to_handle_at (Fd, Str, Struct(136), Struct(8), Hex) forwardable;
    304 OPEN_BY_HANDLE_AT open_by_handle_at (Fd, Struct(136), Hex) ours;
    305 CLOCK_ADJTIME clock_adjtime (Int, Struct(208)) forwardable;
    306 SYNCFS syncfs (Fd) forwardable;
    307 SENDMMSG sendmmsg (Fd, Opaque, Int, Hex) ours;
    308 SETNS setns (Fd, Hex) forwardable;
    309 GETCPU getcpu (Struct(4), Struct(4), Struct(128)) forwardable;
    310 PROCESS_VM_READV process_vm_readv (Int, Opaque, Int, Opaque, Int, Hex) ours;
    311 PROCESS_VM_WRITEV process_vm_writev (Int, Opaque, Int, Opaque, Int, Hex) ours;
    312 KCMP kcmp (Int, Int, Int, Hex, Hex) ours;
    313 FINIT_MODULE finit_module (Fd, Str, Hex) ours;
    314 SCHED_SETATTR sched_setattr (Int, Struct(128), Hex) forwardable;
    315 SCHED_GETATTR sched_getattr (Int, Out(2), Word, Hex) forwardable;
    316 RENAMEAT2 renameat2 (Fd, Str, Fd, Str, Hex) forwardable;
    317 SECCOMP seccomp (Int, Hex, Opaque) ours;
    318 GETRANDOM getrandom (Out(1), Most, Hex) forwardable;
    319 MEMFD_CREATE memfd_create (Str, Hex) forwardable;
    320 KEXEC_FILE_LOAD kexec_file_load (Fd, Fd, Int, Str, Hex) ours;
    321 BPF bpf (Int, Opaque, Int) ours;
    322 EXECVEAT execveat (Fd, Str, Opaque, Opaque, Hex) ours;
    323 USERFAULTFD userfaultfd (Hex) ours;
    324 MEMBARRIER membarrier (Int, Hex, Int) forwardable;
    325 MLOCK2 mlock2 (Span(1), Int, Hex) forwardable;
    326 COPY_FILE_RANGE copy_file_range (Fd, Struct(8), Fd, Struct(8), Int, Hex) forwardable;
    327 PREADV2 preadv2 (Fd, IovOut(2), Int, Int, Int, Hex) forwardable;
    328 PWRITEV2 pwritev2 (Fd, IovIn(2), Int, Int, Int, Hex) forwardable;
    329 PKEY_MPROTECT pkey_mprotect (Opaque, Int, Hex, Int) ours;
    330 PKEY_ALLOC pkey_alloc (Hex, Hex) ours;
    331 PKEY_FREE pkey_free (Int) ours;
    332 STATX statx (Fd, Str, Hex, Hex, Struct(256)) forwardable;
    333 IO_PGETEVENTS io_pgetevents (Opaque, Int, Int, Opaque, Struct(16), Opaque) ours;
    334 RSEQ rseq (Opaque, Int, Hex, Hex) ours;
    335 URETPROBE uretprobe () ours;
    424 PIDFD_SEND_SIGNAL pidfd_send_signal (Fd, Int, Struct(128), Hex) forwardable;
    425 IO_URING_SETUP io_uring_setup (Int, Opaque) ours;
    426 IO_URING_ENTER io_uring_enter (Fd, Int, Int, Hex, Opaque, Int) ours;
    427 IO_URING_REGISTER io_uring_register (Fd, Int, Opaque, Int) ours;
    428 OPEN_TREE open_tree (Fd, Str, Hex) forwardable;
    429 MOVE_MOUNT move_mount (Fd, Str, Fd, Str, Hex) forwardable;
    430 FSOPEN fsopen (Str, Hex) forwardable;
    431 FSCONFIG fsconfig (Fd, Int, Str, Opaque, Opaque) ours;
    432 FSMOUNT fsmount (Fd, Hex, Hex) forwardable;
    433 FSPICK fspick (Fd, Str, Hex) forwardable;
    434 PIDFD_OPEN pidfd_open (Int, Hex) forwardable;
    435 CLONE3 clone3 (Struct(88), Int) ours;
    436 CLOSE_RANGE close_range (Int, Int, Hex) ours;
    437 OPENAT2 openat2 (Fd, Str, In(3), Int) ours;
    438 PIDFD_GETFD pidfd_getfd (Fd, Int, Hex) forwardable;
    439 FACCESSAT2 faccessat2 (Fd, Str, Hex, Hex) forwardable;
    440 PROCESS_MADVISE process_madvise (Fd, IovIn(2), Int, Int, Hex) forwardable;
    441 EPOLL_PWAIT2 epoll_pwait2 (Fd, Array(2, 12), Int, Struct(16), In(5), Int) forwardable;
    442 MOUNT_SETATTR mount_setattr (Fd, Str, Hex, In(4), Int) forwardable;
    443 QUOTACTL_FD quotactl_fd (Fd, Hex, Int, Struct(112)) forwardable;
    444 LANDLOCK_CREATE_RULESET landlock_create_ruleset (In(1), Int, Hex) forwardable;
    445 LANDLOCK_ADD_RULE landlock_add_rule (Fd, Int, Struct(16), Hex) forwardable;
    446 LANDLOCK_RESTRICT_SELF landlock_restrict_self (Fd, Hex) ours;
    447 MEMFD_SECRET memfd_secret (Hex) ours;
    448 PROCESS_MRELEASE process_mrelease (Fd, Hex) forwardable;
    449 FUTEX_WAITV futex_waitv (Opaque, Int, Hex, Struct(16), Int) ours;
    450 SET_MEMPOLICY_HOME_NODE set_mempolicy_home_node (Span(1), Int, Int, Hex) forwardable;
    451 CACHESTAT cachestat (Fd, Struct(16), Struct(40), Hex) forwardable;
    452 FCHMODAT2 fchmodat2 (Fd, Str, Hex, Hex) forwardable;
    453 MAP_SHADOW_STACK map_shadow_stack (Hex, Int, Hex) ours;
    454 FUTEX_WAKE futex_wake (Struct(4), Hex, Int, Hex) forwardable;
    455 FUTEX_WAIT futex_wait (Struct(4), Hex, Hex, Hex, Struct(16), Int) forwardable;
    456 FUTEX_REQUEUE futex_requeue (Opaque, Hex, Int, Int) ours;
    457 STATMOUNT statmount (Struct(32), Out(2), Int, Hex) forwardable;
    458 LISTMOUNT listmount (Struct(32), Array(2, 8), Int, Hex) forwardable;
    459 LSM_GET_SELF_ATTR lsm_get_self_attr (Int, Struct(65_536), Struct(4), Hex) forwardable;
    460 LSM_SET_SELF_ATTR lsm_set_self_attr (Int, In(2), Int, Hex) ours;
    461 LSM_LIST_MODULES lsm_list_modules (Struct(256), Struct(4), Hex) forwardable;
    462 MSEAL mseal (Opaque, Int, Hex) ours;
}
