//! A change of one file that needs nothing more than a rename, and can be taken back by one.
//!
//! The new file lies complete beside the old one. They are exchanged, which no reader can see half of, and what comes
//! out must be the file that was read: if somebody has put another one there meanwhile, they are exchanged once more.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    self as sys, AtFlags, Gid, Mode, OFlags, RenameFlags, StatxFlags, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::found::Pinned;
use super::{Change, Found, Root};
use crate::error::{NodeError, Result};

/// How often files are exchanged back while somebody else saves.
const EXCHANGES: u32 = 100;

/// A change that is ready to be made.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    change: &'a Change,
    directory: OwnedFd,
    name: OsString,
    /// Where what lies beside it is: another one if an engine reads all files in the file's own.
    aside_directory: OwnedFd,
    aside_parent: PathBuf,
    /// Beside it: the new file before the exchange, the old one after.
    aside: OsString,
    shown: PathBuf,
    /// Which one the new file is; none if there is none.
    written: Option<Pinned>,
    /// Directories that were made for it.
    pub(super) made: Vec<PathBuf>,
}

impl<'a> Prepared<'a> {
    /// Does all of a change that can fail for want of room or rights.
    pub(super) fn new(root: &Root, change: &'a Change) -> Result<Self> {
        let (parent, name) = Root::split(&change.path)?;
        let mut made = Vec::new();
        let done = prepare_directory(root, parent, &mut made).and_then(|directory| {
            let shown = root.shown(&change.path);
            let (aside_directory, aside_parent) = aside_of(root, change, &directory)?;
            let aside = unused_name(aside_directory.as_fd(), name, &shown)?;
            let name = name.to_owned();
            let (written, made) = (None, Vec::new());
            let mut prepared = Self {
                change,
                directory,
                name,
                aside_directory,
                aside_parent,
                aside,
                shown,
                written,
                made,
            };
            prepared.written = prepared.write_aside()?;
            Ok(prepared)
        });
        match done {
            Ok(prepared) => Ok(Self { made, ..prepared }),
            Err(error) => {
                made.iter().rev().for_each(|directory| root.remove_directory(directory));
                Err(error)
            }
        }
    }

    /// Makes the change, unless the file is another one by now. Where the power fails then, what is made after it is
    /// not there without it.
    pub(super) fn commit(&self) -> Result<()> {
        self.put()?;
        let done = self
            .demand_read()
            .and_then(|()| self.sync().map_err(|error| self.system("write", error)));
        done.inspect_err(|_| self.undo())
    }

    fn put(&self) -> Result<()> {
        let changed = || self.changed();
        match (&self.change.before, &self.change.after) {
            (None, None) => Ok(()),
            (None, Some(_)) => match self.rename_in(RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => Err(changed()),
                other => other.map_err(|error| self.system("make", error)),
            },
            (Some(_), after) => {
                let flags = exchange_or_remove(after.is_some());
                match self.rename_out(flags) {
                    Err(Errno::NOENT) => Err(changed()),
                    other => other.map_err(|error| self.system("replace", error)),
                }
            }
        }
    }

    /// What came out must be what was read.
    fn demand_read(&self) -> Result<()> {
        let Some(before) = &self.change.before else { return Ok(()) };
        let out = Found::read(self.aside_directory.as_fd(), &self.aside, &self.shown);
        if out.is_ok_and(|out| out.is_some_and(|out| out.is_same(before))) {
            return Ok(());
        }
        Err(self.changed())
    }

    /// Takes back a change that was made. What somebody has put there since stays there, or aside if he never stops.
    pub(super) fn undo(&self) {
        // What renamed a file one way can do so the other way; and there is nobody left to tell.
        let _ = match (&self.change.before, &self.change.after) {
            (None, None) => Ok(()),
            (None, Some(_)) => self.take_back(),
            (Some(_), None) => self.rename_in(RenameFlags::NOREPLACE),
            (Some(_), Some(_)) => self.exchange_back(),
        };
    }

    fn take_back(&self) -> rustix::io::Result<()> {
        self.rename_out(RenameFlags::NOREPLACE)?;
        if self.written.is_some() && self.there() == self.written {
            return Ok(());
        }
        self.rename_in(RenameFlags::NOREPLACE)
    }

    /// Exchanges until what comes out is what was put there, by which nobody has saved anything in between.
    fn exchange_back(&self) -> rustix::io::Result<()> {
        let mut put = None;
        for _ in 0..EXCHANGES {
            let back = self.there();
            match self.rename_in(RenameFlags::EXCHANGE) {
                // Somebody has removed it: so it stays.
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            }
            if self.there() == *put.as_ref().unwrap_or(&self.written) {
                return Ok(());
            }
            put = Some(back);
        }
        Ok(())
    }

    /// Removes what lies beside the file: the one that was read if the change was made, else the one that was written.
    /// Another one is somebody else's work: it is left, and named.
    pub(super) fn remove_aside(&self, is_made: bool) -> Option<PathBuf> {
        let left = self.is_somebody_elses(is_made);
        if !left {
            let _ = sys::unlinkat(&self.aside_directory, &self.aside, AtFlags::empty());
        }
        let _ = self.sync();
        left.then(|| self.aside_parent.join(&self.aside))
    }

