//! Opening files for the guest.
//!
//! `open(2)` follows only declared pointers, but what it opens could be a door
//! into the monitor: `/proc/<pid>/mem` writes any memory of a process, ours and
//! that of every other monitor in the container.
//!
//! A process with one thread can open anything: what turns out to be such a door
//! is closed again before the guest learns its number. Another thread would not
//! need to learn it: it could try all numbers meanwhile. So with several threads
//! a path is first only looked up, what was found is put out of the guest's
//! reach and looked at, and that very file is opened.
//!
//! A file of procfs that shows the monitor is not even opened then: whoever opens it elsewhere, and knows what the
//! guest may see of it, is asked for a file to give ([`Shown`]).
//!
//! No link of procfs that leads to an open file itself, such as `/proc/self/fd/7`, is followed here: a path with
//! such links is `ELOOP`, and whoever knows whose they are opens what is found by [`open_at`].

use std::{
    ffi::CString,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::readlinkat,
    sys::stat::{SFlag, fstat},
};

use crate::{
    abi::{Arg, Call, Forwardable, lookup, number},
    descriptors::{self, Scratch},
    forward, guest_copy,
    guest_memory::{GuestMemory, PAGE},
    host_call::{self, Outcome, decode, to_u64},
    proc_files::{self, ProcFile},
};

/// The calls that open a file by its path.
const OPENING: [&str; 5] = ["open", "openat", "openat2", "creat", "open_by_handle_at"];

/// How often a link may lead to a link (Linux's `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;
/// The size of `struct open_how`, in bytes.
const HOW_LEN: u64 = 24;

const WORKING_DIRECTORY: u64 = 0xffff_ff9c;
const CREATE: u64 = 0o100;
const EXCLUSIVE: u64 = 0o200;
const CREAT: u64 = 0o1101;
const DIRECTORY: u64 = 0o20_0000;
const NO_FOLLOW: u64 = 0o40_0000;
const CLOSE_ON_EXEC: u64 = 0o200_0000;
const PATH_ONLY: u64 = 0o1000_0000;
const TEMPORARY: u64 = 0o2000_0000;
const LARGE_FILE: u64 = 0o10_0000;

/// The flags that `open(2)` knows: it ignores all others.
const KNOWN: u64 = 0o3777_7703;
/// Those that count beside `O_PATH`.
const PATH_FLAGS: u64 = DIRECTORY | NO_FOLLOW | CLOSE_ON_EXEC | PATH_ONLY;
/// The bits of a mode: `S_IALLUGO`.
const MODE: u64 = 0o7777;

/// `RESOLVE_NO_MAGICLINKS`.
const NO_MAGIC_LINKS: u64 = 2;
/// `RESOLVE_NO_SYMLINKS`, `RESOLVE_BENEATH`, `RESOLVE_IN_ROOT`: with these none is followed.
const WITHOUT_MAGIC_LINKS: u64 = 4 | 8 | 16;

/// What came of opening a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The call's outcome, as the guest shall see it.
    pub outcome: Outcome,
    /// What file of procfs it is, if it is one.
    pub on_proc: Option<ProcFile>,
}

/// What has to be minded when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// Nothing: the process has no other thread.
    Alone,
    /// Another thread could use what was opened before it was looked at.
    Threads,
    /// The same, and the caller must not wait, nor is the one that a name in procfs means. What may be such a
    /// file is [`Outcome::Rewind`].
    NotWaiting,
}

/// A file of procfs that was found and is to be opened, where other threads of the guest's could use it at once.
#[derive(Clone, Copy, Debug)]
pub struct Reopening<'a> {
    /// The file, by which nothing can be done with it.
    pub file: BorrowedFd<'a>,
    /// Its path from procfs's root.
    pub name: &'a str,
    /// The path from procfs's root by which the caller, or who has a copy of its descriptors, opens it.
    pub link: &'a str,
    /// `flags` and `mode` of `struct open_how` to open it with.
    pub how: [u64; 2],
}

/// Opens, out of the guest's reach, a file of procfs that it may see in part only, and gives the number of a file with
/// that part; `None` if the file may be seen as it is.
pub type Shown<'a> = dyn Fn(Reopening<'_>) -> Result<Option<i32>, Errno> + 'a;

