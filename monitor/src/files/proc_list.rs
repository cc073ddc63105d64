//! Folders of `/proc/<pid>` as they are listed: without the monitor's descriptors,
//! its mappings, and threads that the kernel runs for the virtual machine.

use std::{cell::Cell, os::fd::BorrowedFd, time::Duration};

use monitor_sys::{Errno, guest_memory::GUEST_END, proc_files, procfs::Procfs};
use rustix::fs::Dir;

use super::neighbour::{self, Owner, Subject, Viewer};
use crate::exitless;

/// `PF_USER_WORKER`: a thread of the kernel's that counts as one of the process.
const USER_WORKER: u64 = 0x4000;

/// A folder some of whose entries are not shown.
#[derive(Debug)]
pub struct Folder<'a> {
    /// The procfs that it is of, if its root can be found.
    procfs: Option<Procfs>,
    process: &'a str,
    owner: Owner,
    kind: Kind,
    /// The guest's threads, if that is what it lists.
    threads: Vec<String>,
}

/// See [`is_worker`].
const PATIENCE: u32 = 10;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Descriptors,
    Threads,
    Mappings,
}

/// Whether there may be such entries in a folder of that name inside procfs.
pub fn is_folder(name: &str) -> bool {
    neighbour::split(name).is_some_and(|(_, rest)| kind(rest).is_some())
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "fd" | "fdinfo" => Kind::Descriptors,
        "task" => Kind::Threads,
        "map_files" => Kind::Mappings,
        _ => return None,
    })
}

/// The folder of that name inside procfs, if it is such a one.
pub fn folder<'a>(
    viewer: &Viewer<'_>,
    name: &'a str,
    file: BorrowedFd<'_>,
) -> Result<Option<Folder<'a>>, Errno> {
    let Some((process, rest)) = neighbour::split(name) else { return Ok(None) };
    let Some(kind) = kind(rest) else { return Ok(None) };
    let procfs = Procfs::of(file, viewer.apart.is_some());
    let owner = neighbour::owner_in(viewer, procfs.as_ref(), process)?;
    if owner == Owner::Other {
        return Ok(None);
    }
    let threads = match (kind, &procfs) {
        (Kind::Threads, Some(procfs)) => threads(viewer, Subject { procfs, process })?,
        _ => Vec::new(),
    };
    Ok(Some(Folder { procfs, process, owner, kind, threads }))
}

impl Folder<'_> {
    /// Whether the entry is not shown.
    pub fn hides(&self, viewer: &Viewer<'_>, entry: &str) -> bool {
        let subject = self.procfs.as_ref().map(|procfs| Subject { procfs, process: self.process });
        match self.kind {
            // What cannot be looked at may be a monitor's.
            Kind::Descriptors => entry.parse().is_ok_and(|number| {
                subject
                    .is_none_or(|subject| neighbour::is_hidden(viewer, subject, self.owner, number))
            }),
            // `.` and `..` are shown. One that is not there any more may have been the monitor's.
            Kind::Threads => {
                entry.parse::<u32>().is_ok() && !self.threads.iter().any(|shown| shown == entry)
            }
            Kind::Mappings => {
                let start = entry.split('-').next().unwrap_or_default();
                u64::from_str_radix(start, 16).is_ok_and(|start| start >= GUEST_END)
            }
        }
    }
}

/// The numbers of a guest's threads. Their files are opened out of reach: they tell more than that.
fn threads(viewer: &Viewer<'_>, subject: Subject<'_>) -> Result<Vec<String>, Errno> {
    neighbour::apart(viewer, subject, |subject| Ok(guests_threads(subject).unwrap_or_default()))
}

/// The same, as a thread finds them that nobody else shares descriptors with; `None` if there is no such folder.
pub(super) fn guests_threads(subject: Subject<'_>) -> Option<Vec<String>> {
    let listed = Dir::read_from(subject.open("task").ok()?).ok()?;
    let patience = Cell::new(PATIENCE);
    let names =
        listed.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    let threads = names
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|thread| !is_worker(subject, thread, &patience));
    Some(threads.collect())
}

