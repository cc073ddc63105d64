//! Whose a folder of `/proc` is: the looking guest's own, another guest's, or that
//! of a process without a monitor.

use std::{fs::File, os::fd::BorrowedFd, thread, time::Duration};

use monitor_sys::{
    Errno, descriptors,
    process_view::{self, Numbers},
    procfs::Procfs,
};
use rustix::fs::{AtFlags, FileType, Stat, fstat, makedev, statat};

use super::apart::{self, Apart};

/// How often, and how far apart, a guest is looked at that begins. Together a second.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// `/dev/kvm`'s numbers, as in `linux/miscdevice.h`.
const DEVICE: (u32, u32) = (10, 232);

/// The process that looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Viewer<'a> {
    /// The monitor's program, by which a monitor is known.
    pub monitor: Option<BorrowedFd<'a>>,
    /// The guest's program.
    pub program: Option<BorrowedFd<'a>>,
    /// The process's own auxiliary vector.
    pub auxiliary: &'a [u64],
    /// Where its heap begins and ends.
    pub heap: [u64; 2],
    /// Whether one of the filters that the kernel counts is the monitor's own. It is so for neighbours, too.
    pub own_filter: bool,
    /// The process, if it has threads that could read what is opened to be looked at.
    pub apart: Option<&'a dyn Apart>,
}

/// A process that is looked at: its folder in a procfs.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The procfs that the number is of.
    pub procfs: &'a Procfs,
    /// The number.
    pub process: &'a str,
}

impl Subject<'_> {
    /// Opens a file of its folder, for reading.
    pub fn open(&self, name: &str) -> Result<File, Errno> {
        self.procfs.open(&format!("{}/{name}", self.process))
    }

    /// The content of such a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Errno> {
        self.procfs.read(&format!("{}/{name}", self.process))
    }

    /// The status of what a link of its folder leads to. `EXDEV` if that is another link, mounted there.
    fn status(&self, name: &str) -> Result<Stat, Errno> {
        let path = format!("{}/{name}", self.process);
        self.procfs.demand_uncovered(&path)?;
        let found = statat(self.procfs.root()?, path, AtFlags::empty());
        found.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }
}

/// Whose folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The viewer's.
    Own,
    /// Another guest's. Its monitor says by which numbers it keeps the guest's
    /// program and other things.
    Guest(Numbers),
    /// No guest's.
    Other,
}

/// Something is mounted over what would tell whose it is.
const COVERED: Owner = Owner::Guest([None; 4]);

/// A path from procfs's root, split: the process, and the rest. What threads have
/// of their own is taken for the process's.
pub fn split(name: &str) -> Option<(&str, &str)> {
    let (process, rest) = name.strip_prefix('/')?.split_once('/')?;
    if !process.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let of_thread = rest.strip_prefix("task/").and_then(|rest| rest.split_once('/'));
    Some((process, of_thread.map_or(rest, |(_, rest)| rest)))
}

