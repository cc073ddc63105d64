//! Maps a program and its interpreter into guest memory.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use monitor_sys::{Errno, descriptors::Scratch, guest_copy, guest_memory::PAGE, proc_files};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags};

use super::{
    LoadError,
    elf::{self, Program, Segment},
    script,
};
use crate::{
    layout::HIGH_START,
    memory::{
        AddressSpace, Protection,
        change::{Place, Request},
        whole_pages,
    },
};

/// `MAP_PRIVATE`.
const PRIVATE: u64 = 2;
/// `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE`.
const RESERVATION: u64 = 0x4022;
/// `MAP_PRIVATE | MAP_ANONYMOUS`.
const ANONYMOUS: u64 = 0x22;
/// How many files are looked at: five scripts, and the program the last one names.
const SCRIPT_DEPTH: usize = 6;

/// A file that can be run, with what running it needs.
#[derive(Debug)]
pub struct Executable {
    /// The path of the file that is mapped: the script's interpreter, for one.
    pub path: PathBuf,
    program: Program,
    file: File,
    interpreter: Option<(Program, File)>,
    /// The arguments, as scripts have changed them.
    pub arguments: Vec<Vec<u8>>,
}

/// A program in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where execution begins: in the interpreter, if there is one.
    pub start: u64,
    /// The program's own first instruction (`AT_ENTRY`).
    pub entry: u64,
    /// Where its headers are (`AT_PHDR`).
    pub headers: u64,
    /// How many (`AT_PHNUM`).
    pub header_count: u16,
    /// Where the interpreter is (`AT_BASE`), or 0.
    pub interpreter: u64,
    /// Where the heap begins.
    pub heap: u64,
    /// Whether the stack shall be executable.
    pub executable_stack: bool,
    /// Where its code begins and ends, as `/proc/<pid>/stat` shows it.
    pub code: [u64; 2],
    /// The same for its data.
    pub data: [u64; 2],
}

impl Executable {
    /// The file that is mapped.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Opens a program and its interpreter and checks both, as `execve(2)` does.
    pub fn open(path: &Path, arguments: Vec<Vec<u8>>) -> Result<Self, LoadError> {
        Self::open_by(open, path, arguments)
    }

    /// The same where others can use what is opened before it was looked at: the guest's other threads.
    pub fn open_among_threads(path: &Path, arguments: Vec<Vec<u8>>) -> Result<Self, LoadError> {
        Self::open_by(open_what_was_found, path, arguments)
    }

    fn open_by(open: Open, path: &Path, arguments: Vec<Vec<u8>>) -> Result<Self, LoadError> {
        let (path, file, arguments) = follow_scripts(open, path, arguments)?;
        let program = elf::read(&file)?;
        let interpreter = match &program.interpreter {
            Some(path) => Some(open_interpreter(open, path)?),
            None => None,
        };
        Ok(Self { path, program, file, interpreter, arguments })
    }

    /// Maps it. `slide` moves a relocatable program by so many pages. Behind the program, so many bytes away, the heap
    /// is going to begin.
    pub fn map(
        &self,
        memory: &AddressSpace,
        slide: u64,
        heap_slide: u64,
    ) -> Result<Image, LoadError> {
        let wish = HIGH_START + (slide & 0x3f_ffff) * PAGE;
        let bias = if self.program.relocatable { wish } else { 0 };
        let [start, end] = [start_of(&self.program), end_of(&self.program)];
        memory
            .show_at_once([start, end.saturating_add(heap_slide)].map(|at| bias.wrapping_add(at)));
        let bias = map_program(memory, &self.program, &self.file, wish)?;
        let mut image = Image {
            start: bias.wrapping_add(self.program.entry),
            entry: bias.wrapping_add(self.program.entry),
            headers: bias.wrapping_add(self.program.headers),
            header_count: self.program.header_count,
            interpreter: 0,
            heap: bias.wrapping_add(end_of(&self.program)),
            executable_stack: self.program.executable_stack,
            code: extent(&self.program, true).map(|at| bias.wrapping_add(at)),
            data: extent(&self.program, false).map(|at| bias.wrapping_add(at)),
        };
        if let Some((interpreter, file)) = &self.interpreter {
            let bias = map_program(memory, interpreter, file, 0)?;
            image.interpreter = bias.wrapping_add(start_of(interpreter));
            image.start = bias.wrapping_add(interpreter.entry);
        }
        Ok(image)
    }
}