    fn is_somebody_elses(&self, is_made: bool) -> bool {
        let there = self.there();
        let Some(inode) = there.as_ref().map(Pinned::inode) else { return false };
        let bytes = match (&self.change.before, &self.change.after) {
            (Some(before), _) if is_made && inode == before.inode() => &before.bytes,
            (_, Some(after)) if !is_made && there == self.written => after,
            _ => return true,
        };
        let found = Found::read(self.aside_directory.as_fd(), &self.aside, &self.shown);
        !found.is_ok_and(|found| found.is_some_and(|found| found.bytes == *bytes))
    }

    /// What lies beside the file.
    fn there(&self) -> Option<Pinned> {
        Pinned::at(&self.aside_directory, &self.aside)
    }

    /// Makes names in the directory last.
    fn sync(&self) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for directory in [&self.directory, &self.aside_directory] {
            let directory = sys::openat(directory, ".", flags, Mode::empty())?;
            match sys::fsync(directory) {
                // Not every file system can for directories.
                Ok(()) | Err(Errno::INVAL) => {}
                other => return other,
            }
        }
        Ok(())
    }

    /// Puts what lies beside the file in its place.
    fn rename_in(&self, flags: RenameFlags) -> rustix::io::Result<()> {
        let (from, to) = (&self.aside_directory, &self.directory);
        sys::renameat_with(from, &self.aside, to, &self.name, flags)
    }

    /// Puts the file beside its place.
    fn rename_out(&self, flags: RenameFlags) -> rustix::io::Result<()> {
        let (from, to) = (&self.directory, &self.aside_directory);
        sys::renameat_with(from, &self.name, to, &self.aside, flags)
    }

    fn write_aside(&self) -> Result<Option<Pinned>> {
        let Some(bytes) = &self.change.after else { return Ok(None) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = self.open(&self.aside, flags).map_err(|error| self.system("write", error))?;
        let written = self.fill(File::from(file), bytes).inspect_err(|_| {
            let _ = sys::unlinkat(&self.aside_directory, &self.aside, AtFlags::empty());
        })?;
        Ok(Some(written))
    }

    fn fill(&self, mut file: File, bytes: &[u8]) -> Result<Pinned> {
        file.write_all(bytes).map_err(|error| self.system("write", error))?;
        let mode = self.change.before.as_ref().map_or(self.change.mode, |old| old.status.st_mode);
        if let Some(old) = &self.change.before {
            let (uid, gid) = (old.status.st_uid, old.status.st_gid);
            sys::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|error| self.system("change the owner of", error))?;
            copy_attributes(old, &file).map_err(|error| self.system("label", error))?;
        }
        sys::fchmod(&file, Mode::from_raw_mode(mode & 0o7777))
            .map_err(|error| self.system("change the mode of", error))?;
        file.sync_all().map_err(|error| self.system("write", error))?;
        Pinned::new(file.into()).map_err(|error| self.system("look at", error))
    }

    fn open(&self, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        sys::openat(
            &self.aside_directory,
            name,
            flags | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
    }

    fn changed(&self) -> NodeError {
        NodeError::Changed { path: self.shown.clone(), left: Vec::new() }
    }

    fn system(&self, doing: &'static str, error: impl Into<io::Error>) -> NodeError {
        NodeError::system(doing, &self.shown, error)
    }
}

fn exchange_or_remove(is_exchange: bool) -> RenameFlags {
    if is_exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE }
}

/// Where what lies beside a file is.
fn aside_of(root: &Root, change: &Change, directory: &OwnedFd) -> Result<(OwnedFd, PathBuf)> {
    let (parent, _) = Root::split(&change.path)?;
    let fault = |error: Errno| NodeError::system("look at", &root.shown(parent), error);
    let above = parent.parent().filter(|_| change.is_aside_above).unwrap_or(parent);
    let gone = || NodeError::Changed { path: root.shown(above), left: Vec::new() };
    let aside = root.trusted_directory(above)?.ok_or_else(gone)?;
    let mount = |directory: &OwnedFd| {
        let status = sys::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        Ok((status.stx_mnt_id, status.stx_dev_major, status.stx_dev_minor))
    };
    if mount(directory).map_err(fault)? != mount(&aside).map_err(fault)? {
        let reason = format!("it is mounted apart from {}", root.shown(above).display());
        let fix = "name a file that lies elsewhere with --config";
        return Err(NodeError::refused(&root.shown(parent), reason, fix));
    }
    Ok((aside, root.shown(above)))
}

fn prepare_directory(root: &Root, path: &Path, made: &mut Vec<PathBuf>) -> Result<OwnedFd> {
    if let Some(directory) = root.trusted_directory(path)? {
        return Ok(directory);
    }
    for directory in root.missing(path) {
        // What somebody else has made meanwhile is not ours to remove.
        if root.make_directory(&directory)? {
            made.push(directory);
        }
    }
    let gone = || NodeError::Changed { path: root.shown(path), left: Vec::new() };
    root.trusted_directory(path)?.ok_or_else(gone)
}

