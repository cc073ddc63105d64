//! Calls whose later arguments mean what an earlier one says: `fcntl`, `ioctl`,
//! `prctl`, `futex`, `semctl`,
//! `keyctl`, `kcmp`, `fsconfig`. One row for each selector that is proven harmless, under the same
//! obligations as in the main table; what has no row cannot be forwarded.

use std::ops::RangeInclusive;

use super::{
    Arg::{self, Fd, Hex, In, Int, IovIn, Out, Span, Str, Struct, Word},
    Call, Forwardable, holds,
};

/// A call of one selector.
struct Variant {
    selector: u64,
    call: Call,
}

/// The leading arguments, which all selectors share, and the others.
macro_rules! args {
    ([$($leading:expr),*] $($arg:expr),*) => {
        &[$($leading,)* $($arg),*]
    };
}

macro_rules! variants {
    ($table:ident $number:literal $name:literal $leading:tt: $($selector:literal ($($arg:expr),*);)*) => {
        static $table: &[Variant] = &[$(Variant {
            selector: $selector,
            call: Call {
                number: $number,
                name: $name,
                args: {
                    const ARGS: &[Arg] = args!($leading $($arg),*);
                    const { assert!(holds(ARGS), "a forwardable row hides a pointer") };
                    ARGS
                },
                forwardable: true,
            },
        }),*];
    };
}

// fcntl(2): duplicates, flags, locks, owners, leases, pipe sizes, seals, hints.
variants! { FCNTL 72 "fcntl" [Fd, Int]:
    0 (Int); 1 (); 2 (Int); 3 (); 4 (Hex); 5 (Struct(32)); 6 (Struct(32)); 7 (Struct(32));
    8 (Int); 9 (); 10 (Int); 11 (); 15 (Struct(8)); 16 (Struct(8)); 17 (Struct(8));
    36 (Struct(32)); 37 (Struct(32)); 38 (Struct(32));
    1024 (Int); 1025 (); 1026 (Hex); 1027 (Fd); 1028 (); 1030 (Int); 1031 (Int); 1032 ();
    1033 (Hex); 1034 (); 1035 (Struct(8)); 1036 (Struct(8)); 1037 (Struct(8)); 1038 (Struct(8));
}

variants! { IOCTL 16 "ioctl" [Fd, Hex]:
    // ioctl_tty(2): TCGETS to TCSETAF, breaks, flow, modes, groups, sizes, lines, locks.
    0x5401 (Struct(36)); 0x5402 (Struct(36)); 0x5403 (Struct(36)); 0x5404 (Struct(36));
    0x5405 (Struct(36)); 0x5406 (Struct(36)); 0x5407 (Struct(36)); 0x5408 (Struct(36));
    0x5409 (Int); 0x540a (Int); 0x540b (Int); 0x540c (); 0x540d (); 0x540e (Int);
    0x540f (Struct(4)); 0x5410 (Struct(4)); 0x5411 (Struct(4)); 0x5412 (Struct(1));
    0x5413 (Struct(8)); 0x5414 (Struct(8)); 0x5415 (Struct(4)); 0x5416 (Struct(4));
    0x5417 (Struct(4)); 0x5418 (Struct(4)); 0x5419 (Struct(4)); 0x541a (Struct(4));
    0x541b (Struct(4)); 0x541d (); 0x5420 (Struct(4)); 0x5421 (Struct(4)); 0x5422 ();
    0x5423 (Struct(4)); 0x5424 (Struct(4)); 0x5425 (Int); 0x5427 (); 0x5428 ();
    0x5429 (Struct(4)); 0x802c_542a (Struct(44)); 0x402c_542b (Struct(44));
    0x402c_542c (Struct(44)); 0x402c_542d (Struct(44)); 0x8004_5430 (Struct(4));
    0x4004_5431 (Struct(4)); 0x8004_5432 (Struct(4)); 0x5437 (); 0x8004_5438 (Struct(4));
    0x8004_5439 (Struct(4)); 0x8004_5440 (Struct(4)); 0x5441 (Hex);
    0x5456 (Struct(36)); 0x5457 (Struct(36));
    // Any file: block size, close-on-exec, asynchronous input, size.
    2 (Struct(4)); 0x5450 (); 0x5451 (); 0x5452 (Struct(4)); 0x5460 (Struct(8));
    // Sockets: marks, times, owners; interfaces by name, without nested pointers.
    0x8901 (Struct(4)); 0x8902 (Struct(4)); 0x8903 (Struct(4)); 0x8904 (Struct(4));
    0x8905 (Struct(4)); 0x8906 (Struct(16)); 0x8907 (Struct(16));
    0x8910 (Struct(40)); 0x8913 (Struct(40)); 0x8914 (Struct(40)); 0x8915 (Struct(40));
    0x8916 (Struct(40)); 0x8917 (Struct(40)); 0x8918 (Struct(40)); 0x8919 (Struct(40));
    0x891a (Struct(40)); 0x891b (Struct(40)); 0x891c (Struct(40)); 0x891d (Struct(40));
    0x891e (Struct(40)); 0x8921 (Struct(40)); 0x8922 (Struct(40)); 0x8927 (Struct(40));
    0x8933 (Struct(40)); 0x8942 (Struct(40)); 0x8943 (Struct(40));
    // ioctl_iflags(2), ioctl_fslabel(2), FICLONE, fiemap, getversion.
    0x8008_6601 (Struct(8)); 0x4008_6602 (Struct(8)); 0x8008_7601 (Struct(8));
    0xc020_660b (Str); 0x4004_9409 (Fd); 0x8100_9431 (Struct(256));
    0x801c_581f (Struct(28)); 0x401c_5820 (Struct(28));
    // Block devices' sizes; the entropy count; ioctl_ns(2).
    0x1260 (Struct(8)); 0x1268 (Struct(4)); 0x8008_1272 (Struct(8)); 0x127b (Struct(4));
    0x8004_5200 (Struct(4)); 0xb701 (); 0xb702 (); 0xb703 (); 0xb704 (Struct(4));
    // tun(4): interfaces, flags, owners.
    0x4004_54ca (Struct(40)); 0x8004_54d2 (Struct(40)); 0x4004_54cb (Int); 0x4004_54c8 (Int);
    0x8004_54cf (Struct(4)); 0x4004_54cc (Int); 0x4004_54cd (Int); 0x4004_54ce (Int);
    0x4004_54d0 (Hex); 0x8004_54d3 (Struct(4)); 0x4004_54d4 (Struct(4)); 0x8004_54d7 (Struct(4));
    0x4004_54d8 (Struct(4)); 0x4004_54d9 (Struct(40));
}

