//! Where containers are remembered: one directory each below `--root`.
//!
//! ```text
//! <root>/<id>/state.json    the record; replaced whole, so a reader never sees half of one
//! <root>/<id>/lock          held by the command that changes the container
//! <root>/<id>/exec.fifo     see `start_gate`
//! <root>/<id>/bundle.json   the bundle's `config.json`, for `exec`: the bundle may be gone
//! <root>/<id>/config.json   what libcontainer is given instead
//! <root>/<id>/libcontainer/ what libcontainer writes
//! <root>/<id>/exec-*        of an `exec` that is at work
//! <root>/.removed~*         what was a container's directory, and is being removed
//! ```
//!
//! The lock belongs to the process that took it (`fcntl(2)`), not to the open file: the
//! container's first process is forked by `create`, waits for `start`, and must not hold it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use spec_compat::Status;

use super::id::{ContainerId, IdError};
use super::record::Record;
use super::{freezer, start_gate};

const RECORD: &str = "state.json";
const LOCK: &str = "lock";

/// How the names of directories begin that are being removed. `~` is in no container's name.
const REMOVED: &str = ".removed~";

/// How long others may go on writing to a container's directory that is removed, and how often it is
/// tried.
const REMOVAL_LIMIT: Duration = Duration::from_secs(1);
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

/// Why a container cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// runc's words; callers look for "does not exist".
    #[error("container does not exist")]
    NotFound,
    /// runc's words.
    #[error("container with given ID already exists")]
    Exists,
    /// No name for a container.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The file system's fault, or a damaged file.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// The directory of all containers.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// One container's directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    directory: PathBuf,
}

/// The right to change a container, until dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "held for its descriptor, whose closing is the unlocking")] File,
);

impl Store {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The container called `id`.
    pub(crate) fn find(&self, id: &str) -> Result<Entry, StoreError> {
        let id = ContainerId::parse(id)?;
        let entry = Entry { directory: self.root.join(&id) };
        match entry.directory.try_exists() {
            Ok(true) => Ok(entry),
            Ok(false) => Err(StoreError::NotFound),
            Err(source) => Err(StoreError::Io { path: entry.directory, source }),
        }
    }

    /// All containers, by name. Without a directory there are none.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let fault = |source| StoreError::Io { path: self.root.clone(), source };
        let listed = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(fault)?,
        };
        let mut entries = Vec::new();
        for found in listed {
            let found = found.map_err(fault)?;
            // One that is being removed is none, also if who removed it was killed.
            let is_removed = found.file_name().as_bytes().starts_with(REMOVED.as_bytes());
            let is_container = !is_removed && found.path().is_dir();
            entries.extend(is_container.then(|| Entry { directory: found.path() }));
        }
        entries.sort_by(|one, other| one.directory.cmp(&other.directory));
        Ok(entries)
    }

    /// Takes the name `id` for a new container and locks it.
    pub(crate) fn reserve(&self, id: &ContainerId) -> Result<(Entry, Lock), StoreError> {
        // In a user's runtime directory what is not sticky may be cleared away.
        make_directory(&self.root, DirBuilder::new().recursive(true).mode(0o1700))?;
        let directory = self.root.join(id);
        make_directory(&directory, DirBuilder::new().mode(0o700))?;
        let entry = Entry { directory };
        // Made here and nowhere else: a file that appeared while the directory is being
        // removed would keep it from going.
        let path = entry.directory.join(LOCK);
        File::create_new(&path).map_err(|source| StoreError::Io { path, source })?;
        let lock = entry.lock()?;
        Ok((entry, lock))
    }
}

/// Not for others: what a container is told may be secret. Joining a user namespace needs no access,
/// everything in here is opened before.
fn make_directory(path: &Path, builder: &DirBuilder) -> Result<(), StoreError> {
    builder.create(path).map_err(|source| {
        if source.kind() == ErrorKind::AlreadyExists {
            StoreError::Exists
        } else {
            StoreError::Io { path: path.into(), source }
        }
    })
}

