//! Paths into `/proc`: none leads to a descriptor of the monitor's, and nothing makes the walk fail. Lists of
//! directories, of which entries are left out.
#![no_main]

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::LazyLock;

use fuzz::memory;
use libfuzzer_sys::fuzz_target;
use monitor::files::neighbour::{self, Viewer};
use monitor::files::proc_list;
use monitor::files::proc_self::Place;
use monitor::files::walk::{self, End};
use monitor_sys::descriptors;
use rustix::fs::{MemfdFlags, fstat, memfd_create};

/// `AT_FDCWD`.
const WORKING_DIRECTORY: u64 = 0xffff_ff9c;

/// A file that only a hidden descriptor leads to.
static HIDDEN: LazyLock<OwnedFd> = LazyLock::new(|| {
    let file = memfd_create("hidden", MemfdFlags::CLOEXEC).expect("a file in memory");
    descriptors::hide(file).expect("there is a number")
});

static PROGRAM: LazyLock<File> = LazyLock::new(|| File::open("/dev/null").expect("it is there"));

/// What paths are put together from; `#`, `@` and `%` stand for the hidden descriptor, the process and another
/// number.
const PIECES: [&str; 26] = [
    "/proc",
    "/self",
    "/thread-self",
    "/task",
    "/@",
    "/fd",
    "/fdinfo",
    "/#",
    "/exe",
    "/..",
    "/.",
    "/",
    "/root",
    "/cwd",
    "/0",
    "/1",
    "/%",
    "self",
    "..",
    "fd",
    "#",
    "exe",
    "/net",
    "/ns/pid",
    "/map_files",
    "/dev/fd",
];

fuzz_target!(|bytes: &[u8]| {
    let viewer = Viewer {
        monitor: None,
        program: Some(PROGRAM.as_fd()),
        auxiliary: &[],
        heap: [0; 2],
        own_filter: false,
        apart: None,
    };
    let number = HIDDEN.as_raw_fd();
    for wide in [false, true] {
        let all = proc_list::without_hidden(bytes, wide, |_| false);
        assert!(bytes.starts_with(&all), "nothing is added");
        let rest = proc_list::without_hidden(bytes, wide, |_| true);
        assert!(rest.len() <= all.len(), "what is hidden is left out");
    }
    let path = path(bytes, number);
    let _any_answer = neighbour::split(&path);
    let place =
        Place::new(memory(), WORKING_DIRECTORY, path.as_bytes()).expect("a known directory");
    let hidden = identity(HIDDEN.as_fd());
    for end in [End::Followed, End::Itself] {
        if let Ok(found) = walk::find(&viewer, &place, end) {
            assert_ne!(identity(found.file.as_fd()), hidden, "{path} by {end:?}");
        }
    }
});

/// What tells a file from all others.
fn identity(file: BorrowedFd<'_>) -> (u64, u64) {
    let status = fstat(file).expect("it is open");
    (status.st_dev, status.st_ino)
}

fn path(bytes: &[u8], hidden: i32) -> String {
    let own = std::process::id().to_string();
    let piece = |byte: &u8| {
        let piece = PIECES[usize::from(*byte) % PIECES.len()];
        piece.replace('#', &hidden.to_string()).replace('@', &own).replace('%', &byte.to_string())
    };
    bytes.iter().take(24).map(piece).collect()
}
