//! Reads and writes by the helper. The kernel is asked not to wait; only plain files on file systems that
//! cannot say so are read and written as they are.

use std::{os::fd::BorrowedFd, sync::atomic::Ordering};

use monitor_sys::{
    Errno, descriptors,
    transfer::{self, Direction, Places},
};
use rustix::{
    fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs},
    net::sockopt::socket_linger,
};

use super::{kinds::Kind, make::finished};
use crate::{
    arch::x86_64::gate::Made,
    syscall::{Reply, error_word},
    thread::Thread,
};

/// The most that Linux transfers at once (`MAX_RW_COUNT`).
const MOST: u64 = 0x7fff_f000;
/// The numbers of `/dev/zero`.
const ZERO: u64 = 1 << 8 | 5;
/// File systems whose plain files keep nobody waiting but for a disk: ext4, XFS, Btrfs, overlayfs, tmpfs,
/// ramfs, F2FS, SquashFS, EROFS, ZFS (`linux/magic.h`).
const ON_DISK: [i64; 10] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x794c_7630,
    0x0102_1994,
    0x8584_58f6,
    0xf2f5_2010,
    0x7371_7368,
    0xe0f5_e1e2,
    0x2fc1_2fc1,
];

/// `read(2)`, `write(2)` and their like. `None` declines.
pub(super) fn transfer(
    worker: &Thread,
    way: Direction,
    descriptor: u64,
    places: &Places,
    position: Option<u64>,
) -> Option<Made> {
    let wanted = places.len();
    if wanted == 0 || wanted > MOST || position.is_some_and(|position| position.cast_signed() < 0) {
        return None;
    }
    let memory = worker.process.memory.guest_memory();
    let once = |places: &Places, position, may_wait| {
        transfer::transfer(memory, way, descriptor, places, position, may_wait)
    };
    if way == Direction::Write && is_known_plain(worker, descriptor) {
        // In one piece, as other writers see it.
        return finished(once(places, position, true).map(Reply::Value));
    }
    match once(places, position, false) {
        Ok(done) if done == wanted => Some(Made::Done(done)),
        Ok(done) if is_read_to_the_end(worker, descriptor) => {
            // Only so much was in memory, or there is no more.
            let rest = once(&places.behind(done), position.map(|at| at + done), true);
            if rest == Err(Errno::EFBIG) && done == 0 {
                return None;
            }
            Some(Made::Done(done + rest.unwrap_or(0)))
        }
        Ok(done) if way == Direction::Read || is_nonblocking(worker, descriptor) => {
            Some(Made::Done(done))
        }
        // Vectors of several pieces that would have to wait do not come here.
        Ok(done) => Some(Made::Declined(done)),
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP) if is_plain(worker, descriptor) => {
            finished(once(places, position, true).map(Reply::Value))
        }
        Err(Errno::EAGAIN) if says_so_itself(worker, descriptor) => {
            Some(Made::Done(error_word(Errno::EAGAIN)))
        }
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP) => None,
        Err(errno) => finished(Err(errno)),
    }
}

/// Whether a program can rely on getting all that there is: from a file, a disk or `/dev/zero`.
fn is_read_to_the_end(worker: &Thread, descriptor: u64) -> bool {
    let status = borrow(worker, descriptor).and_then(|file| fstat(file).ok());
    status.is_some_and(|status| {
        let kind = FileType::from_raw_mode(status.st_mode);
        matches!(kind, FileType::RegularFile | FileType::BlockDevice)
            || kind == FileType::CharacterDevice && status.st_rdev == ZERO
    })
}

/// Whether a descriptor is a plain file's, on a disk.
fn is_plain(worker: &Thread, descriptor: u64) -> bool {
    to_a_writer(worker, descriptor) == Some(Kind::OnDisk)
}

/// What a descriptor is to one who writes. `None` if it is not open.
fn to_a_writer(worker: &Thread, descriptor: u64) -> Option<Kind> {
    let on_disk =
        |file: BorrowedFd<'_>| fstatfs(file).is_ok_and(|status| ON_DISK.contains(&status.f_type));
    let is_plain = kind_of(worker, descriptor)? == FileType::RegularFile
        && borrow(worker, descriptor).is_some_and(on_disk);
    Some(if is_plain { Kind::OnDisk } else { Kind::Other })
}

/// Whether a descriptor is a plain file's, on a disk: looked at once for as long as no descriptor is closed.
fn is_known_plain(worker: &Thread, descriptor: u64) -> bool {
    if worker.process.shares_descriptors.load(Ordering::Relaxed) {
        return is_plain(worker, descriptor);
    }
    let kinds = worker.process.helper.kinds();
    let known = kinds.known();
    let kind = known.of(descriptor).or_else(|| {
        // A number that is not open may become anything, and nobody says when.
        let kind = to_a_writer(worker, descriptor)?;
        kinds.note(known, descriptor, kind);
        Some(kind)
    });
    kind == Some(Kind::OnDisk)
}

/// Whether the program itself would be told that it has to wait: by a pipe or a socket. Other files may
/// have to do with the calling thread.
fn says_so_itself(worker: &Thread, descriptor: u64) -> bool {
    let is_channel = matches!(kind_of(worker, descriptor), Some(FileType::Fifo | FileType::Socket));
    is_channel && is_nonblocking(worker, descriptor)
}

/// What kind of file a descriptor of the guest's is.
pub(super) fn kind_of(worker: &Thread, descriptor: u64) -> Option<FileType> {
    let status = fstat(borrow(worker, descriptor)?).ok()?;
    Some(FileType::from_raw_mode(status.st_mode))
}

/// Whether a descriptor has `O_NONBLOCK`.
pub(super) fn is_nonblocking(worker: &Thread, descriptor: u64) -> bool {
    let flags = borrow(worker, descriptor).and_then(|file| fcntl_getfl(file).ok());
    flags.is_some_and(|flags| flags.contains(OFlags::NONBLOCK))
}

/// Whether `sendfile(2)` waits for a disk at most: to a socket that would rather say that it is full, from a plain file.
pub(super) fn sends_at_once(worker: &Thread, to: u64, from: u64) -> bool {
    kind_of(worker, to) == Some(FileType::Socket)
        && is_nonblocking(worker, to)
        && is_known_plain(worker, from)
}

/// Whether closing a descriptor waits for nothing: a terminal's output, or a socket's, may have to be
/// sent first.
pub(super) fn closes_at_once(worker: &Thread, descriptor: u64) -> bool {
    match kind_of(worker, descriptor) {
        Some(FileType::Socket) => borrow(worker, descriptor)
            .is_some_and(|socket| socket_linger(socket).is_ok_and(|linger| linger.is_none())),
        Some(FileType::CharacterDevice) => false,
        _ => true,
    }
}

fn borrow(worker: &Thread, descriptor: u64) -> Option<BorrowedFd<'_>> {
    let number = u32::try_from(descriptor & 0xffff_ffff).ok()?.cast_signed();
    descriptors::borrow(worker.process.memory.guest_memory(), number).ok()
}
