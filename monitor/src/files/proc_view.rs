//! Files of `/proc/<pid>` whose true content would be the monitor's: memory maps,
//! the environment, the auxiliary vector, sizes. The guest gets a file in memory with
//! its own part of them, as of when it was opened.
//!
//! Where its threads could read a file before that it must be opened elsewhere: see [`super::apart`].

use std::{
    borrow::Cow,
    fs::File,
    io::{Seek, Write},
    os::fd::{BorrowedFd, OwnedFd},
};

use monitor_launch::LAUNCH_VARIABLE;
use monitor_sys::{Errno, guest_memory::GUEST_END, process_view, procfs::Procfs};
use rustix::fs::{MemfdFlags, memfd_create};
use zerocopy::IntoBytes;

use super::{
    neighbour::{self, Owner, Subject, Viewer},
    proc_status::{self, Form},
    proc_sum,
};
use crate::{layout::VDSO, memory::limits};

/// The column in which `maps` names what is mapped.
pub(super) const NAME_AT: usize = 73;

/// What of a process a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Lines that begin with a range of addresses, other lines belonging to the
    /// one before.
    Maps,
    /// The sum of what `smaps` tells.
    Sum,
    /// The environment the program was executed with.
    Environment,
    /// The auxiliary vector.
    Auxiliary,
    /// The system call a thread waits in, and where.
    Call,
    /// Resource limits.
    Limits,
    /// Sizes and numbers of threads.
    Status(Form),
}

/// The file to be seen in place of `file`, which is called `name` inside procfs;
/// `None` if it may be seen itself.
pub fn substitute(
    viewer: &Viewer<'_>,
    name: &str,
    file: BorrowedFd<'_>,
) -> Result<Option<OwnedFd>, Errno> {
    let procfs = Procfs::of(file, viewer.apart.is_some());
    let Some(owner) = owner(viewer, name, procfs.as_ref())? else { return Ok(None) };
    let content = content(viewer, name, file, procfs.as_ref(), owner)?;
    content.map(|content| file_with(&content, MemfdFlags::CLOEXEC)).transpose()
}

/// What a file shows that is called so in a process's folder, if it would show the monitor.
fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "maps" | "smaps" | "numa_maps" => Kind::Maps,
        "smaps_rollup" => Kind::Sum,
        "environ" => Kind::Environment,
        "auxv" => Kind::Auxiliary,
        "syscall" => Kind::Call,
        "limits" => Kind::Limits,
        "status" => Kind::Status(Form::Status),
        "stat" => Kind::Status(Form::Stat),
        "statm" => Kind::Status(Form::Statm),
        _ => return None,
    })
}

/// Whose a file is that may be seen in part only; `None` if it may be seen whole.
pub fn owner(
    viewer: &Viewer<'_>,
    name: &str,
    procfs: Option<&Procfs>,
) -> Result<Option<Owner>, Errno> {
    let Some((process, _)) = neighbour::split(name).filter(|(_, rest)| kind(rest).is_some()) else {
        return Ok(None);
    };
    let owner = neighbour::owner_in(viewer, procfs, process)?;
    Ok((owner != Owner::Other).then_some(owner))
}

/// What the guest may see of a file; `None` if that is all of it.
pub fn content(
    viewer: &Viewer<'_>,
    name: &str,
    file: BorrowedFd<'_>,
    procfs: Option<&Procfs>,
    owner: Owner,
) -> Result<Option<Vec<u8>>, Errno> {
    let Some((process, rest)) = neighbour::split(name) else { return Ok(None) };
    let Some(kind) = kind(rest) else { return Ok(None) };
    let subject = procfs.map(|procfs| Subject { procfs, process });
    // Where its heap is only the process itself knows.
    let heap = if owner == Owner::Own { viewer.heap } else { [0; 2] };
    Ok(Some(match kind {
        _ if owner == Owner::Other => return Ok(None),
        Kind::Maps => guest_maps(&read(file)?, heap),
        Kind::Sum => {
            let all = subject.ok_or(Errno::EACCES)?.read("smaps")?;
            proc_sum::of_guest(&read(file)?, &guest_maps(&all, heap))
        }
        Kind::Environment => without_launch_variable(read(file)?),
        Kind::Auxiliary if owner == Owner::Own => viewer.auxiliary.as_bytes().to_vec(),
        Kind::Auxiliary => shown_vector(&read(file)?),
        Kind::Call => guest_call(&read(file)?),
        Kind::Limits => guest_limits(&read(file)?),
        Kind::Status(form) => proc_status::of_guest(viewer, form, subject, &read(file)?, heap[0]),
    }))
}

