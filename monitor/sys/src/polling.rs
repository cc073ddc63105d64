//! `poll(2)` and `select(2)` with their like: what they are told to look at is copied once, the monitor's
//! descriptors are taken out of the copy, and the copy is what the kernel sees. Looked at in place, another thread
//! of the guest's could put one in after the look.

use nix::errno::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    abi::{Arg, Forwardable, number},
    descriptors,
    forward::{NO_DESCRIPTOR, for_host, stand_in},
    guest_copy,
    guest_memory::GuestMemory,
    host_call::{self, Outcome, to_u64},
};

/// `POLLNVAL`, as `poll(2)` finds what is not open.
pub const NOT_OPEN: u16 = 0x20;
/// `EINTR`, as the host returns it.
const INTERRUPTED: i64 = -(libc::EINTR as i64);
/// The bits of a word of a set.
const WORD: u64 = 64;
/// No process has more descriptors, unless its host was told to allow it.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub struct Watched {
    /// The descriptor; a negative one is not looked at.
    pub descriptor: i32,
    /// What is waited for.
    pub events: u16,
    /// What was found.
    pub found: u16,
}

/// The size of [`Watched`], in bytes.
pub const WATCHED_LEN: u64 = 8;
/// Where in it stands what was found.
pub const FOUND_AT: u64 = 6;

/// Whether a process may have so many descriptors looked at: a number above its limit is `EINVAL`.
pub fn is_countable(count: u64) -> bool {
    const FEW: u64 = 256;
    let limit = || nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    count <= FEW || limit().is_ok_and(|(soft, _)| count <= soft)
}

/// `poll(2)` or `ppoll(2)` of a copied list, or of one that could not be copied. Says whether what was found is to be
/// written back.
pub fn poll(
    _memory: &GuestMemory,
    call: Forwardable,
    args: [u64; 6],
    list: Option<&mut [Watched]>,
) -> Result<(Outcome, bool), Errno> {
    let row = call.call();
    let (mut host, _) = for_host(row.args, args, Some(0))?;
    host[0] = match &list {
        Some(list) => {
            host[1] = to_u64(list.len());
            to_u64(list.as_ptr().addr())
        }
        None => stand_in(args[0]),
    };
    for watched in list.into_iter().flatten() {
        if descriptors::is_ours(watched.descriptor) {
            watched.descriptor = NO_DESCRIPTOR;
        }
    }
    // SAFETY: the list is the caller's copy, which outlives the call, of as many elements as is said, or there is
    // nothing at its address; the time and the mask are the guest's, or nobody's.
    let outcome = unsafe { host_call::interruptible(row.number, &host) };
    let tells = matches!(outcome, Outcome::Returned(0.. | INTERRUPTED));
    Ok((outcome, tells))
}

/// `select(2)`, or `pselect6(2)` with a mask, whose last argument points to a pointer to it.
pub fn select(
    _memory: &GuestMemory,
    number: usize,
    args: [u64; 6],
    mask: Option<u64>,
) -> Result<Outcome, Errno> {
    const SETS: [Arg; 5] = [Arg::Int, Arg::Bits(0), Arg::Bits(0), Arg::Bits(0), Arg::Struct(16)];
    let (mut host, _) = for_host(&SETS, args, None)?;
    let mask_at = mask.as_ref().map_or(0, |mask| to_u64((&raw const *mask).addr()));
    let masked = [mask_at, 8];
    if number == number::PSELECT6 {
        host[5] = to_u64(masked.as_ptr().addr());
    }
    let count = u64::from(u32::try_from(args[0] & 0xffff_ffff).expect("masked to 32 bits"));
    let mut sets = Sets::default();
    if i32::try_from(count).is_ok_and(descriptors::may_be_ours_below) {
        host[0] = count.min(DESCRIPTORS_MAX);
        sets = Sets::copy(&args, host[0]);
    }
    if sets.has_ours() {
        check_time(number, args[4])?;
        return Err(Errno::EBADF);
    }
    for (set, host) in sets.0.iter().zip(&mut host[1..4]) {
        match set {
            Set::InPlace => {}
            Set::Copied { words, .. } => *host = to_u64(words.as_ptr().addr()),
            Set::Unreadable => *host = stand_in(*host),
        }
    }
    // SAFETY: the sets are copies of ours with room for as many bits as are said, which live until the end of this
    // function, or the guest's, or nobody's, and so is the time; the mask and what points to it live on this stack.
    let outcome = unsafe { host_call::interruptible(number, &host) };
    if matches!(outcome, Outcome::Returned(0..)) {
        for (set, &at) in sets.0.iter().zip(&args[1..4]) {
            if let Set::Copied { words, len } = set {
                guest_copy::write_bytes(at, &words.as_bytes()[..*len])?;
            }
        }
    }
    Ok(outcome)
}

