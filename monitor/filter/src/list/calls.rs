//! The list. Written by `UPDATE_DOCS=1 cargo test -p monitor --test own_filter`, which compares it otherwise.

use super::{Call, Rule};

macro_rules! rule {
    (allow) => {
        Rule::Allow
    };
    (kill) => {
        Rule::Kill
    };
    (only($argument:literal, $errno:literal, $of:tt)) => {
        Rule::Only { argument: $argument, errno: $errno, of: &$of }
    };
    (options($levels:tt)) => {
        Rule::Options(&$levels)
    };
}

macro_rules! calls {
    ($($number:literal $name:ident $rule:ident $(($($argument:tt)*))?;)*) => {
        /// Every call that Linux is known to have, in the order of their numbers.
        pub const CALLS: &[Call] = &[$(Call {
            number: $number,
            name: stringify!($name),
            rule: rule!($rule $(($($argument)*))?),
        }),*];
    };
}

calls! {
    0 read allow;
    1 write allow;
    2 open allow;
    3 close allow;
    4 stat allow;
    5 fstat allow;
    6 lstat allow;
    7 poll allow;
    8 lseek allow;
    9 mmap allow;
    10 mprotect allow;
    11 munmap allow;
    12 brk allow;
    13 rt_sigaction allow;
    14 rt_sigprocmask allow;
    15 rt_sigreturn allow;
    16 ioctl only(1, 25, [0x2..=0x2, 0x1260..=0x1260, 0x1268..=0x1268, 0x127b..=0x127b,
        0x5401..=0x541b, 0x541d..=0x541d, 0x5420..=0x5425, 0x5427..=0x5429, 0x5437..=0x5437,
        0x5441..=0x5441, 0x5450..=0x5452, 0x5456..=0x5457, 0x5460..=0x5460, 0x8901..=0x8907,
        0x8910..=0x8910, 0x8912..=0x891e, 0x8921..=0x8922, 0x8927..=0x8927, 0x8933..=0x8933,
        0x8942..=0x8943, 0xae00..=0xae01, 0xae04..=0xae04, 0xae41..=0xae41, 0xae44..=0xae44,
        0xae80..=0xae80, 0xaefe..=0xaeff, 0xb701..=0xb704, 0x4004_5431..=0x4004_5431,
        0x4004_54c8..=0x4004_54c8, 0x4004_54ca..=0x4004_54ce, 0x4004_54d0..=0x4004_54d0,
        0x4004_54d4..=0x4004_54d4, 0x4004_54d8..=0x4004_54d9, 0x4004_9409..=0x4004_9409,
        0x4008_6602..=0x4008_6602, 0x4008_ae89..=0x4008_ae89, 0x4008_ae90..=0x4008_ae90,
        0x4018_aee1..=0x4018_aee1, 0x401c_5820..=0x401c_5820, 0x4020_ae46..=0x4020_ae46,
        0x402c_542b..=0x402c_542d, 0x4048_ae9b..=0x4048_ae9b, 0x4090_ae82..=0x4090_ae82,
        0x4138_ae84..=0x4138_ae84, 0x4188_aea7..=0x4188_aea7, 0x41a0_ae8d..=0x41a0_ae8d,
        0x5000_aea5..=0x5000_aea5, 0x5000_aef9..=0x5000_aef9, 0x8004_5200..=0x8004_5200,
        0x8004_5430..=0x8004_5430, 0x8004_5432..=0x8004_5432, 0x8004_5438..=0x8004_5439,
        0x8004_5440..=0x8004_5440, 0x8004_54cf..=0x8004_54cf, 0x8004_54d2..=0x8004_54d3,
        0x8004_54d7..=0x8004_54d7, 0x8008_1272..=0x8008_1272, 0x8008_6601..=0x8008_6601,
        0x8008_7601..=0x8008_7601, 0x801c_581f..=0x801c_581f, 0x802c_542a..=0x802c_542a,
        0x8040_ae9f..=0x8040_ae9f, 0x8040_aef6..=0x8040_aef6, 0x8090_ae81..=0x8090_ae81,
        0x8100_9431..=0x8100_9431, 0x8138_ae83..=0x8138_ae83, 0x81a0_ae8c..=0x81a0_ae8c,
        0x9000_aea4..=0x9000_aea4, 0x9000_aef8..=0x9000_aef8, 0xc008_ae05..=0xc008_ae05,
        0xc020_660b..=0xc020_660b]);
    17 pread64 allow;
    18 pwrite64 allow;
    19 readv allow;
    20 writev allow;
    21 access allow;
    22 pipe allow;
    23 select allow;
    24 sched_yield allow;
    25 mremap allow;
    26 msync allow;
    27 mincore allow;
    28 madvise allow;
    29 shmget allow;
    30 shmat allow;
    31 shmctl allow;
    32 dup allow;
    33 dup2 allow;
    34 pause allow;
    35 nanosleep allow;
    36 getitimer allow;
    37 alarm allow;
    38 setitimer allow;
    39 getpid allow;
    40 sendfile allow;
    41 socket allow;
    42 connect allow;
    43 accept allow;
    44 sendto allow;
    45 recvfrom allow;
    46 sendmsg allow;
    47 recvmsg allow;
    48 shutdown allow;
    49 bind allow;
    50 listen allow;
    51 getsockname allow;
    52 getpeername allow;
    53 socketpair allow;
    54 setsockopt options([(0x0, &[0x40..=0x41, 0x60..=0x63, 0x80..=0x83]), (0x1, &[0x1a..=0x1a,
        0x33..=0x33]), (0x6, &[0x23..=0x23]), (0x11, &[]), (0x28, &[]), (0x29, &[0x40..=0x41]),
        (0x3a, &[]), (0x64, &[]), (0x65, &[]), (0x66, &[]), (0x67, &[]), (0x68, &[]), (0x69, &[]),
        (0x6a, &[]), (0x6b, &[]), (0x84, &[0x6f..=0x6f]), (0x88, &[]), (0xff, &[0x40..=0xff]),
        (0x107, &[0x16..=0x16]), (0x10e, &[]), (0x10f, &[]), (0x117, &[]), (0x11a, &[]), (0x11c,
        &[0x4..=0x4]), (0x11f, &[]), (0x7fff_ffff, &[])]);
    55 getsockopt options([(0x0, &[0x40..=0x41, 0x60..=0x63, 0x80..=0x83]), (0x1, &[0x1a..=0x1a,
        0x33..=0x33]), (0x6, &[0x23..=0x23]), (0x11, &[]), (0x28, &[]), (0x29, &[0x40..=0x41]),
        (0x3a, &[]), (0x64, &[]), (0x65, &[]), (0x66, &[]), (0x67, &[]), (0x68, &[]), (0x69, &[]),
        (0x6a, &[]), (0x6b, &[]), (0x84, &[0x6f..=0x6f]), (0x88, &[]), (0xff, &[0x40..=0xff]),
        (0x107, &[0x16..=0x16]), (0x10e, &[]), (0x10f, &[]), (0x117, &[]), (0x11a, &[]), (0x11c,
        &[0x4..=0x4]), (0x11f, &[]), (0x7fff_ffff, &[])]);
    56 clone allow;
    57 fork kill;
    58 vfork kill;
    59 execve allow;
    60 exit allow;
    61 wait4 allow;
    62 kill allow;
    63 uname allow;
    64 semget allow;
    65 semop allow;
    66 semctl allow;
    67 shmdt allow;
    68 msgget allow;
    69 msgsnd allow;
    70 msgrcv allow;
    71 msgctl allow;
    72 fcntl allow;
    73 flock allow;
    74 fsync allow;
    75 fdatasync allow;
    76 truncate allow;
    77 ftruncate allow;
    78 getdents allow;
    79 getcwd allow;
    80 chdir allow;
    81 fchdir allow;
    82 rename allow;
    83 mkdir allow;
    84 rmdir allow;
    85 creat allow;
    86 link allow;
    87 unlink allow;
    88 symlink allow;
    89 readlink allow;
    90 chmod allow;
    91 fchmod allow;
    92 chown allow;
    93 fchown allow;
    94 lchown allow;
    95 umask allow;
    96 gettimeofday allow;
    97 getrlimit allow;
    98 getrusage allow;
    99 sysinfo allow;
    100 times allow;
    101 ptrace kill;
    102 getuid allow;
    103 syslog allow;
    104 getgid allow;
    105 setuid allow;
    106 setgid allow;
    107 geteuid allow;
    108 getegid allow;
    109 setpgid allow;
    110 getppid allow;
    111 getpgrp allow;
    112 setsid allow;
    113 setreuid allow;
    114 setregid allow;
    115 getgroups allow;
    116 setgroups allow;
    117 setresuid allow;
    118 getresuid allow;
    119 setresgid allow;
    120 getresgid allow;
    121 getpgid allow;
    122 setfsuid allow;
    123 setfsgid allow;
    124 getsid allow;
    125 capget allow;
    126 capset allow;
    127 rt_sigpending allow;
    128 rt_sigtimedwait allow;
    129 rt_sigqueueinfo allow;
    130 rt_sigsuspend allow;
    131 sigaltstack allow;
    132 utime allow;
    133 mknod allow;
    134 uselib kill;
    135 personality only(0, 22, [0x0..=0xff, 0xffff_ffff..=0xffff_ffff]);
    136 ustat allow;
    137 statfs allow;
    138 fstatfs allow;
    139 sysfs allow;
    140 getpriority allow;
    141 setpriority allow;
    142 sched_setparam allow;
    143 sched_getparam allow;
    144 sched_setscheduler allow;
    145 sched_getscheduler allow;
    146 sched_get_priority_max allow;
    147 sched_get_priority_min allow;
    148 sched_rr_get_interval allow;
    149 mlock allow;
    150 munlock allow;
    151 mlockall kill;
    152 munlockall kill;
    153 vhangup allow;
    154 modify_ldt kill;
    155 pivot_root allow;
    156 _sysctl kill;
    157 prctl only(0, 22, [0x1..=0x2, 0x7..=0x8, 0xd..=0xd, 0xf..=0x10, 0x17..=0x19, 0x1b..=0x1e,
        0x21..=0x27, 0x29..=0x2a, 0x2f..=0x2f, 0x34..=0x35, 0x5356_4d41..=0x5356_4d41,
        0x5961_6d61..=0x5961_6d61]);
    158 arch_prctl allow;
    159 adjtimex allow;
    160 setrlimit allow;
    161 chroot allow;
    162 sync allow;
    163 acct allow;
    164 settimeofday allow;
    165 mount allow;
    166 umount2 allow;
    167 swapon allow;
    168 swapoff allow;
    169 reboot allow;
    170 sethostname allow;
    171 setdomainname allow;
    172 iopl kill;
    173 ioperm kill;
    174 create_module kill;
    175 init_module kill;
    176 delete_module kill;
    177 get_kernel_syms kill;
    178 query_module kill;
    179 quotactl allow;
    180 nfsservctl kill;
    181 getpmsg kill;
    182 putpmsg kill;
    183 afs_syscall kill;
    184 tuxcall kill;
    185 security kill;
    186 gettid allow;
    187 readahead allow;
    188 setxattr allow;
    189 lsetxattr allow;
    190 fsetxattr allow;
    191 getxattr allow;
    192 lgetxattr allow;
    193 fgetxattr allow;
    194 listxattr allow;
    195 llistxattr allow;
    196 flistxattr allow;
    197 removexattr allow;
    198 lremovexattr allow;
    199 fremovexattr allow;
    200 tkill allow;
    201 time allow;
    202 futex allow;
    203 sched_setaffinity allow;
    204 sched_getaffinity allow;
    205 set_thread_area kill;
    206 io_setup allow;
    207 io_destroy allow;
    208 io_getevents allow;
    209 io_submit allow;
    210 io_cancel allow;
    211 get_thread_area kill;
    212 lookup_dcookie kill;
    213 epoll_create allow;
    214 epoll_ctl_old kill;
    215 epoll_wait_old kill;
    216 remap_file_pages allow;
    217 getdents64 allow;
    218 set_tid_address allow;
    219 restart_syscall allow;
    220 semtimedop allow;
    221 fadvise64 allow;
    222 timer_create allow;
    223 timer_settime allow;
    224 timer_gettime allow;
    225 timer_getoverrun allow;
    226 timer_delete allow;
    227 clock_settime allow;
    228 clock_gettime allow;
    229 clock_getres allow;
    230 clock_nanosleep allow;
    231 exit_group allow;
    232 epoll_wait allow;
    233 epoll_ctl allow;
    234 tgkill allow;
    235 utimes allow;
    236 vserver kill;
    237 mbind allow;
    238 set_mempolicy allow;
    239 get_mempolicy allow;
    240 mq_open allow;
    241 mq_unlink allow;
    242 mq_timedsend allow;
    243 mq_timedreceive allow;
    244 mq_notify allow;
    245 mq_getsetattr allow;
    246 kexec_load kill;
    247 waitid allow;
    248 add_key allow;
    249 request_key allow;
    250 keyctl only(0, 95, [0x0..=0x16, 0x18..=0x18, 0x1d..=0x20]);
    251 ioprio_set allow;
    252 ioprio_get allow;
    253 inotify_init allow;
    254 inotify_add_watch allow;
    255 inotify_rm_watch allow;
    256 migrate_pages allow;
    257 openat allow;
    258 mkdirat allow;
    259 mknodat allow;
    260 fchownat allow;
    261 futimesat allow;
    262 newfstatat allow;
    263 unlinkat allow;
    264 renameat allow;
    265 linkat allow;
    266 symlinkat allow;
    267 readlinkat allow;
    268 fchmodat allow;
    269 faccessat allow;
    270 pselect6 allow;
    271 ppoll allow;
    272 unshare allow;
    273 set_robust_list allow;
    274 get_robust_list allow;
    275 splice allow;
    276 tee allow;
    277 sync_file_range allow;
    278 vmsplice allow;
    279 move_pages allow;
    280 utimensat allow;
    281 epoll_pwait allow;
    282 signalfd allow;
    283 timerfd_create allow;
    284 eventfd allow;
    285 fallocate allow;
    286 timerfd_settime allow;
    287 timerfd_gettime allow;
    288 accept4 allow;
    289 signalfd4 allow;
    290 eventfd2 allow;
    291 epoll_create1 allow;
    292 dup3 allow;
    293 pipe2 allow;
    294 inotify_init1 allow;
    295 preadv allow;
    296 pwritev allow;
    297 rt_tgsigqueueinfo allow;
    298 perf_event_open kill;
    299 recvmmsg allow;
    300 fanotify_init allow;
    301 fanotify_mark allow;
    302 prlimit64 allow;
    303 name_to_handle_at allow;
    304 open_by_handle_at allow;
    305 clock_adjtime allow;
    306 syncfs allow;
    307 sendmmsg allow;
    308 setns allow;
    309 getcpu allow;
    310 process_vm_readv allow;
    311 process_vm_writev allow;
    312 kcmp allow;
    313 finit_module kill;
    314 sched_setattr allow;
    315 sched_getattr allow;
    316 renameat2 allow;
    317 seccomp only(0, 22, [0x1..=0x1]);
    318 getrandom allow;
    319 memfd_create allow;
    320 kexec_file_load kill;
    321 bpf kill;
    322 execveat allow;
    323 userfaultfd kill;
    324 membarrier allow;
    325 mlock2 allow;
    326 copy_file_range allow;
    327 preadv2 allow;
    328 pwritev2 allow;
    329 pkey_mprotect kill;
    330 pkey_alloc kill;
    331 pkey_free kill;
    332 statx allow;
    333 io_pgetevents allow;
    334 rseq allow;
    335 uretprobe allow;
    424 pidfd_send_signal allow;
    425 io_uring_setup kill;
    426 io_uring_enter kill;
    427 io_uring_register kill;
    428 open_tree allow;
    429 move_mount allow;
    430 fsopen allow;
    431 fsconfig allow;
    432 fsmount allow;
    433 fspick allow;
    434 pidfd_open allow;
    435 clone3 allow;
    436 close_range allow;
    437 openat2 allow;
    438 pidfd_getfd allow;
    439 faccessat2 allow;
    440 process_madvise allow;
    441 epoll_pwait2 allow;
    442 mount_setattr allow;
    443 quotactl_fd allow;
    444 landlock_create_ruleset kill;
    445 landlock_add_rule kill;
    446 landlock_restrict_self kill;
    447 memfd_secret kill;
    448 process_mrelease allow;
    449 futex_waitv allow;
    450 set_mempolicy_home_node allow;
    451 cachestat allow;
    452 fchmodat2 allow;
    453 map_shadow_stack kill;
    454 futex_wake allow;
    455 futex_wait allow;
    456 futex_requeue allow;
    457 statmount allow;
    458 listmount allow;
    459 lsm_get_self_attr allow;
    460 lsm_set_self_attr kill;
    461 lsm_list_modules allow;
    462 mseal allow;
}