/// Makes one of the opening calls for the guest, with `path` in place of the
/// string it gave, if the call has one.
///
/// `EACCES` if the file would lead into a process's memory.
///
/// # Panics
///
/// If `number` is none of them.
pub fn open(
    memory: &GuestMemory,
    number: usize,
    args: [u64; 6],
    path: Option<&[u8]>,
    caution: Caution,
    shown: &Shown<'_>,
) -> Result<Opened, Errno> {
    let call = opening(number);
    let Some(path) = path else {
        return examine(forward::forward(memory, call, args)?);
    };
    open_wish(memory, Wish::read(number, args, path)?, caution, shown)
}

/// Makes one of the opening calls for a place that its path leads to, where all links of procfs on the way were
/// found to be harmless: a name in a directory, or, if that is empty, the file `at` itself.
///
/// # Errors and panics
///
/// As for [`open`].
pub fn open_at(
    memory: &GuestMemory,
    number: usize,
    args: [u64; 6],
    at: &Scratch,
    name: &[u8],
    caution: Caution,
    shown: &Shown<'_>,
) -> Result<Opened, Errno> {
    let mut wish = Wish::read(number, args, name)?;
    wish.directory = u64::from(at.as_raw_fd().unsigned_abs());
    match name {
        [] => wish.open_found(at, caution, shown),
        _ => open_wish(memory, wish, caution, shown),
    }
}

fn open_wish(
    memory: &GuestMemory,
    wish: Wish,
    caution: Caution,
    shown: &Shown<'_>,
) -> Result<Opened, Errno> {
    if caution == Caution::Alone {
        return examine(wish.open(0));
    }
    let leads_nowhere = wish.flags & (PATH_ONLY | TEMPORARY) != 0;
    // What creates and wants a directory is refused since Linux 6.4, and opens what is none before.
    let is_new = wish.flags & CREATE != 0 && wish.flags & (EXCLUSIVE | DIRECTORY) != 0;
    if leads_nowhere || is_new {
        let opened = examine(wish.open(0))?;
        if caution == Caution::NotWaiting && opened.on_proc.is_some() {
            discard(memory, &opened);
            return Ok(REWOUND);
        }
        return Ok(opened);
    }
    wish.open_in_steps(caution, shown)
}

/// Nothing was opened.
const REWOUND: Opened = Opened { outcome: Outcome::Rewind, on_proc: None };

fn discard(memory: &GuestMemory, opened: &Opened) {
    let Outcome::Returned(result) = opened.outcome else { return };
    if let Ok(descriptor) = i32::try_from(result) {
        descriptors::discard(memory, descriptor);
    }
}

/// Looks at what was opened while nobody knows its number, or could use it.
fn examine(outcome: Outcome) -> Result<Opened, Errno> {
    let plain = Opened { outcome, on_proc: None };
    let Outcome::Returned(result) = outcome else { return Ok(plain) };
    let Ok(descriptor) = i32::try_from(decode(result)?) else { return Ok(plain) };
    // SAFETY: the kernel just opened it for this process. It stays open while it is
    // borrowed, unless another thread of the guest's closes a number it was not
    // told; then the questions below fail or are about another of its files.
    let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let on_proc = proc_files::identify(file);
    if on_proc.as_ref().is_some_and(|what| proc_files::leads_into_memory(file, what)) {
        // SAFETY: as above. The guest has not been told the number.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        return Err(refusal(on_proc.as_ref()));
    }
    Ok(Opened { outcome, on_proc })
}

fn refusal(on_proc: Option<&ProcFile>) -> Errno {
    on_proc.map_or(Errno::EACCES, ProcFile::refusal)
}

/// What the guest wants opened, copied once.
struct Wish {
    directory: u64,
    path: CString,
    flags: u64,
    mode: u64,
    resolve: u64,
    /// `openat2(2)` refuses what the others ignore.
    is_strict: bool,
}

