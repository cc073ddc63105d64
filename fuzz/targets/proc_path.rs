//! Paths into `/proc`: whichever one leads to a descriptor of the monitor's is known to, and nothing makes the look
//! at it fail. Lists of directories, of which entries are left out.
#![no_main]

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::LazyLock;

use fuzz::memory;
use libfuzzer_sys::fuzz_target;
use monitor::files::neighbour::{self, Viewer};
use monitor::files::proc_list;
use monitor::files::proc_self::{self, Leads, Place};
use monitor_sys::descriptors;
use rustix::fs::{MemfdFlags, memfd_create};

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
    let leads = proc_self::look_through(&viewer, &place);
    let identity = |status: fs::Metadata| (status.dev(), status.ino());
    let found = fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))).map(identity);
    let hidden = File::from(HIDDEN.try_clone().expect("a number")).metadata().map(identity);
    if found.is_ok_and(|found| hidden.is_ok_and(|hidden| found == hidden)) {
        assert_eq!(leads, Ok(Leads::Hidden), "{path}");
    }
});

fn path(bytes: &[u8], hidden: i32) -> String {
    let own = std::process::id().to_string();
    let piece = |byte: &u8| {
        let piece = PIECES[usize::from(*byte) % PIECES.len()];
        piece.replace('#', &hidden.to_string()).replace('@', &own).replace('%', &byte.to_string())
    };
    bytes.iter().take(24).map(piece).collect()
}