/// What was made of a set of descriptors.
#[derive(Debug, Default)]
enum Set {
    /// Nothing: no descriptor of the monitor's can be in it.
    #[default]
    InPlace,
    /// A copy of its first bytes; the kernel takes no notice of bits above those of the process's table.
    Copied { words: Vec<u64>, len: usize },
    /// It cannot be read as far as the monitor's descriptors lie.
    Unreadable,
}

#[derive(Debug, Default)]
struct Sets([Set; 3]);

impl Sets {
    fn copy(args: &[u64; 6], count: u64) -> Self {
        let ours = descriptors::list();
        let last = ours.iter().filter_map(|&number| u64::try_from(number).ok());
        let last = last.filter(|&number| number < count).max();
        let needed = last.map_or(0, |last| (last / WORD + 1) * (WORD / 8));
        Self([args[1], args[2], args[3]].map(|at| {
            if at == 0 {
                return Set::InPlace;
            }
            let mut words = vec![0; usize::try_from(count.div_ceil(WORD)).unwrap_or(0)];
            match guest_copy::read_some(at, words.as_mut_slice().as_mut_bytes()) {
                Ok(len) if to_u64(len) >= needed => Set::Copied { words, len },
                _ => Set::Unreadable,
            }
        }))
    }

    /// Whether a descriptor of the monitor's is to be looked at, which Linux says of no set that it cannot read.
    fn has_ours(&self) -> bool {
        let has = |words: &[u64], number: i32| {
            let number = u64::from(number.unsigned_abs());
            let word = usize::try_from(number / WORD).ok().and_then(|at| words.get(at));
            word.is_some_and(|word| word >> (number % WORD) & 1 != 0)
        };
        let is_in = |set: &Set| match set {
            Set::Copied { words, .. } => {
                descriptors::list().iter().any(|&number| has(words, number))
            }
            Set::InPlace | Set::Unreadable => false,
        };
        let is_readable = |set: &Set| !matches!(set, Set::Unreadable);
        self.0.iter().all(is_readable) && self.0.iter().any(is_in)
    }
}

/// What Linux says of a time limit before it looks at the sets.
fn check_time(number: usize, at: u64) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    let [seconds, fraction] = guest_copy::read::<[i64; 2]>(at)?;
    // Of `struct timeval` too many microseconds are seconds.
    let is_known = number == number::SELECT || fraction < 1_000_000_000;
    if seconds < 0 || fraction < 0 || !is_known { Err(Errno::EINVAL) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use nix::errno::Errno;

    use super::{NOT_OPEN, Watched, poll, select};
    use crate::{
        abi::{Forwardable, number},
        descriptors, guest_copy,
        guest_memory::{GuestMemory, GuestSpan, PAGE},
        host_call::Outcome,
    };

    #[test]
    fn a_descriptor_of_the_monitors_is_not_open_to_poll() {
        let memory = GuestMemory::claim().unwrap();
        let own = File::open("/dev/null").unwrap();
        let hidden = descriptors::hide(&own).unwrap();
        let watched = |descriptor| Watched { descriptor, events: 1, found: 0 };
        let mut list = [watched(hidden.as_raw_fd()), watched(own.as_raw_fd()), watched(-1)];

        let polled = poll(&memory, Forwardable::POLL, [0, 3, 0, 0, 0, 0], Some(&mut list));

        assert_eq!(polled, Ok((Outcome::Returned(2), true)));
        assert_eq!(list.map(|watched| watched.found), [NOT_OPEN, 1, 0]);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_the_kernels_to_refuse() {
        let memory = GuestMemory::claim().unwrap();
        let poll = |count| poll(&memory, Forwardable::POLL, [16, count, 0, 0, 0, 0], None);

        let returned = |errno: i32| Ok((Outcome::Returned(-i64::from(errno)), false));
        assert_eq!(poll(1), returned(libc::EFAULT));
        assert_eq!(poll(0x7fff_ffff), returned(libc::EINVAL));
    }

    #[test]
    fn a_descriptor_of_the_monitors_is_not_open_to_select() {
        let memory = GuestMemory::claim().unwrap();
        let span = GuestSpan::new(0x70_0000, 2 * PAGE).unwrap();
        memory.map(span, 3, 0x22, None, 0).unwrap();
        let (set, time) = (span.start(), span.start() + PAGE);
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = u64::try_from(hidden.as_raw_fd()).unwrap();
        let select = |count| select(&memory, number::SELECT, [count, set, 0, 0, time, 0], None);

        guest_copy::write(set + number / 64 * 8, &(1_u64 << (number % 64))).unwrap();

        assert_eq!(select(number), Ok(Outcome::Returned(0)), "it is not among the first");
        assert_eq!(select(number + 1), Err(Errno::EBADF));
        guest_copy::write(time, &[-1_i64, 0]).unwrap();
        assert_eq!(select(number + 1), Err(Errno::EINVAL));
    }
}
