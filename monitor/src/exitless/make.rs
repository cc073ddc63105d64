//! How the helper makes a posted call: as the thread would, but without waiting.
//!
//! What would have to wait, would raise a signal, or means something else to another thread is declined,
//! and the thread makes it. The checks are the thread's own: the same tables, the same handlers.

use monitor_sys::{
    Errno,
    abi::number,
    guest_copy,
    transfer::{Direction, Places},
};
use rustix::fs::FileType;

use super::transfer::{self, is_nonblocking, kind_of};
use crate::{
    arch::x86_64::gate::Made,
    syscall::{self, Answer, Args, Reply},
    thread::Thread,
};

/// `MSG_DONTWAIT`, `MSG_NOSIGNAL`, `MSG_WAITALL`.
const DO_NOT_WAIT: u64 = 0x40;
const NO_SIGNAL: u64 = 0x4000;
const WAIT_FOR_ALL: u64 = 0x100;
/// `GRND_NONBLOCK`.
const RANDOM_WITHOUT_WAITING: u64 = 1;
/// `FUTEX_WAKE`, `FUTEX_WAKE_BITSET`, without `FUTEX_PRIVATE_FLAG`.
const WAKES: [u64; 2] = [1, 10];
const FUTEX_PRIVATE: u64 = 0x80;
/// `F_DUPFD` to `F_SETLK`, `F_OFD_GETLK`, `F_OFD_SETLK`, `F_DUPFD_CLOEXEC`: those that do not wait.
const FCNTL_COMMANDS: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 36, 37, 1030];
/// `TCGETS`, `TIOCGWINSZ`, `FIONREAD`, `FIONBIO`, `FIONCLEX`, `FIOCLEX`.
const IOCTL_REQUESTS: [u64; 6] = [0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451];
/// The clocks of the system and of the process, but for a thread's own.
const CLOCKS: [u64; 10] = [0, 1, 2, 4, 5, 6, 7, 8, 9, 11];
/// `AT_EMPTY_PATH`.
const EMPTY_PATH: u64 = 0x1000;
/// `PATH_MAX`.
const PATH_MAX: usize = 4096;

/// Makes a call that may be posted, or declines it.
pub(super) fn make(worker: &mut Thread, number: u64, args: Args) -> Made {
    let Ok(call) = usize::try_from(number) else { return Made::Declined(0) };
    if worker.process.memory.has_growing() {
        return Made::Declined(0);
    }
    made(worker, call, args).unwrap_or(Made::Declined(0))
}

/// `None` declines.
fn made(worker: &mut Thread, call: usize, args: Args) -> Option<Made> {
    let [first, second, third, fourth, ..] = args;
    match call {
        _ if is_the_threads(worker, call, args) => None,
        number::READ => bytes(worker, Direction::Read, args, None),
        number::WRITE => bytes(worker, Direction::Write, args, None),
        number::PREAD64 => bytes(worker, Direction::Read, args, Some(fourth)),
        number::PWRITE64 => bytes(worker, Direction::Write, args, Some(fourth)),
        number::READV => vector(worker, Direction::Read, args, None),
        number::WRITEV => vector(worker, Direction::Write, args, None),
        number::PREADV => vector(worker, Direction::Read, args, Some(fourth)),
        number::PWRITEV => vector(worker, Direction::Write, args, Some(fourth)),
        number::RECVFROM | number::RECVMSG | number::SENDTO | number::SENDMSG => {
            message(worker, call, args)
        }
        // What is ready is another thing to another thread, and to an epoll set it may be told once.
        number::EPOLL_CTL | number::EPOLL_WAIT | number::EPOLL_PWAIT | number::POLL
            if worker.process.helper.has_signal_files() =>
        {
            None
        }
        number::POLL => poll(worker, number::POLL, args, 2),
        number::EPOLL_WAIT => poll(worker, number::EPOLL_WAIT, args, 3),
        number::EPOLL_PWAIT if args[4] == 0 => poll(worker, number::EPOLL_WAIT, args, 3),
        number::EPOLL_PWAIT => None,
        number::GETRANDOM => {
            let args = [first, second, third | RANDOM_WITHOUT_WAITING, 0, 0, 0];
            finished(plainly(worker, call, args)).filter(|made| !is_again(*made))
        }
        number::OPEN => open(worker, call, args, first),
        number::OPENAT => open(worker, call, args, second),
        number::NEWFSTATAT if fourth & EMPTY_PATH != 0 && is_empty(second) => {
            // As C libraries write fstat(2).
            finished(syscall::about_descriptor(args))
        }
        number::STAT
        | number::LSTAT
        | number::STATFS
        | number::ACCESS
        | number::READLINK
        | number::CHDIR
            if is_on_proc(worker, first)? =>
        {
            None
        }
        number::NEWFSTATAT
        | number::STATX
        | number::FACCESSAT
        | number::FACCESSAT2
        | number::READLINKAT
            if is_on_proc(worker, second)? =>
        {
            None
        }
        _ => finished(plainly(worker, call, args)),
    }
}