impl Wish {
    fn read(number: usize, args: [u64; 6], path: &[u8]) -> Result<Self, Errno> {
        let [directory, flags, mode] = match number {
            number::OPEN => [WORKING_DIRECTORY, args[1], args[2]],
            number::CREAT => [WORKING_DIRECTORY, CREAT, args[1]],
            _ => [args[0], args[2], args[3]],
        };
        forward::check_descriptor(directory)?;
        let path = CString::new(path).map_err(|_| Errno::ENOENT)?;
        let resolve = NO_MAGIC_LINKS;
        let wish = Self { directory, path, flags, mode, resolve, is_strict: false };
        if number != number::OPENAT2 {
            return Ok(wish);
        }
        let (at, len) = (args[2], args[3]);
        if len < HOW_LEN {
            return Err(Errno::EINVAL);
        }
        let rest = usize::try_from(len - HOW_LEN).map_err(|_| Errno::E2BIG)?;
        if len > PAGE || guest_copy::read_array::<u8>(at + HOW_LEN, rest)?.iter().any(|&b| b != 0) {
            return Err(Errno::E2BIG);
        }
        let [flags, mode, resolve] = guest_copy::read::<[u64; 3]>(at)?;
        let scoped = resolve & WITHOUT_MAGIC_LINKS != 0;
        let resolve = if scoped { resolve } else { resolve | NO_MAGIC_LINKS };
        Ok(Self { flags, mode, resolve, is_strict: true, ..wish })
    }

    /// Opens it as it is, with `more` flags.
    fn open(&self, more: u64) -> Outcome {
        let path = to_u64(self.path.as_ptr().addr());
        let how = self.how(more);
        let how_at = to_u64(how.as_ptr().addr());
        let args = [self.directory, path, how_at, HOW_LEN, 0, 0];
        // SAFETY: the path and the structure are ours and live until the call
        // returns; the directory is not one of the monitor's descriptors, or one by
        // which the guest's path is walked.
        let outcome = unsafe { host_call::interruptible(number::OPENAT2, &args) };
        debug_assert!(how[2] == self.resolve, "it outlives the call");
        outcome
    }

    /// `struct open_how`: what `open(2)` makes of its arguments, or as it was given.
    fn how(&self, more: u64) -> [u64; 3] {
        let flags = self.flags | more;
        if self.is_strict {
            return [flags, self.mode, self.resolve];
        }
        let creates = flags & (CREATE | TEMPORARY) != 0;
        if flags & PATH_ONLY != 0 {
            return [flags & PATH_FLAGS, 0, self.resolve];
        }
        let permissions = if creates { self.mode & MODE } else { 0 };
        [flags & KNOWN | LARGE_FILE, permissions, self.resolve]
    }

    /// Looks up, looks at, opens what was looked at.
    fn open_in_steps(mut self, caution: Caution, shown: &Shown<'_>) -> Result<Opened, Errno> {
        for _ in 0..LINKS_MAX {
            match self.look_up() {
                Ok(found) => return self.open_found(&found, caution, shown),
                Err(Errno::ENOENT) if self.flags & CREATE != 0 => {}
                Err(errno) => return Err(errno),
            }
            let outcome = self.open(EXCLUSIVE);
            if outcome != Outcome::Returned(-i64::from(libc::EEXIST)) {
                return examine(outcome);
            }
            // Somebody made it just now, or it is a link to what is to be made.
            if self.flags & NO_FOLLOW == 0 {
                self.follow();
            }
        }
        Err(Errno::ELOOP)
    }

    /// A descriptor by which nothing can be done with the file.
    fn look_up(&self) -> Result<Scratch, Errno> {
        let flags = self.flags & (NO_FOLLOW | DIRECTORY) | PATH_ONLY | CLOSE_ON_EXEC;
        let how = [flags, 0, self.resolve];
        let path = to_u64(self.path.as_ptr().addr());
        let how = to_u64(how.as_ptr().addr());
        let args = [self.directory, path, how, HOW_LEN, 0, 0];
        // SAFETY: as in `open`.
        let found = unsafe { host_call::raw(libc::SYS_openat2, args) }?;
        let found = i32::try_from(found).map_err(|_| Errno::EMFILE)?;
        // SAFETY: the kernel just made it. Whatever another thread of the guest's
        // puts in its place is looked at instead, once that is out of reach.
        let found = unsafe { OwnedFd::from_raw_fd(found) };
        Scratch::hold(&found)
    }