impl Entry {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the bundle's configuration is kept, for `exec`.
    pub(crate) fn bundle_json(&self) -> PathBuf {
        self.directory.join("bundle.json")
    }

    /// Waits for the right to change the container.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        self.take_lock(FlockOperation::LockExclusive)
    }

    fn take_lock(&self, operation: FlockOperation) -> Result<Lock, StoreError> {
        let path = self.directory.join(LOCK);
        let file = File::options().write(true).open(&path);
        let file = file.map_err(|source| Self::missing_or(path.clone(), source))?;
        fcntl_lock(&file, operation)
            .map_err(|errno| StoreError::Io { path: path.clone(), source: errno.into() })?;
        // Whoever held the lock before may have deleted the container, and the name be another's.
        match (file.metadata(), fs::metadata(&path)) {
            (Ok(own), Ok(there)) if (own.dev(), own.ino()) == (there.dev(), there.ino()) => {
                Ok(Lock(file))
            }
            _ => Err(StoreError::NotFound),
        }
    }

    fn missing_or(path: PathBuf, source: io::Error) -> StoreError {
        if source.kind() == ErrorKind::NotFound {
            StoreError::NotFound
        } else {
            StoreError::Io { path, source }
        }
    }

    /// Reads the record.
    pub(crate) fn load(&self) -> Result<Record, StoreError> {
        let path = self.directory.join(RECORD);
        let bytes = fs::read(&path).map_err(|source| Self::missing_or(path.clone(), source))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Io { path, source: error.into() })
    }

    /// Replaces the record. Needs the lock, hence the argument.
    pub(crate) fn save(&self, record: &Record, _lock: &Lock) -> Result<(), StoreError> {
        let path = self.directory.join(RECORD);
        let bytes = serde_json::to_vec(record).map_err(io::Error::from);
        bytes
            .and_then(|bytes| replace_file(&path, &bytes))
            .map_err(|source| StoreError::Io { path, source })
    }

    /// Finds out where in its life the container is.
    pub(crate) fn status(&self, record: &Record) -> Status {
        let Some(process) = record.process else {
            // Whoever creates it holds the lock; without one there is nobody.
            return match self.take_lock(FlockOperation::NonBlockingLockExclusive) {
                Ok(_) => Status::Stopped,
                Err(_) => Status::Creating,
            };
        };
        if !process.is_alive() {
            Status::Stopped
        } else if freezer::is_frozen(&record.cgroups) {
            Status::Paused
        } else if start_gate::path(&self.directory).exists() {
            Status::Created
        } else {
            Status::Running
        }
    }

    /// Forgets the container. Needs the lock.
    ///
    /// First the name becomes free, at once: whoever takes it anew gets another directory, and what is
    /// removed then is nobody's.
    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        let fault = |source| StoreError::Io { path: self.directory.clone(), source };
        let hidden = match hidden_name(&self.directory) {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
            hidden => hidden.map_err(fault)?,
        };
        remove_tree(&hidden).map_err(fault)
    }

    /// Forgets what a command has left that was killed before it had made the lock. Another command may have
    /// removed it, and even taken the name again: that is not touched.
    pub(crate) fn remove_without_lock(&self) -> Result<(), StoreError> {
        if self.directory.join(LOCK).exists() { Ok(()) } else { self.remove() }
    }
}

/// Gives the directory a name of its own beside its old one, which no container can have.
fn hidden_name(directory: &Path) -> io::Result<PathBuf> {
    for number in 0_u64.. {
        let name = format!("{REMOVED}{}~{number}", process::id());
        let hidden = directory.with_file_name(name);
        match fs::rename(directory, &hidden) {
            // Of a killed command that had this number of process.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            renamed => return renamed.map(|()| hidden),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match fs::remove_dir_all(directory) {
            // An `exec` that came too late may be writing there; without its own directory it soon
            // gives up.
            Err(error)
                if error.kind() == ErrorKind::DirectoryNotEmpty
                    && began.elapsed() < REMOVAL_LIMIT =>
            {
                thread::sleep(REMOVAL_PAUSE);
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// Writes a file under another name and renames it, so that nobody reads half of it.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests;