/// The first byte of the executable segments, or of the last other one, and the
/// one behind the last, in the file: as Linux tells code from data.
fn extent(program: &Program, code: bool) -> [u64; 2] {
    let segments = || {
        let of_kind = |segment: &&Segment| segment.protection.executes() == code;
        program.segments.iter().filter(of_kind)
    };
    let starts = segments().map(|segment| segment.address);
    let start = if code { starts.min() } else { starts.max() };
    let end = segments().map(|segment| segment.address + segment.file_len).max();
    let all = start_of(program);
    [start.unwrap_or(all), end.unwrap_or(all + 1)]
}

/// Opens `path`, and while it is a script, what its first line names.
fn follow_scripts(
    open: Open,
    path: &Path,
    mut arguments: Vec<Vec<u8>>,
) -> Result<(PathBuf, File, Vec<Vec<u8>>), LoadError> {
    let mut path = path.to_owned();
    for depth in 0..SCRIPT_DEPTH {
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if depth == 0 => return Err(error),
            Err(source) => return Err(LoadError::Interpreter { path, source: source.into() }),
        };
        let mut head = vec![0; script::HEAD_LEN];
        let read = file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(read);
        let Some(interpreter) = script::parse(&head) else {
            return Ok((path, file, arguments));
        };
        let mut line = vec![interpreter.path.as_os_str().as_bytes().to_vec()];
        line.extend(interpreter.argument);
        line.push(path.as_os_str().as_bytes().to_vec());
        line.extend(arguments.into_iter().skip(1));
        arguments = line;
        path = interpreter.path;
    }
    Err(LoadError::TooManyInterpreters)
}

fn open_interpreter(open: Open, path: &Path) -> Result<(Program, File), LoadError> {
    let opened = open(path).and_then(|file| Ok((elf::read(&file)?, file)));
    opened.map_err(|source| LoadError::Interpreter { path: path.to_owned(), source: source.into() })
}

/// Opens a regular file that may be executed.
type Open = fn(&Path) -> Result<File, LoadError>;

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Opens it, and then looks at it.
fn open(path: &Path) -> Result<File, LoadError> {
    let failed = |errno| failed(path, errno);
    let file = rustix::fs::open(path, READ, Mode::empty()).map_err(failed)?;
    check(path, file.as_fd(), (CWD, path))?;
    Ok(File::from(file))
}

/// Looks it up, looks at it out of the guest's reach, and opens that very file: no file of procfs, by which
/// the monitor's memory could be read, is ever open.
fn open_what_was_found(path: &Path) -> Result<File, LoadError> {
    let failed = |errno| failed(path, errno);
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let found = Scratch::hold(&found.map_err(failed)?);
    let found = found.map_err(|errno| LoadError::open(path, errno))?;
    // Without a procfs to find it again, it is not one of procfs that is meant.
    let link = PathBuf::from(proc_files::own_link(&found));
    let (root, link) = proc_files::root().map_or((CWD, path), |root| (root, link.as_path()));
    if proc_files::identify(found.as_fd()).is_some() {
        // None of procfs can be executed.
        return Err(LoadError::open(path, Errno::EACCES));
    }
    check(path, found.as_fd(), (root, link))?;
    Ok(File::from(rustix::fs::openat(root, link, READ, Mode::empty()).map_err(failed)?))
}