// prctl(2). PR_SET_MM, PR_SET_SECCOMP, PR_SET_DUMPABLE, PR_GET_AUXV and PR_SET_TSC
// would act on the monitor instead of the guest, and have no row.
variants! { PRCTL 157 "prctl" [Int]:
    1 (Int); 2 (Struct(4)); 7 (); 8 (Int); 13 (); 15 (Str); 16 (Struct(16)); 23 (Int); 24 (Int);
    25 (Struct(4)); 27 (); 28 (Hex); 29 (Int); 30 (); 33 (Int, Int, Int, Int);
    34 (Int, Int, Int, Int); 36 (Int); 37 (Struct(4)); 38 (Int, Int, Int, Int);
    39 (Int, Int, Int, Int); 41 (Int, Int, Int, Int); 42 (Int, Int, Int, Int);
    47 (Int, Int, Int, Int); 52 (Int, Int, Int, Int); 53 (Int, Hex, Int, Int);
    0x5356_4d41 (Int, Span(3), Int, Str); 0x5961_6d61 (Int);
}

// futex(2): waits have a time limit where wakes have nothing or a number. What an
// operation does not use may hold anything: C libraries pass fewer arguments.
variants! { FUTEX 202 "futex" [Struct(4), Hex, Int]:
    0 (Struct(16)); 1 (); 3 (Int, Struct(4)); 4 (Int, Struct(4), Int); 5 (Int, Struct(4), Hex);
    6 (Struct(16)); 7 (); 8 (); 9 (Struct(16), Int, Hex); 10 (Int, Int, Hex);
    11 (Struct(16), Struct(4), Hex); 12 (Int, Struct(4), Int); 13 (Struct(16));
}

// semctl(2): IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO; then GETPID to SETALL, SEM_STAT
// and the like. Arrays of all values are as long as the kernel's own limit at most.
variants! { SEMCTL 66 "semctl" [Int, Int, Int]:
    0 (); 1 (Struct(104)); 2 (Struct(104)); 3 (Struct(40)); 11 (); 12 (); 13 (Str); 14 (); 15 ();
    16 (Int); 17 (Str); 18 (Struct(104)); 19 (Struct(40)); 20 (Struct(104));
}

