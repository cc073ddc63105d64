//! What Linux says about its system calls on x86-64: number, name, and how each
//! argument is read. Facts only; what the monitor does about a call is policy
//! and stands in the monitor's own table.
//!
//! A row marked `forwardable` is a proof obligation, kept by two readers:
//!
//! 1. every pointer among the arguments is declared, with its length where the
//!    caller gives one;
//! 2. the kernel has forgotten every such pointer when the call returns;
//! 3. no number among the arguments can disturb the monitor: descriptors are
//!    declared as such and checked, everything else acts on the guest's own
//!    things only.
//!
//! Only those rows get a [`Forwardable`] constant, so that a policy which
//! forwards another call does not compile.

mod table;
pub mod variants;

pub use table::{CALLS, number};

/// How one argument of a call is read.
///
/// A number in parentheses after `In`, `Out`, `Array`, `Iov`, `Bits` and `Span`
/// is the *index of the argument* that holds the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number, signed where it is printed.
    Int,
    /// A number of which the kernel takes the lower 32 bits, where it is a length of other arguments.
    Word,
    /// A number of bytes of which the kernel transfers `INT_MAX` at most, and looks at no others.
    Most,
    /// A number that is a set of flags, a mode or an address-sized value.
    Hex,
    /// A file descriptor, or a negative number such as `AT_FDCWD`.
    Fd,
    /// A NUL-terminated string. The kernel stops at the NUL or at its own limit.
    Str,
    /// As many bytes as argument `.0` says, read by the kernel.
    In(usize),
    /// As many bytes as argument `.0` says, written by the kernel.
    Out(usize),
    /// A structure of `.0` bytes, or null.
    Struct(u64),
    /// As many elements as argument `.0` says, of `.1` bytes each.
    Array(usize, u64),
    /// As many `struct iovec` as argument `.0` says, read by the kernel.
    IovIn(usize),
    /// As many `struct iovec` as argument `.0` says, written by the kernel.
    IovOut(usize),
    /// A bit set of as many bits as argument `.0` says, in whole words.
    Bits(usize),
    /// A range of guest addresses of as many bytes as argument `.0` says.
    Span(usize),
    /// A pointer this table does not explain. Never in a forwardable row.
    Opaque,
}

/// One system call.
#[derive(Debug)]
pub struct Call {
    /// Its number on x86-64.
    pub number: usize,
    /// Its name in Linux's table.
    pub name: &'static str,
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// Whether the row claims the three things in the module's description.
    pub forwardable: bool,
}

/// A call whose row proves that forwarding it cannot harm the monitor.
#[derive(Clone, Copy, Debug)]
pub struct Forwardable(pub(crate) &'static Call);

impl Forwardable {
    /// The call's row.
    pub const fn call(self) -> &'static Call {
        self.0
    }
}

/// Looks a call up by its number.
pub fn lookup(number: u64) -> Option<&'static Call> {
    let number = usize::try_from(number).ok()?;
    CALLS.binary_search_by_key(&number, |call| call.number).ok().map(|at| &CALLS[at])
}

/// Whether a forwardable row declares each pointer, and each length it names
/// is an argument that exists. Evaluated while the table compiles.
const fn holds(args: &[Arg]) -> bool {
    let mut at = 0;
    while at < args.len() {
        let length = match args[at] {
            Arg::Opaque => return false,
            Arg::In(k)
            | Arg::Out(k)
            | Arg::Array(k, _)
            | Arg::IovIn(k)
            | Arg::IovOut(k)
            | Arg::Bits(k)
            | Arg::Span(k) => k,
            Arg::Int | Arg::Word | Arg::Most | Arg::Hex | Arg::Fd | Arg::Str | Arg::Struct(_) => 0,
        };
        if length >= args.len() {
            return false;
        }
        at += 1;
    }
    args.len() <= 6
}

#[cfg(test)]
mod tests {
    use super::{CALLS, lookup};

    #[test]
    fn the_table_is_in_the_order_of_numbers() {
        assert!(CALLS.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn every_number_finds_its_row() {
        for call in CALLS {
            let found = lookup(call.number.try_into().unwrap()).unwrap();

            assert_eq!(found.name, call.name);
        }
    }

    #[test]
    fn numbers_between_and_behind_the_rows_find_nothing() {
        for number in [336, 400, 423, 999, u64::MAX] {
            assert!(lookup(number).is_none(), "{number}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        let known = [
            ("read", libc::SYS_read),
            ("mmap", libc::SYS_mmap),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("statx", libc::SYS_statx),
            ("futex", libc::SYS_futex),
            ("prlimit64", libc::SYS_prlimit64),
            ("getrandom", libc::SYS_getrandom),
            ("epoll_pwait2", libc::SYS_epoll_pwait2),
            ("signalfd4", libc::SYS_signalfd4),
        ];
        for (name, number) in known {
            assert_eq!(lookup(number.cast_unsigned()).unwrap().name, name);
        }
    }
}