    fn open_found(
        &self,
        found: &Scratch,
        caution: Caution,
        shown: &Shown<'_>,
    ) -> Result<Opened, Errno> {
        let file = found.as_fd();
        let on_proc = proc_files::identify(file);
        if on_proc.as_ref().is_some_and(|what| proc_files::leads_into_memory(file, what)) {
            return Err(refusal(on_proc.as_ref()));
        }
        let kind = SFlag::from_bits_truncate(fstat(file)?.st_mode & libc::S_IFMT);
        if kind == SFlag::S_IFLNK {
            return Err(Errno::ELOOP);
        }
        if kind == SFlag::S_IFDIR && self.flags & CREATE != 0 {
            return Err(Errno::EISDIR);
        }
        let may_wait = !matches!(kind, SFlag::S_IFREG | SFlag::S_IFDIR);
        if caution == Caution::NotWaiting && (may_wait || on_proc.is_some()) {
            return Ok(REWOUND);
        }
        // Without a procfs to find it again, it is not one of procfs that is meant.
        let Some(root) = proc_files::root() else {
            let waits = caution == Caution::NotWaiting;
            return if waits { Ok(REWOUND) } else { examine(self.open(0)) };
        };
        let link = proc_files::own_link(&file);
        let again = Self {
            directory: u64::from(root.as_raw_fd().unsigned_abs()),
            path: CString::new(link.as_str()).map_err(|_| Errno::ENOENT)?,
            flags: self.flags & !(NO_FOLLOW | CREATE | EXCLUSIVE),
            mode: if self.flags & TEMPORARY == 0 { 0 } else { self.mode },
            resolve: 0,
            is_strict: self.is_strict,
        };
        if caution == Caution::Threads
            && self.flags & PATH_ONLY == 0
            && let Some(name) = on_proc.as_ref().and_then(ProcFile::name)
        {
            let [flags, mode, _] = again.how(0);
            if let Some(number) = shown(Reopening { file, name, link: &link, how: [flags, mode] })?
            {
                // It is not on procfs.
                return Ok(Opened { outcome: Outcome::Returned(number.into()), on_proc: None });
            }
        }
        let outcome = again.open(0);
        Ok(Opened { outcome, on_proc })
    }

    /// Goes where the link at the end of the path leads to, if there is one.
    fn follow(&mut self) {
        let directory = u32::try_from(self.directory & 0xffff_ffff).unwrap_or(0).cast_signed();
        // SAFETY: the guest's own descriptor or its working directory, for the
        // length of one call; nothing of Rust's relies on its being open.
        let directory = unsafe { BorrowedFd::borrow_raw(directory) };
        let Ok(target) = readlinkat(directory, self.path.as_c_str()) else { return };
        let mut path = target.into_vec();
        if !path.starts_with(b"/") {
            let own = self.path.to_bytes();
            let folder = own.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
            path.splice(0..0, own[..folder].iter().copied());
        }
        self.path = CString::new(path).unwrap_or_else(|_| self.path.clone());
    }
}

/// Makes a call for the guest with `path` in place of its first string.
pub fn with_path(call: Forwardable, args: [u64; 6], path: &Path) -> Result<Outcome, Errno> {
    let first = call.call().args.iter().position(|kind| *kind == Arg::Str);
    let path = path.as_os_str().as_bytes().to_vec();
    with_strings(call, args, vec![(first.ok_or(Errno::EFAULT)?, path)])
}

/// Makes a call for the guest with these strings in place of those at the arguments they are given with.
pub fn with_strings(
    call: Forwardable,
    args: [u64; 6],
    strings: Vec<(usize, Vec<u8>)>,
) -> Result<Outcome, Errno> {
    let row = call.call();
    let (mut host, _vector) = forward::for_host(row.args, args, None)?;
    let mut copies = Vec::with_capacity(strings.len());
    for (at, string) in strings {
        let copy = CString::new(string).map_err(|_| Errno::ENOENT)?;
        if row.args.get(at) != Some(&Arg::Str) {
            return Err(Errno::EFAULT);
        }
        host[at] = to_u64(copy.as_ptr().addr());
        copies.push(copy);
    }
    // SAFETY: those strings are ours and live until the call returns; the other
    // arguments are what the row allows, as in `forward`.
    let outcome = unsafe { host_call::interruptible(row.number, &host) };
    drop(copies);
    Ok(outcome)
}

/// What the host says of a call whose first string could not be copied, for this reason: the string may not be
/// the first of its faults.
pub fn without_path(number: usize, args: [u64; 6], reason: Errno) -> Result<Outcome, Errno> {
    let row = u64::try_from(number).ok().and_then(lookup).ok_or(reason)?;
    let first = row.args.iter().position(|kind| *kind == Arg::Str).ok_or(reason)?;
    let (mut host, _vector) = forward::for_host(row.args, args, Some(first))?;
    let too_long = [b'x'; libc::PATH_MAX as usize + 1];
    let is_long = reason == Errno::ENAMETOOLONG;
    host[first] = if is_long { to_u64(too_long.as_ptr().addr()) } else { forward::stand_in(0) };
    // SAFETY: there is nothing at the string's address, or bytes of ours, of which
    // the kernel reads `PATH_MAX`; the other arguments are what the row allows.
    Ok(unsafe { host_call::interruptible(row.number, &host) })
}