// keyctl(2), but for KEYCTL_DH_COMPUTE (23) and the operations with asymmetric keys
// (25 to 28), whose structures hold pointers, or lengths of other arguments.
variants! { KEYCTL 250 "keyctl" [Int]:
    0 (Int, Int); 1 (Str); 2 (Int, In(3), Int); 3 (Int); 4 (Int, Int, Int); 5 (Int, Hex);
    6 (Int, Out(3), Int); 7 (Int); 8 (Int, Int); 9 (Int, Int); 10 (Int, Str, Str, Int);
    11 (Int, Out(3), Int); 12 (Int, In(3), Int, Int); 13 (Int, Int, Int); 14 (Int); 15 (Int, Int);
    16 (Int); 17 (Int, Out(3), Int); 18 (); 19 (Int, Int, Int, Int); 20 (Int, IovIn(3), Int, Int);
    21 (Int); 22 (Int, Int); 24 (Int, Int, Str, Struct(48)); 29 (Int, Str, Str);
    30 (Int, Int, Int, Hex); 31 (Out(2), Int); 32 (Int, Fd, Int);
}

// kcmp(2): the descriptors are those of the two processes, not of the caller.
variants! { KCMP 312 "kcmp" [Int, Int, Int]:
    0 (Int, Int); 1 (); 2 (); 3 (); 4 (); 5 (); 6 (); 7 (Int, Struct(12));
}

// fsconfig(2): FSCONFIG_SET_FLAG, _STRING, _BINARY, whose last argument is a length, _PATH, _PATH_EMPTY and _FD,
// whose last argument is a descriptor; the commands.
variants! { FSCONFIG 431 "fsconfig" [Fd, Int]:
    0 (Str, Str, Int); 1 (Str, Str, Int); 2 (Str, In(4), Int); 3 (Str, Str, Fd); 4 (Str, Str, Fd);
    5 (Str, Str, Fd); 6 (Str, Str, Int); 7 (Str, Str, Int); 8 (Str, Str, Int);
}

/// `FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME`: beside the operation.
const FUTEX_FLAGS: u64 = 0x180;

/// `fcntl(2)` with this command, if it can be forwarded.
pub fn fcntl(command: u64) -> Option<Forwardable> {
    find(FCNTL, command)
}

/// `ioctl(2)` with this request, if it can be forwarded.
pub fn ioctl(request: u64) -> Option<Forwardable> {
    find(IOCTL, request)
}

/// `prctl(2)` with this option, if it can be forwarded.
pub fn prctl(option: u64) -> Option<Forwardable> {
    find(PRCTL, option)
}

/// `futex(2)` with this operation, if it can be forwarded.
pub fn futex(operation: u64) -> Option<Forwardable> {
    find(FUTEX, operation & !FUTEX_FLAGS)
}

/// `semctl(2)` with this command, if it can be forwarded.
pub fn semctl(command: u64) -> Option<Forwardable> {
    find(SEMCTL, command)
}

/// `keyctl(2)` with this operation, if it can be forwarded.
pub fn keyctl(operation: u64) -> Option<Forwardable> {
    find(KEYCTL, operation)
}

/// `fsconfig(2)` with this command, if it can be forwarded.
pub fn fsconfig(command: u64) -> Option<Forwardable> {
    find(FSCONFIG, command)
}

/// `kcmp(2)` of this type, if it can be forwarded.
pub fn kcmp(kind: u64) -> Option<Forwardable> {
    find(KCMP, kind)
}

/// The selectors of all rows of a call.
fn selectors(table: &'static [Variant]) -> impl Iterator<Item = u64> {
    table.iter().map(|variant| variant.selector)
}

/// The requests of `ioctl(2)` that can be forwarded.
pub fn ioctls() -> impl Iterator<Item = u64> {
    selectors(IOCTL)
}

/// The options of `prctl(2)` that can be forwarded.
pub fn prctls() -> impl Iterator<Item = u64> {
    selectors(PRCTL)
}

/// The operations of `keyctl(2)` that can be forwarded.
pub fn keyctls() -> impl Iterator<Item = u64> {
    selectors(KEYCTL)
}

/// The kernel takes selectors as 32-bit numbers.
fn find(table: &'static [Variant], selector: u64) -> Option<Forwardable> {
    let selector = selector & 0xffff_ffff;
    let variant = table.iter().find(|variant| variant.selector == selector)?;
    Some(Forwardable(&variant.call))
}

static GETSOCKOPT: Call = Call {
    number: 55,
    name: "getsockopt",
    args: &[Fd, Int, Int, Str, Struct(4)],
    forwardable: true,
};

static SETSOCKOPT: Call =
    Call { number: 54, name: "setsockopt", args: &[Fd, Int, Int, In(4), Word], forwardable: true };