/// Whether a file may be executed, by its name in a folder.
fn check(
    path: &Path,
    file: BorrowedFd<'_>,
    name: (BorrowedFd<'_>, &Path),
) -> Result<(), LoadError> {
    let failed = |errno| failed(path, errno);
    let status = rustix::fs::fstat(file).map_err(failed)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(LoadError::open(path, Errno::EACCES));
    }
    let (folder, name) = name;
    rustix::fs::accessat(folder, name, Access::EXEC_OK, AtFlags::EACCESS).map_err(failed)?;
    let mount = rustix::fs::fstatvfs(file).map_err(failed)?;
    if mount.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(LoadError::open(path, Errno::EACCES));
    }
    Ok(())
}

fn failed(path: &Path, errno: rustix::io::Errno) -> LoadError {
    LoadError::open(path, Errno::from_raw(errno.raw_os_error()))
}

fn start_of(program: &Program) -> u64 {
    let starts = program.segments.iter().map(|segment| segment.address / PAGE * PAGE);
    starts.min().unwrap_or(0)
}

fn end_of(program: &Program) -> u64 {
    let ends = program.segments.iter().map(|segment| segment.address + segment.memory_len);
    ends.max().unwrap_or(0)
}

/// Maps all segments. Returns what is to be added to the program's addresses.
fn map_program(
    memory: &AddressSpace,
    program: &Program,
    file: &File,
    wish: u64,
) -> Result<u64, LoadError> {
    let bias = if program.relocatable { reserve(memory, program, wish)? } else { 0 };
    for segment in &program.segments {
        map_segment(memory, segment, file, bias).map_err(LoadError::Memory)?;
    }
    Ok(bias)
}

/// Takes room for a program that can go anywhere. Returns what is to be added to its
/// addresses.
fn reserve(memory: &AddressSpace, program: &Program, wish: u64) -> Result<u64, LoadError> {
    let start = start_of(program);
    let reservation = Request {
        place: Place::Hint(wish),
        len: whole_pages(end_of(program)).unwrap_or(u64::MAX) - start,
        protection: Protection::default(),
        flags: RESERVATION,
        file: None,
        offset: 0,
        alignment: program.segments.iter().map(|segment| segment.alignment).max().unwrap_or(PAGE),
    };
    Ok(memory.map(&reservation).map_err(LoadError::Memory)?.wrapping_sub(start))
}

fn map_segment(
    memory: &AddressSpace,
    segment: &Segment,
    file: &File,
    bias: u64,
) -> Result<(), Errno> {
    let address = bias.wrapping_add(segment.address);
    let before = address % PAGE;
    let file_end = address + segment.file_len;
    let mut request = Request {
        place: Place::Fixed(address - before),
        len: segment.file_len + before,
        protection: segment.protection,
        flags: PRIVATE,
        file: Some(file.as_fd()),
        offset: segment.offset - before,
        alignment: PAGE,
    };
    if segment.file_len != 0 {
        memory.map(&request)?;
    }
    // Behind the file's bytes comes zero-filled memory: the rest of the last
    // page (the dynamic loader relies on all of it), then whole pages.
    let mut zero_start = address - before;
    if segment.file_len != 0 {
        zero_start = whole_pages(file_end).ok_or(Errno::ENOMEM)?;
        if segment.memory_len > segment.file_len && segment.protection.writes() {
            write_zeros(file_end, zero_start)?;
        }
    }
    let end = whole_pages(address + segment.memory_len).ok_or(Errno::ENOMEM)?;
    if end > zero_start {
        request.place = Place::Fixed(zero_start);
        request.len = end - zero_start;
        request.flags = ANONYMOUS;
        request.file = None;
        request.offset = 0;
        memory.map(&request)?;
    }
    Ok(())
}

fn write_zeros(from: u64, to: u64) -> Result<(), Errno> {
    let len = usize::try_from(to - from).expect("less than a page");
    guest_copy::write_bytes(from, &vec![0; len])
}
