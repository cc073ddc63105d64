//! Being told that a container ran out of memory.
//!
//! Version 1 has an eventfd that is registered in `cgroup.event_control` and also tells of the
//! cgroup's removal; version 2 has `memory.events`, whose changes inotify(7) shows.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Something that becomes readable when there may be news.
#[derive(Debug)]
pub(crate) enum OomWatch {
    /// Of version 1.
    Eventfd {
        /// The eventfd.
        event: OwnedFd,
        /// The registered file, open as long as the registration is to last.
        _control: fs::File,
        /// A file of the cgroup, which is gone when that is.
        file: PathBuf,
    },
    /// Of version 2.
    Inotify {
        /// The inotify instance.
        instance: OwnedFd,
        /// The watched file.
        file: PathBuf,
        /// How many processes had been killed at the last look.
        seen: u64,
    },
}

impl OomWatch {
    /// Watches the cgroup with these directories. `None` without a memory controller.
    pub(crate) fn new(directories: &[PathBuf]) -> io::Result<Option<Self>> {
        for directory in directories {
            if directory.join("memory.events").exists() {
                return watch_events(directory.join("memory.events")).map(Some);
            }
            if directory.join("memory.oom_control").exists() {
                return register(directory).map(Some);
            }
        }
        Ok(None)
    }

    /// What to poll.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Eventfd { event, .. } => event.as_fd(),
            Self::Inotify { instance, .. } => instance.as_fd(),
        }
    }

    /// Takes the news, and says whether memory ran out since the last look. How often says nothing:
    /// the kernel counts anew while what it has killed still has its memory.
    pub(crate) fn take(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        rustix::io::read(self.descriptor(), &mut bytes)?;
        match self {
            // The cgroup's removal is no news.
            Self::Eventfd { file, .. } => Ok(file.exists()),
            Self::Inotify { file, seen, .. } => {
                let before = std::mem::replace(seen, killed(file));
                Ok(*seen > before)
            }
        }
    }
}

fn register(directory: &Path) -> io::Result<OomWatch> {
    let control = fs::File::open(directory.join("memory.oom_control"))?;
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    let file = directory.join("cgroup.event_control");
    fs::write(&file, registration)?;
    Ok(OomWatch::Eventfd { event, _control: control, file })
}

fn watch_events(file: PathBuf) -> io::Result<OomWatch> {
    let instance = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&instance, &file, WatchFlags::MODIFY)?;
    Ok(OomWatch::Inotify { instance, seen: killed(&file), file })
}

/// Whether a process of the cgroup with these directories has been killed for want of memory.
pub(crate) fn has_killed(directories: &[PathBuf]) -> bool {
    let files = directories.iter().flat_map(|directory| {
        ["memory.events", "memory.oom_control"].map(|name| directory.join(name))
    });
    files.map(|file| killed(&file)).any(|count| count > 0)
}

fn killed(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