/// A neighbour's vector, which is empty as long as its monitor has not said that
/// it is the guest's.
fn shown_vector(content: &[u8]) -> Vec<u8> {
    let words = content.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let words: Vec<u64> = words.map(u64::from_le_bytes).collect();
    match process_view::descriptors_in(&words) {
        [None, ..] => Vec::new(),
        _ => process_view::without_descriptors(&words).as_bytes().to_vec(),
    }
}

fn read(file: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    const PART: usize = 1 << 16;
    let mut content = Vec::new();
    loop {
        content.reserve(PART);
        let part = rustix::io::read(file, rustix::buffer::spare_capacity(&mut content));
        if part.map_err(|errno| Errno::from_raw(errno.raw_os_error()))? == 0 {
            return Ok(content);
        }
    }
}

/// A file with this content, from its beginning.
pub fn file_with(content: &[u8], flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let memory = memfd_create("proc", flags);
    let memory = memory.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let mut file = File::from(memory);
    file.write_all(content).map_err(|_| Errno::ENOMEM)?;
    file.rewind().map_err(|_| Errno::EIO)?;
    Ok(file.into())
}

/// `number six arguments sp pc`. All but the number are the monitor's; a thread that is in the virtual machine
/// (`KVM_RUN`) runs.
fn guest_call(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["16", _, "0xae80", ..] => b"running\n".to_vec(),
        [call, others @ ..] if others.len() == 8 => {
            format!("{call}{}\n", " 0x0".repeat(others.len())).into()
        }
        _ => content.to_vec(),
    }
}

/// Those of memory are higher on the host, by the monitor's share.
fn guest_limits(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let shown = |line: &str| {
        let of_memory = ["Max address space ", "Max data size "];
        let name = of_memory.into_iter().find(|name| line.starts_with(name))?.trim_end();
        let mut words = line[name.len()..].split_whitespace();
        let mut guests = || {
            let word = words.next()?;
            let limit = word.parse().map(limits::to_guest);
            Some(limit.map_or_else(|_| word.to_owned(), |limit| limit.to_string()))
        };
        let (soft, hard) = (guests()?, guests()?);
        Some(format!("{name:<25} {soft:<20} {hard:<20} {:<10}\n", "bytes"))
    };
    let lines = text.split_inclusive('\n');
    lines.flat_map(|line| shown(line).unwrap_or_else(|| line.to_owned()).into_bytes()).collect()
}

/// The entries of guest memory, and the host's vDSO where the guest sees it.
fn guest_maps(content: &[u8], heap: [u64; 2]) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut is_shown = false;
    let mut vdso = None;
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        let Some([start, end]) = range_of(line) else {
            if is_shown {
                shown.extend(line);
            }
            continue;
        };
        is_shown = start < GUEST_END || is_of_vdso(line);
        if start < GUEST_END && heap[0] < end && start < heap[1] && is_plain(line) {
            let text = String::from_utf8_lossy(line);
            shown.extend(format!("{:<NAME_AT$}[heap]\n", text.trim_end()).bytes());
        } else if start < GUEST_END {
            shown.extend(line);
        } else if is_shown {
            let from = *vdso.get_or_insert(start);
            let moved = |at: u64| VDSO + at.saturating_sub(from);
            let text = String::from_utf8_lossy(line);
            let (_, rest) = text.split_once(' ').unwrap_or_default();
            let name = rest.rsplit(' ').next().unwrap_or_default();
            let what = rest.trim_end_matches(name).trim_end();
            let line = format!("{:x}-{:x} {what}", moved(start), moved(end));
            shown.extend(format!("{line:<NAME_AT$}{name}").bytes());
        }
    }
    shown
}

/// A line of `maps` that begins with a range.
pub(super) struct Line<'a> {
    pub range: [u64; 2],
    /// Whether it is guest memory, or the host's vDSO, which the guest sees elsewhere.
    pub is_guests: bool,
    pub text: Cow<'a, str>,
}

/// The mappings of a process.
pub(super) fn lines(maps: &[u8]) -> impl Iterator<Item = Line<'_>> {
    maps.split_inclusive(|&byte| byte == b'\n').filter_map(|line| {
        let range = range_of(line)?;
        let is_guests = range[0] < GUEST_END || is_of_vdso(line);
        Some(Line { range, is_guests, text: String::from_utf8_lossy(line) })
    })
}

fn is_of_vdso(line: &[u8]) -> bool {
    let word = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    word.starts_with(b"[vvar") || word == b"[vdso]"
}

/// A line of `maps` that names nothing: anonymous memory without a label.
fn is_plain(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b" 00:00 0")
}