/// Whether a call is the thread's to make by what it asks for: it may have to wait, or mean the thread itself.
fn is_the_threads(worker: &Thread, call: usize, args: Args) -> bool {
    let [first, second, ..] = args;
    let is_anybodys = match call {
        number::ACCEPT | number::ACCEPT4 => is_nonblocking(worker, first),
        number::SENDFILE => transfer::sends_at_once(worker, first, second),
        number::CLOSE => first & 0xffff_ffff != 2 && transfer::closes_at_once(worker, first),
        number::FUTEX => WAKES.contains(&(second & !FUTEX_PRIVATE)),
        number::CLOCK_GETTIME => CLOCKS.contains(&first),
        number::FCNTL => FCNTL_COMMANDS.contains(&second),
        number::IOCTL => IOCTL_REQUESTS.contains(&(second & 0xffff_ffff)),
        _ => true,
    };
    !is_anybodys
}

/// As the thread would.
fn plainly(worker: &mut Thread, call: usize, args: Args) -> Answer {
    syscall::answer(worker, monitor_sys::host_call::to_u64(call), args)
}

/// An answer that is the guest's, but for what a thread has to see itself: signals.
pub(super) fn finished(answer: Answer) -> Option<Made> {
    match answer {
        Ok(Reply::Value(value)) => Some(Made::Done(value)),
        // The last is what a connection answers that a thread could wait for.
        Err(Errno::EINTR | Errno::EPIPE | Errno::EFBIG | Errno::EINPROGRESS) | Ok(_) => None,
        Err(errno) => Some(Made::Done(syscall::error_word(errno))),
    }
}

fn is_again(made: Made) -> bool {
    made == Made::Done(syscall::error_word(Errno::EAGAIN))
}

fn bytes(worker: &Thread, way: Direction, args: Args, position: Option<u64>) -> Option<Made> {
    let places = Places::of_bytes(args[1], args[2]).ok()?;
    transfer::transfer(worker, way, args[0], &places, position)
}

fn vector(worker: &Thread, way: Direction, args: Args, position: Option<u64>) -> Option<Made> {
    let places = Places::of_vector(args[1], args[2]).ok()?;
    if way == Direction::Write
        && kind_of(worker, args[0])? != FileType::RegularFile
        && !is_nonblocking(worker, args[0])
    {
        // Half of it may be done before it has to wait.
        return None;
    }
    transfer::transfer(worker, way, args[0], &places, position)
}

/// Messages: with a flag, no socket waits.
fn message(worker: &mut Thread, call: usize, args: Args) -> Option<Made> {
    let is_sent = matches!(call, number::SENDTO | number::SENDMSG);
    let flags_at = if matches!(call, number::SENDMSG | number::RECVMSG) { 2 } else { 3 };
    let flags = args[flags_at];
    let may_wait = flags & DO_NOT_WAIT == 0 && !is_nonblocking(worker, args[0]);
    if flags & WAIT_FOR_ALL != 0 || call == number::SENDMSG && may_wait {
        return None;
    }
    let mut without_waiting = args;
    without_waiting[flags_at] = flags | DO_NOT_WAIT | if is_sent { NO_SIGNAL } else { 0 };
    let made = match plainly(worker, call, without_waiting) {
        Err(Errno::EPIPE) if flags & NO_SIGNAL != 0 => {
            Made::Done(syscall::error_word(Errno::EPIPE))
        }
        answer => finished(answer)?,
    };
    match made {
        Made::Done(_) if may_wait && is_again(made) => None,
        Made::Done(sent) if may_wait && is_sent && sent < args[2] => Some(Made::Declined(sent)),
        Made::Done(_) | Made::Declined(_) => Some(made),
    }
}

/// What is ready now. If nothing is, the thread waits, or finds what only it can see: its own signals.
fn poll(worker: &mut Thread, call: usize, args: Args, timeout: usize) -> Option<Made> {
    let mut now = args;
    now[timeout] = 0;
    let made = finished(plainly(worker, call, now))?;
    (made != Made::Done(0)).then_some(made)
}

/// What leads into procfs may mean the calling thread. A fifo, and whatever else is no plain file, comes back too.
fn open(worker: &mut Thread, call: usize, args: Args, path: u64) -> Option<Made> {
    if is_on_proc(worker, path)? { None } else { finished(plainly(worker, call, args)) }
}

/// Whether a path of the guest's begins where the calling thread may be meant. What was looked at is what the call
/// is made with.
fn is_on_proc(worker: &mut Thread, address: u64) -> Option<bool> {
    let path = worker.process.memory.read_string(address, PATH_MAX).ok()?;
    let found = path.starts_with(b"/proc") || path.windows(11).any(|part| part == b"thread-self");
    worker.copied_path = Some((address, path));
    Some(found)
}

fn is_empty(path: u64) -> bool {
    guest_copy::read::<u8>(path) == Ok(0)
}