/// `getsockopt(2)` of an option whose value holds no pointer.
pub fn getsockopt(level: u64, option: u64) -> Option<Forwardable> {
    is_plain(level, option).then_some(Forwardable(&GETSOCKOPT))
}

/// `setsockopt(2)` of an option whose value holds no pointer.
pub fn setsockopt(level: u64, option: u64) -> Option<Forwardable> {
    is_plain(level, option).then_some(Forwardable(&SETSOCKOPT))
}

/// A level that no socket knows, to ask a socket what it says of such.
pub const UNKNOWN_LEVEL: u64 = 0x7fff_ffff;

/// The levels whose options are known, and one that nobody knows: IP, sockets, TCP, UDP, IPv6, ICMPv6, CAN, SCTP, UDP-Lite, raw, packets,
/// netlink, TIPC, cryptography, TLS, MPTCP, vsock.
const LEVELS: [RangeInclusive<u64>; 16] = [
    0..=1,
    6..=6,
    17..=17,
    40..=41,
    58..=58,
    100..=107,
    132..=132,
    136..=136,
    255..=255,
    263..=263,
    270..=271,
    279..=279,
    282..=282,
    284..=284,
    287..=287,
    UNKNOWN_LEVEL..=UNKNOWN_LEVEL,
];

/// Whether the kernel follows no pointer in the option's value. It does for socket filters, zero-copy receive,
/// fan-out programs, SCTP's associations by address, MPTCP's subflows, and the tables of packet filters (ip and
/// ip6 tables, arp tables, bridge tables), whose numbers lie among IP's own.
fn is_plain(level: u64, option: u64) -> bool {
    let [level, option] = [level, option].map(|argument| argument & 0xffff_ffff);
    LEVELS.iter().any(|known| known.contains(&level))
        && match (level, option) {
            (1, 26 | 51)
            | (6, 35)
            | (132, 111)
            | (263, 22)
            | (284, 4)
            | (0 | 41, 64 | 65)
            | (0, 96..=99 | 128..=131) => false,
            (255, option) => !(64..256).contains(&option),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::{Arg, fcntl, futex, getsockopt, ioctl, kcmp, keyctl, prctl, semctl, setsockopt};

    #[test]
    fn what_would_act_on_the_monitor_has_no_row() {
        for option in [4, 22, 35, 0x4155_5856] {
            assert!(prctl(option).is_none(), "prctl {option}");
        }
        assert!(ioctl(0xae01).is_none(), "KVM_CREATE_VM");
        assert!(ioctl(0x8946).is_none(), "SIOCETHTOOL, with a pointer inside");
        assert!(fcntl(999).is_none());
        for operation in [23, 25, 26, 27, 28, 33] {
            assert!(keyctl(operation).is_none(), "keyctl {operation}, with a pointer inside");
        }
        assert!(kcmp(8).is_none());
    }

    #[test]
    fn what_an_operation_does_not_use_is_not_looked_at() {
        let wake = futex(1 | 0x80).unwrap().call();
        assert_eq!(wake.args, futex(1).unwrap().call().args, "flags are no operation");
        assert_eq!(wake.args.len(), 3);
        assert_eq!(futex(4).unwrap().call().args[3], Arg::Int, "a number of waiters");
        assert!(futex(2).is_none(), "FUTEX_FD is gone from Linux");
        assert_eq!(semctl(16).unwrap().call().args[3], Arg::Int, "SETVAL");
    }

    #[test]
    fn high_bits_of_a_selector_do_not_count() {
        assert!(ioctl(0xffff_ffff_0000_5401).is_some());
        assert!(setsockopt(0xffff_ffff_0000_0001, 26).is_none());
    }

    #[test]
    fn options_with_pointers_are_told_from_those_without() {
        assert!(setsockopt(1, 2).is_some(), "SO_REUSEADDR");
        assert!(setsockopt(1, 26).is_none(), "SO_ATTACH_FILTER");
        assert!(getsockopt(6, 35).is_none(), "TCP_ZEROCOPY_RECEIVE");
        assert!(setsockopt(0, 64).is_none(), "IPT_SO_SET_REPLACE");
        assert!(getsockopt(284, 4).is_none(), "MPTCP_FULL_INFO");
        assert!(getsockopt(284, 1).is_some(), "MPTCP_INFO");
        assert!(setsockopt(283, 4).is_none(), "XDP_UMEM_REG");
        assert!(setsockopt(276, 2).is_none(), "RDS_GET_MR");
        assert!(setsockopt(41, 67).is_some(), "IPV6_TCLASS");
        assert!(getsockopt(0, 80).is_some(), "SO_ORIGINAL_DST");
    }
}