/// The addresses a line begins with: `start-end perms …`, or in `numa_maps`
/// `start policy …`. Attributes (`Rss:  4 kB`) begin with a capital and a colon.
pub(super) fn range_of(line: &[u8]) -> Option<[u64; 2]> {
    let word = std::str::from_utf8(line.split(|&byte| byte == b' ').next()?).ok()?;
    let (start, end) = word.split_once('-').unwrap_or((word, word));
    let is_number = start.len() >= 8 && !start.contains(|letter: char| letter.is_uppercase());
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    if is_number { Some([number(start)?, number(end)?]) } else { None }
}

fn without_launch_variable(mut content: Vec<u8>) -> Vec<u8> {
    if content.starts_with(LAUNCH_VARIABLE.as_bytes()) {
        let end = content.iter().position(|&byte| byte == 0).map_or(content.len(), |end| end + 1);
        content.drain(..end);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::{guest_call, guest_limits, guest_maps, shown_vector, without_launch_variable};

    #[test]
    fn the_monitors_mappings_are_left_out() {
        let content = b"\
00400000-00401000 r-xp 00000000 00:00 0 /bin/true
Size:                  4 kB
Rss:                   4 kB
4000000000-4000001000 rw-p 00000000 00:00 0 
VmFlags: rd wr
555500000000-555500001000 r-xp 00000000 00:00 0 /km
Size:                  4 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
";
        let shown = String::from_utf8(guest_maps(content, [0; 2])).unwrap();

        assert_eq!(shown.lines().count(), 5);
        assert!(shown.ends_with("VmFlags: rd wr\n"));
    }

    #[test]
    fn heap_and_vdso_are_named_where_the_guest_has_them() {
        let content = b"\
4000000000-4000001000 rw-p 00000000 00:00 0 
4000002000-4000003000 rw-p 00000000 00:00 0 
7f296c473000-7f296c477000 r--p 00000000 00:00 0                          [vvar]
7f296c479000-7f296c47b000 r-xp 00000000 00:00 0                          [vdso]
Size:                  8 kB
7ffeb22f7000-7ffeb2318000 rw-p 00000000 00:00 0                          [stack]
";
        let shown = String::from_utf8(guest_maps(content, [0x40_0000_2000, 0x40_0000_2001]));

        assert_eq!(
            shown.unwrap(),
            "\
4000000000-4000001000 rw-p 00000000 00:00 0 
4000002000-4000003000 rw-p 00000000 00:00 0                              [heap]
6e00000000-6e00004000 r--p 00000000 00:00 0                              [vvar]
6e00006000-6e00008000 r-xp 00000000 00:00 0                              [vdso]
Size:                  8 kB
"
        );
    }

    #[test]
    fn the_launch_variable_is_left_out_of_the_environment() {
        let strip = |content: &[u8]| without_launch_variable(content.to_vec());

        assert_eq!(strip(b"KM_LAUNCH=961\0A=1\0"), b"A=1\0");
        assert_eq!(strip(b"A=1\0KM_LAUNCH=961\0"), b"A=1\0KM_LAUNCH=961\0");
        assert_eq!(strip(b"KM_LAUNCH=961"), b"");
    }

    #[test]
    fn limits_of_memory_are_shown_without_the_monitors_share() {
        let line = |soft: u64, hard: &str| {
            format!("Max data size             {soft:<20} {hard:<20} bytes     \n")
        };
        let others =
            "Limit                     Soft Limit           Hard Limit           Units     \n";
        let content = [others, &line((1 << 40) + 4096, "unlimited")].concat();

        let shown = String::from_utf8(guest_limits(content.as_bytes())).unwrap();

        assert_eq!(shown, [others, &line(4096, "unlimited")].concat());
    }

    #[test]
    fn a_call_does_not_tell_where_the_monitor_is() {
        let shown = |content: &str| String::from_utf8(guest_call(content.as_bytes())).unwrap();

        assert_eq!(
            shown("0 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffe 0x7f00\n"),
            "0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n"
        );
        assert_eq!(shown("16 0x3 0xae80 0x0 0x0 0x0 0x0 0x7ffe 0x7f00\n"), "running\n");
        assert_eq!(shown("running\n"), "running\n");
    }

    #[test]
    fn a_vector_that_may_be_a_monitors_is_not_shown() {
        let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();

        assert_eq!(shown_vector(&bytes(&[6, 4096, 0, 0])), b"");
        let shown = shown_vector(&bytes(&[6, 4096, 0x6b6d_0000, 9, 0, 0]));
        assert_eq!(shown, bytes(&[6, 4096, 0, 0]));
    }
}