/// The row, with its pointers declared: the obligation that the row itself does
/// not keep, what the opened file can do, is kept by [`open`].
fn opening(number: usize) -> Forwardable {
    let row = u64::try_from(number).ok().and_then(lookup);
    let row: &'static Call =
        row.filter(|row| OPENING.contains(&row.name)).expect("an opening call");
    Forwardable(row)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::errno::Errno;

    use super::{Caution, open, open_at};
    use crate::{abi::number, descriptors::Scratch, guest_memory::GuestMemory, host_call::Outcome};

    fn open_path(path: &str, flags: u64, caution: Caution) -> Result<Outcome, Errno> {
        let memory = GuestMemory::claim().unwrap();
        let args = [0, flags, 0o600, 0, 0, 0];
        let opened =
            open(&memory, number::OPEN, args, Some(path.as_bytes()), caution, &|_| Ok(None));
        opened.map(|opened| opened.outcome)
    }

    #[test]
    fn no_way_to_the_memory_of_a_process_is_open() {
        for path in [
            "/proc/self/mem",
            "/proc/thread-self/mem",
            "/proc/1/mem",
            "/proc/../proc/self/task/../mem",
        ] {
            for caution in [Caution::Alone, Caution::Threads, Caution::NotWaiting] {
                assert_eq!(open_path(path, 0, caution), Err(Errno::EACCES), "{path}");
            }
        }
    }

    #[test]
    fn a_link_to_an_open_file_is_followed_by_nobody_who_does_not_know_whose_it_is() {
        let memory = GuestMemory::claim().unwrap();
        let args = [0, 0, 0, 0, 0, 0];
        let found = Scratch::hold(File::open("/dev/null").unwrap()).unwrap();

        for caution in [Caution::Alone, Caution::Threads] {
            for path in ["/proc/self/fd/0", "/proc/self/cwd/", "/proc/self/root/proc/self/mem"] {
                let opened = open_path(path, 0, caution);

                let refused = Ok(Outcome::Returned(-i64::from(libc::ELOOP)));
                assert!(opened == Err(Errno::ELOOP) || opened == refused, "{path}: {opened:?}");
            }
            let opened =
                open_at(&memory, number::OPEN, args, &found, b"", caution, &|_| Ok(None)).unwrap();
            assert!(matches!(opened.outcome, Outcome::Returned(3..)), "{opened:?}");
        }
    }

    #[test]
    fn other_files_open_as_ever() {
        for caution in [Caution::Alone, Caution::Threads] {
            let opened = |path| matches!(open_path(path, 0, caution), Ok(Outcome::Returned(3..)));

            assert!(opened("/proc/self/status"));
            assert!(opened("/dev/null"));
            assert!(opened("/proc/sys/fs/protected_symlinks"));
            assert!(
                [Err(Errno::ENOENT), Ok(Outcome::Returned(-2))]
                    .contains(&open_path("/nowhere", 0, caution))
            );
        }
    }

    #[test]
    fn who_must_not_wait_opens_plain_files_and_folders() {
        const PATH_ONLY: u64 = 0o1000_0000;
        let dir = std::env::temp_dir().join(format!("km-fifo-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let fifo = dir.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let open = |path, flags| open_path(path, flags, Caution::NotWaiting);

        for (path, flags) in [
            (fifo.to_str().unwrap(), 0),
            ("/dev/null", 0),
            ("/proc/self/status", 0),
            ("/proc/self/status", PATH_ONLY),
        ] {
            assert_eq!(open(path, flags), Ok(Outcome::Rewind), "{path}");
        }
        for path in ["/", "/etc/passwd"] {
            assert!(matches!(open(path, 0), Ok(Outcome::Returned(3..))), "{path}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_is_made() {
        let dir = std::env::temp_dir().join(format!("km-files-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink("made", dir.join("link")).unwrap();

        let made = open_path(dir.join("link").to_str().unwrap(), 0o101, Caution::Threads);

        assert!(matches!(made, Ok(Outcome::Returned(3..))), "{made:?}");
        assert!(dir.join("made").is_file());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
