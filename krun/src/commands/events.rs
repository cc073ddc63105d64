//! `krun events`: print what a container uses, again and again, and when memory runs out.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use spec_compat::Status;

use super::VerbError;
use crate::cli::{Events, Global};
use crate::container::oom::OomWatch;
use crate::container::process::ProcessName;
use crate::container::stats::{self, Stats};

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsError {
    /// runc's words.
    #[error("container with id {0} is not running")]
    NotRunning(String),
    /// The cgroup cannot be watched.
    #[error("watch the container's cgroup")]
    Watch(#[source] io::Error),
}

/// One line.
#[derive(Debug, Serialize)]
struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

pub(super) fn events(global: &Global, arguments: &Events) -> Result<(), VerbError> {
    let entry = super::store(global).find(&arguments.id)?;
    let record = entry.load()?;
    let not_running = || EventsError::NotRunning(arguments.id.clone());
    let process = record.process.filter(|_| entry.status(&record) != Status::Stopped);
    let process = process.ok_or_else(not_running)?;
    let print = |r#type, data| {
        let event = Event { r#type, id: &arguments.id, data };
        let line = serde_json::to_string(&event).expect("text and numbers can always be written");
        super::print(&format!("{line}\n"))
    };
    if arguments.stats {
        return print("stats", Some(stats::read(&record.cgroups)));
    }
    let mut watch = Watch::new(&record.cgroups, process).map_err(EventsError::Watch)?;
    let mut next = Instant::now() + arguments.interval;
    loop {
        match watch.wait(next).map_err(EventsError::Watch)? {
            News::OutOfMemory => print("oom", None)?,
            News::Nothing => {}
            News::Interval => {
                print("stats", Some(stats::read(&record.cgroups)))?;
                next = Instant::now() + arguments.interval;
            }
            News::End => return Ok(()),
        }
    }
}

/// What a wait ended with.
enum News {
    OutOfMemory,
    /// What woke it was none.
    Nothing,
    Interval,
    End,
}

/// The container's memory and its program's end.
struct Watch {
    oom: Option<OomWatch>,
    process: std::os::fd::OwnedFd,
}

impl Watch {
    fn new(cgroups: &[std::path::PathBuf], process: ProcessName) -> io::Result<Self> {
        Ok(Self { oom: OomWatch::new(cgroups)?, process: process.handle()? })
    }

    fn wait(&mut self, until: Instant) -> io::Result<News> {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left.max(Duration::from_millis(1))).ok();
        let (has_ended, has_news) = {
            let mut polled = vec![PollFd::new(&self.process, PollFlags::IN)];
            let oom = self.oom.as_ref().map(OomWatch::descriptor);
            polled.extend(oom.as_ref().map(|oom| PollFd::new(oom, PollFlags::IN)));
            poll(&mut polled, limit.as_ref())?;
            let is_ready =
                |place: usize| polled.get(place).is_some_and(|p| !p.revents().is_empty());
            (is_ready(0), is_ready(1))
        };
        match &mut self.oom {
            // Memory is often why it ended: that comes first.
            Some(oom) if has_news => match oom.take()? {
                true => Ok(News::OutOfMemory),
                false if has_ended => Ok(News::End),
                false => Ok(News::Nothing),
            },
            _ if has_ended => Ok(News::End),
            _ => Ok(News::Interval),
        }
    }
}
