//! Calls that an agent outside the container is asked about: `SECCOMP_RET_USER_NOTIF`.
//!
//! krun loads one filter into the kernel, which notifies the agent of every call that is made
//! from one page, and allows all others. On that page lies a second copy of the
//! code of [`crate::host_call`]: what is called there reaches the agent with the guest's number
//! and arguments, and its answer is the call's result. Children and executed monitors inherit
//! the kernel's filter, and find the page at the same address.
//!
//! An agent may have the kernel go on with the call. So a call is made from the page only
//!
//! * as the monitor would make it anyway, with all its checks done ([`asked`]), or
//! * with a pointer to memory that the kernel may not read ([`ask_first`]): what then comes of
//!   going on is `EFAULT` and nothing else. Agents read it all the same, by `/proc/<pid>/mem`.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::errno::Errno;

use crate::{
    abi::number,
    host_call::{self, Code, Outcome, to_u64},
};

/// The page's length in bytes.
const PAGE_LEN: u64 = 4096;

/// Where the copied code is, or 0 if there is none.
static COPY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The number of the call that the agent has to be asked about.
    static WAITING: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Makes the page at `address`, in a process whose kernel notifies an agent of calls from there.
pub fn prepare(address: u64) -> Result<(), Errno> {
    let page = map(address, PAGE_LEN, libc::MAP_FIXED_NOREPLACE)?;
    let code = host_call::code();
    assert!(to_u64(code.len()) <= PAGE_LEN, "a few instructions");
    // SAFETY: the page is new, writable, nobody else's, and long enough.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), pointer(page), code.len()) };
    protect(page, PAGE_LEN, libc::PROT_READ | libc::PROT_EXEC)?;
    COPY.store(page, Ordering::Release);
    Ok(())
}

/// Runs `call`, which makes the host call `number` for the guest. The first time it does so, the
/// agent is asked.
pub fn asked<T>(number: usize, call: impl FnOnce() -> T) -> T {
    WAITING.set(Some(number));
    let result = call();
    WAITING.set(None);
    result
}

/// Whether the agent has to be asked about this call, and was not yet.
pub fn is_to_be_asked(number: usize) -> bool {
    WAITING.get() == Some(number)
}

/// Which code makes a call: the copy, if the agent is to be asked about it.
pub(crate) fn code_for(number: usize) -> Code {
    if WAITING.get() == Some(number) {
        WAITING.set(None);
        copy()
    } else {
        Code::Original
    }
}

/// The copy, if there is one.
pub(crate) fn copy() -> Code {
    match COPY.load(Ordering::Acquire) {
        0 => Code::Original,
        page => Code::CopiedTo(page),
    }
}

/// The calls whose argument of this index is a pointer that the kernel reads before it does
/// anything: paths, `struct open_how`, `struct clone_args`.
fn read_first(number: usize) -> Option<usize> {
    match number {
        number::OPEN | number::CREAT | number::EXECVE | number::CLONE3 => Some(0),
        number::OPENAT | number::OPENAT2 | number::EXECVEAT => Some(1),
        _ => None,
    }
}

/// Asks the agent about a call that the monitor does not make as it is. `bytes` are what the
/// guest's pointer leads to: a path with its NUL, or `struct clone_args`.
///
/// `None` if the agent wants the call made; `ENOSYS` if this call cannot be asked about so.
pub fn ask_first(number: usize, args: [u64; 6], bytes: &[u8]) -> Result<Option<Outcome>, Errno> {
    let at = read_first(number).ok_or(Errno::ENOSYS)?;
    let Code::CopiedTo(_) = copy() else { return Err(Errno::ENOSYS) };
    let unreadable = Unreadable::new(bytes)?;
    let mut host = args;
    host[at] = unreadable.address;
    // SAFETY: the kernel comes to the unreadable pointer before it does anything for the
    // call (that is what `read_first` lists), and fails.
    let outcome = unsafe { host_call::interruptible_by(copy(), number, &host) };
    let went_on = outcome == Outcome::Returned(-i64::from(libc::EFAULT));
    Ok((!went_on).then_some(outcome))
}

/// Bytes that only others can read, as a debugger can.
struct Unreadable {
    address: u64,
    len: u64,
}

impl Unreadable {
    fn new(bytes: &[u8]) -> Result<Self, Errno> {
        let len = to_u64(bytes.len()).max(1);
        let own = Self { address: map(0, len, 0)?, len };
        // SAFETY: the mapping is new, writable, nobody else's, and as long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(own.address), bytes.len()) };
        protect(own.address, len, libc::PROT_NONE)?;
        Ok(own)
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference into it.
        _ = unsafe { host_call::raw(libc::SYS_munmap, [self.address, self.len, 0, 0, 0, 0]) };
    }
}

fn map(at: u64, len: u64, more: i32) -> Result<u64, Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | more;
    let rights = bits(libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping where nothing is takes nothing from anybody.
    unsafe { host_call::raw(libc::SYS_mmap, [at, len, rights, bits(flags), u64::MAX, 0]) }
}

fn protect(at: u64, len: u64, rights: i32) -> Result<(), Errno> {
    // SAFETY: the caller has just made this mapping, and has no reference into it.
    unsafe { host_call::raw(libc::SYS_mprotect, [at, len, bits(rights), 0, 0, 0]) }.map(|_| ())
}

fn bits(flags: i32) -> u64 {
    u64::from(flags.cast_unsigned())
}

fn pointer(address: u64) -> *mut u8 {
    let address = usize::try_from(address).expect("x86-64 has 64-bit addresses");
    std::ptr::with_exposed_provenance_mut(address)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{ask_first, asked, prepare};
    use crate::{
        abi::number,
        host_call::{Outcome, interruptible, rewind_target},
    };

    const PAGE_AT: u64 = 1 << 45;

    #[test]
    fn calls_from_the_page_are_made_and_rewound_like_others() {
        prepare(PAGE_AT).unwrap();
        let args = [0; 6];

        // SAFETY: getpid(2) takes no pointer and changes nothing.
        let outcome = asked(number::GETPID, || unsafe { interruptible(number::GETPID, &args) });

        assert_eq!(outcome, Outcome::Returned(i64::from(std::process::id())));
        let places: Vec<_> = (PAGE_AT..PAGE_AT + 4096).filter_map(rewind_target).collect();
        assert!(!places.is_empty() && places.iter().all(|place| places[0] == *place));
        assert!(places[0] > PAGE_AT);
        assert_eq!(rewind_target(places[0]), None);
    }

    #[test]
    fn a_kernel_that_goes_on_does_nothing() {
        prepare(PAGE_AT).unwrap();
        let path = std::env::temp_dir().join(format!("km-asking-{}", std::process::id()));
        let bytes = [path.as_os_str().as_encoded_bytes(), b"\0"].concat();

        for number in [number::OPEN, number::CREAT, number::EXECVE, number::EXECVEAT] {
            let directory = if number == number::EXECVEAT { u64::MAX - 99 } else { 0 };
            let args = [directory, 0o101, 0o600, 0, 0, 0];

            assert_eq!(ask_first(number, args, &bytes), Ok(None), "{number}");
        }
        assert_eq!(ask_first(number::CLONE3, [0, 88, 0, 0, 0, 0], &[0; 88]), Ok(None));
        assert!(!path.exists());
        assert_eq!(ask_first(number::MMAP, [0; 6], &bytes), Err(Errno::ENOSYS));
    }
}