/// A name that no engine takes for a file of its configuration: it is hidden, and ends in no extension of theirs.
fn unused_name(directory: impl AsFd, name: &OsStr, shown: &Path) -> Result<OsString> {
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| NodeError::system("choose a name beside", shown, error))?;
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(format!(".kontain-{:016x}", u64::from_ne_bytes(random)));
    match sys::statat(directory, &aside, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(aside),
        Ok(_) => Err(NodeError::Changed { path: shown.to_owned(), left: Vec::new() }),
        Err(error) => Err(NodeError::system("look beside", shown, error)),
    }
}

/// Gives a new file the old one's extended attributes: labels and access control lists. File systems without any are
/// none the worse.
fn copy_attributes(old: &Found, new: &File) -> rustix::io::Result<()> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match sys::flistxattr(&old.file, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let length = sys::fgetxattr(&old.file, name, &mut value)?;
        match sys::fsetxattr(new, name, &value[..length], XattrFlags::empty()) {
            // It may be the kernel's own, such as a signature of its contents.
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::{Change, Root};
    use super::Prepared;
    use crate::error::NodeError;

    /// Saves as editors do: a new file in the old one's place.
    fn save(directory: &Path, text: &str) {
        fs::write(directory.join("new"), text).unwrap();
        fs::rename(directory.join("new"), directory.join("file")).unwrap();
    }

    fn all(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut all: Vec<_> =
            entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_saved_before_and_after_the_exchange_is_kept() {
        for after in [Some(b"ours".to_vec()), None] {
            let directory = tempfile::tempdir().unwrap();
            let root = Root::open(directory.path()).unwrap();
            save(directory.path(), "read");
            let path = Path::new("/file").to_owned();
            let before = root.read(&path).unwrap();
            let change = Change { path, before, after, mode: 0o644, is_aside_above: false };
            let prepared = Prepared::new(&root, &change).unwrap();

            save(directory.path(), "first");
            prepared.put().unwrap();
            save(directory.path(), "second");
            let error = prepared.demand_read().unwrap_err();
            prepared.undo();
            let left = prepared.remove_aside(false).unwrap();

            assert!(matches!(error, NodeError::Changed { .. }), "{error}");
            assert_eq!(fs::read_to_string(directory.path().join("file")).unwrap(), "second");
            assert_eq!(fs::read_to_string(left).unwrap(), "first");
            assert_eq!(all(directory.path()), ["first", "second"]);
        }
    }

    /// File systems give a removed file's number to the next one: it is not the removed one for that.
    #[test]
    fn what_is_saved_twice_before_it_is_taken_back_is_kept() {
        for saves in 1..=4 {
            let directory = tempfile::tempdir().unwrap();
            let root = Root::open(directory.path()).unwrap();
            save(directory.path(), "read");
            let path = Path::new("/file").to_owned();
            let before = root.read(&path).unwrap();
            let after = Some(b"ours".to_vec());
            let change = Change { path, before, after, mode: 0o644, is_aside_above: false };
            let prepared = Prepared::new(&root, &change).unwrap();

            save(directory.path(), "first");
            prepared.put().unwrap();
            (0..saves).for_each(|number| save(directory.path(), &format!("later {number}")));
            prepared.demand_read().unwrap_err();
            prepared.undo();
            prepared.remove_aside(false).unwrap();

            let last = format!("later {}", saves - 1);
            assert_eq!(fs::read_to_string(directory.path().join("file")).unwrap(), last);
            assert_eq!(all(directory.path()), ["first".to_owned(), last]);
        }
    }

    #[test]
    fn what_is_written_into_our_file_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        save(directory.path(), "read");
        let path = Path::new("/file").to_owned();
        let before = root.read(&path).unwrap();
        let change = Change {
            path,
            before,
            after: Some(b"ours".to_vec()),
            mode: 0o644,
            is_aside_above: false,
        };
        let prepared = Prepared::new(&root, &change).unwrap();

        prepared.commit().unwrap();
        fs::write(directory.path().join("file"), "edited").unwrap();
        prepared.undo();
        let left = prepared.remove_aside(false).unwrap();

        assert_eq!(all(directory.path()), ["edited", "read"]);
        assert_eq!(fs::read_to_string(left).unwrap(), "edited");
    }

    #[test]
    fn a_new_file_that_is_replaced_at_once_stays_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let (path, after) = (Path::new("/file").to_owned(), Some(b"ours".to_vec()));
        let change = Change { path, before: None, after, mode: 0o644, is_aside_above: false };
        let prepared = Prepared::new(&root, &change).unwrap();

        prepared.commit().unwrap();
        save(directory.path(), "theirs");
        prepared.undo();

        assert_eq!(prepared.remove_aside(false), None);
        assert_eq!(all(directory.path()), ["theirs"]);
    }
}