/// Whose folder it is. `ENOMEM` as of [`Apart`].
pub fn owner(viewer: &Viewer<'_>, subject: Subject<'_>) -> Result<Owner, Errno> {
    // Not by its number: procfs may be that of another namespace.
    match subject.procfs.open(&format!("thread-self/../{}/comm", subject.process)) {
        Ok(_) => return Ok(Owner::Own),
        Err(Errno::EXDEV) => return Ok(COVERED),
        Err(_) => {}
    }
    for _ in 0..LOOKS {
        let numbers = numbers_of(viewer, subject)?;
        if numbers[0].is_some() {
            return Ok(Owner::Guest(numbers));
        }
        match runs_a_monitor(viewer, subject) {
            Ok(true) => {}
            Err(Errno::EXDEV) => return Ok(COVERED),
            Ok(false) | Err(_) => return Ok(Owner::Other),
        }
        // It has begun to execute a program, as everybody can see, but its monitor has not told yet
        // which. Where this process's own monitor could not tell, no other one ever will.
        let own = Subject { procfs: &Procfs::OWN, process: "thread-self" };
        if numbers_of(viewer, own)?[0].is_none() {
            break;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(Owner::Guest(numbers_of(viewer, subject)?))
}

/// The same, of a procfs that may not be found: then it may be anybody's, and a guest's more likely than not.
pub fn owner_in(
    viewer: &Viewer<'_>,
    procfs: Option<&Procfs>,
    process: &str,
) -> Result<Owner, Errno> {
    let subject = procfs.map(|procfs| Subject { procfs, process });
    subject.map_or(Ok(COVERED), |subject| owner(viewer, subject))
}

/// What a process's monitor has told of its descriptors. It tells more, which nobody else is to read.
fn numbers_of(viewer: &Viewer<'_>, subject: Subject<'_>) -> Result<Numbers, Errno> {
    let vector = apart(viewer, subject, |subject| Ok(subject.read("auxv").unwrap_or_default()))?;
    let words = vector.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let words: Vec<u64> = words.map(u64::from_le_bytes).collect();
    Ok(process_view::descriptors_in(&words))
}

/// Looks at files of a process that the viewer's other threads must not find open. `ENOMEM` as of [`Apart`].
pub(super) fn apart<R: Send + 'static>(
    viewer: &Viewer<'_>,
    subject: Subject<'_>,
    look: impl FnOnce(Subject<'_>) -> Result<R, Errno> + Send + 'static,
) -> Result<R, Errno> {
    let Some(apart) = viewer.apart else { return look(subject) };
    let (way, process) = (subject.procfs.way()?, subject.process.to_owned());
    apart::result_of(apart, move || {
        let procfs = Procfs::by(way.as_deref())?;
        look(Subject { procfs: &procfs, process: &process })
    })?
}

/// Whether the open file is the monitor's own program.
pub fn is_monitors(viewer: &Viewer<'_>, file: BorrowedFd<'_>) -> bool {
    match (viewer.monitor.map(fstat), fstat(file)) {
        (Some(Ok(one)), Ok(other)) => is_same(&one, &other),
        _ => false,
    }
}

fn runs_a_monitor(viewer: &Viewer<'_>, subject: Subject<'_>) -> Result<bool, Errno> {
    let program = subject.status("exe")?;
    Ok(viewer.monitor.map(fstat).is_some_and(|own| own.is_ok_and(|own| is_same(&own, &program))))
}

/// Whether descriptor `number` of the owner's is its monitor's, or may be: of one that has told nothing each may be.
pub fn is_hidden(viewer: &Viewer<'_>, subject: Subject<'_>, owner: Owner, number: i32) -> bool {
    let numbers = match owner {
        Owner::Own => return descriptors::is_ours(number),
        Owner::Guest(numbers) => numbers,
        Owner::Other => return false,
    };
    let wide = u64::from(number.unsigned_abs());
    if numbers[0].is_none() || numbers.contains(&Some(wide)) {
        return true;
    }
    let name = format!("fd/{number}");
    let target = subject.procfs.link(&format!("{}/{name}", subject.process)).unwrap_or_default();
    if target.starts_with(b"anon_inode:kvm-") {
        return true;
    }
    let found = match subject.status(&name) {
        Err(Errno::EXDEV) => return true,
        found => found,
    };
    // Numbers that a monitor keeps lead to procfs's root while it does not need them.
    let is_spare = |found: &Stat| {
        let is_high = numbers.iter().flatten().any(|known| *known < wide);
        let is = |root: &Procfs| {
            root.root().is_ok_and(|root| fstat(root).is_ok_and(|root| is_same(&root, found)))
        };
        is_high && (is(&Procfs::OWN) || is(subject.procfs))
    };
    found.is_ok_and(|found| is_a_monitors(viewer, &found) || is_spare(&found))
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether a file is `/dev/kvm` or the monitor's program. What they are called tells nothing: on mounts that are
/// attached nowhere both are `/`.
fn is_a_monitors(viewer: &Viewer<'_>, found: &Stat) -> bool {
    let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    let own = viewer.monitor.map(fstat).and_then(Result::ok);
    is_device && found.st_rdev == makedev(DEVICE.0, DEVICE.1)
        || own.is_some_and(|own| is_same(&own, found))
}

#[cfg(test)]
mod tests {
    use monitor_sys::procfs::Procfs;

    use super::{Owner, Subject, Viewer, owner, split};

    #[test]
    fn a_name_splits_into_process_and_rest() {
        assert_eq!(split("/7/maps"), Some(("7", "maps")));
        assert_eq!(split("/7/task/9/fd/3"), Some(("7", "fd/3")));
        assert_eq!(split("/7/task"), Some(("7", "task")));
        assert_eq!(split("/7/task/9"), Some(("7", "task/9")));
        assert_eq!(split("/sys/kernel"), None);
        assert_eq!(split("/7"), None);
        assert_eq!(split(""), None);
    }

    #[test]
    fn a_process_knows_its_own_folder_and_that_of_no_guest() {
        let viewer = Viewer::default();
        let parent = std::os::unix::process::parent_id().to_string();

        let owner = |process: &str| owner(&viewer, Subject { procfs: &Procfs::OWN, process });

        assert_eq!(owner(&std::process::id().to_string()), Ok(Owner::Own));
        assert_eq!(owner(&parent), Ok(Owner::Other));
    }
}