/// Whether a thread is the virtual machine's, or works for the program's calls. The latter is known by its name,
/// which one that has just begun gets in a moment: `patience` is for how many milliseconds a look at all
/// threads may wait for that. One that has ended since it was listed may have been such a one, and is not there any more.
fn is_worker(subject: Subject<'_>, thread: &str, patience: &Cell<u32>) -> bool {
    loop {
        let Ok(stat) = subject.read(&format!("task/{thread}/stat")) else {
            return true;
        };
        let text = String::from_utf8_lossy(&stat);
        let (name, words) = text.rsplit_once(')').unwrap_or_default();
        let words: Vec<&str> = words.split(' ').collect();
        let is_ours = is_of_kernel(&words)
            || name.split_once('(').is_some_and(|(_, name)| name == exitless::NAME);
        let is_young = thread != subject.process && has_just_begun(words.get(20));
        if is_ours || !is_young || patience.get() == 0 {
            return is_ours;
        }
        patience.set(patience.get() - 1);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a thread is the kernel's, by the words behind its name.
fn is_of_kernel(words: &[&str]) -> bool {
    let flags = words.get(7).and_then(|word| word.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & USER_WORKER != 0)
}

/// Whether the kernel runs threads of its own in the viewer's process.
pub fn has_kernels_threads(viewer: &Viewer<'_>) -> bool {
    let own = Subject { procfs: &Procfs::OWN, process: "thread-self/.." };
    neighbour::apart(viewer, own, |own| {
        let threads = Dir::read_from(own.open(".")?).into_iter().flatten().flatten();
        let stats = threads.filter_map(|thread| {
            own.read(&format!("{}/stat", thread.file_name().to_str().ok()?)).ok()
        });
        Ok(stats.into_iter().any(|stat| {
            let text = String::from_utf8_lossy(&stat);
            let (_, words) = text.rsplit_once(')').unwrap_or_default();
            is_of_kernel(&words.split(' ').collect::<Vec<_>>())
        }))
    })
    .unwrap_or(false)
}

/// Whether a thread began within the last two ticks, given when it did.
fn has_just_begun(start: Option<&&str>) -> bool {
    let uptime = proc_files::read("uptime").unwrap_or_default();
    let uptime =
        String::from_utf8_lossy(&uptime).split(' ').next().map(|word| word.replace('.', ""));
    let now = uptime.and_then(|ticks| ticks.parse::<u64>().ok());
    let start = start.and_then(|ticks| ticks.parse::<u64>().ok());
    now.zip(start).is_some_and(|(now, start)| now.saturating_sub(start) < 2)
}

/// The directory entries but for the hidden ones. `wide` entries are those of
/// `getdents64(2)`, whose names begin a byte later.
pub fn without_hidden(entries: &[u8], wide: bool, hides: impl Fn(&str) -> bool) -> Vec<u8> {
    const LENGTH_AT: usize = 16;
    let name_at = if wide { 19 } else { 18 };
    let mut shown = Vec::with_capacity(entries.len());
    let mut rest = entries;
    while let Some(length) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let Some((entry, behind)) = rest.split_at_checked(length).filter(|_| length > name_at)
        else {
            break;
        };
        let name = entry[name_at..].split(|&byte| byte == 0).next().unwrap_or_default();
        if !std::str::from_utf8(name).is_ok_and(&hides) {
            shown.extend(entry);
        }
        rest = behind;
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        os::fd::{AsFd, AsRawFd},
    };

    use monitor_sys::{Errno, descriptors};

    use super::{Folder, folder, without_hidden};
    use crate::files::neighbour::Viewer;

    const VIEWER: Viewer<'static> = Viewer {
        monitor: None,
        program: None,
        auxiliary: &[],
        heap: [0; 2],
        own_filter: false,
        apart: None,
    };

    fn folder_of(name: &str) -> Result<Option<Folder<'_>>, Errno> {
        let file =
            File::open(format!("/proc{name}")).unwrap_or_else(|_| File::open("/proc").unwrap());
        folder(&VIEWER, name, file.as_fd())
    }

    fn entry(name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 19];
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[16..18].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn the_monitors_descriptors_are_left_out_of_a_list() {
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = hidden.as_raw_fd().to_string();
        let name = format!("/{}/fd", std::process::id());
        let list = folder_of(&name).unwrap().unwrap();

        let all = [entry("."), entry(&number), entry("2")].concat();
        let shown = without_hidden(&all, true, |entry| list.hides(&VIEWER, entry));

        assert_eq!(shown, [entry("."), entry("2")].concat());
    }

    #[test]
    fn the_monitors_mappings_are_left_out_of_a_list() {
        let name = format!("/{}/map_files", std::process::id());
        let list = folder_of(&name).unwrap().unwrap();

        assert!(list.hides(&VIEWER, "7f0000000000-7f0000001000"));
        assert!(!list.hides(&VIEWER, "4000000000-4000001000"));
        assert!(!list.hides(&VIEWER, ".."));
    }

    #[test]
    fn other_folders_are_listed_whole() {
        let own = std::process::id();
        let parent = std::os::unix::process::parent_id();

        for name in [format!("/{own}/ns"), format!("/{parent}/fd"), "/fd".to_owned()] {
            assert!(folder_of(&name).unwrap().is_none(), "{name}");
        }
    }
}
