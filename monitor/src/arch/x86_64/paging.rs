//! The guest's page tables.
//!
//! They say little: guest memory is mapped to itself in entries of 2 MiB, and
//! the *host's* page tables decide what may be read and written. What the host's
//! cannot say is "not executable", so that is said here: everything is, until
//! [`PageTables::set_executable`].
//!
//! An entry that is made more generous needs no flush. One that is made stricter
//! must be changed before the host's mapping is, whose change then makes the
//! CPU look here again.
//!
//! A *strict* table is a second root, empty at first, under which every access
//! faults and so tells its address. Where KVM shadows these tables (PVM), it keeps what
//! it made of a frame and does not see that we clear it: so a frame of a strict table is
//! used again only for the same addresses, of which it can say nothing but the truth.

use std::{collections::BTreeMap, sync::Arc};

use monitor_sys::{
    frames::Frames,
    guest_memory::{GuestSpan, PAGE},
    host_call::to_u64,
};

use super::{exceptions::Access, page_end};
use crate::layout::LOW_START;

const PRESENT: u64 = 1;
/// The page may be written.
pub const WRITABLE: u64 = 1 << 1;
/// The guest's program may use the page.
pub const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
/// The page may not be executed.
pub const NO_EXECUTE: u64 = 1 << 63;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED;
const LEAF: u64 = PRESENT | ACCESSED | DIRTY;
/// What every page of guest memory says: the host decides about writing.
const GUEST: u64 = WRITABLE | USER;
/// What one entry of a directory maps, in bytes.
pub const LARGE_PAGE: u64 = 2 << 20;

/// A table's frame.
type Frame = usize;

/// There is no frame left for another table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for another page table")]
pub struct NoFrame;

/// The tables, and the pool their frames are taken from.
#[derive(Debug)]
pub struct PageTables {
    frames: Arc<Frames>,
    physical: u64,
    unused: Frame,
    /// What strict tables gave back, by level and first address.
    freed: BTreeMap<(u32, u64), Vec<Frame>>,
    root: Frame,
}

/// The level of a root.
const ROOT: u32 = 4;

impl PageTables {
    /// Empty tables. `physical` is the guest-physical address of frame 0.
    pub fn new(frames: Arc<Frames>, physical: u64) -> Result<Self, NoFrame> {
        let mut tables = Self { frames, physical, unused: 0, freed: BTreeMap::new(), root: 0 };
        tables.root = tables.take()?;
        Ok(tables)
    }

    /// What `CR3` holds for a root.
    pub fn physical(&self, frame: Frame) -> u64 {
        let frame = u64::try_from(frame).expect("x86-64 has 64-bit addresses");
        self.physical + frame * PAGE
    }

    /// The root all CPUs use normally.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// How many of the pool's first frames have been taken.
    pub fn used(&self) -> usize {
        self.unused
    }

    /// Takes a zeroed frame from the pool.
    pub fn take(&mut self) -> Result<Frame, NoFrame> {
        if self.unused == self.frames.count() {
            // Better one that the CPU may know than none.
            return self.freed.values_mut().find_map(Vec::pop).ok_or(NoFrame);
        }
        self.unused += 1;
        Ok(self.unused - 1)
    }

    /// The same, for a strict table of `level` that holds `address`.
    fn take_strict(&mut self, level: u32, address: u64) -> Result<Frame, NoFrame> {
        let freed = self.freed.get_mut(&(level, first(address, level)));
        freed.and_then(Vec::pop).map_or_else(|| self.take(), Ok)
    }

    /// Maps one page of 4 KiB, with [`USER`], [`WRITABLE`] and [`NO_EXECUTE`] as asked.
    pub fn map_page(
        &mut self,
        root: Frame,
        address: u64,
        physical: u64,
        flags: u64,
    ) -> Result<(), NoFrame> {
        let table = self.table(root, address, 1)?;
        self.frames.store(table, index(address, 0), physical | LEAF | flags);
        Ok(())
    }

    /// Maps a frame taken from the pool in every table, and returns it.
    pub fn map_new(&mut self, address: u64, flags: u64) -> Result<Frame, NoFrame> {
        let frame = self.take()?;
        let physical = self.physical(frame);
        self.map_page(self.root, address, physical, flags)?;
        Ok(frame)
    }

    /// Maps guest memory to itself. `span` is a chunk: multiples of 2 MiB, but
    /// for the very first pages, which stay a hole.
    pub fn cover(&mut self, span: GuestSpan) -> Result<(), NoFrame> {
        let mut at = span.start();
        if at == LOW_START {
            while at < LARGE_PAGE.min(span.end()) {
                self.map_page(self.root, at, at, GUEST | NO_EXECUTE)?;
                at += PAGE;
            }
        }
        while at < span.end() {
            let table = self.table(self.root, at, 2)?;
            self.frames.store(table, index(at, 1), at | LEAF | LARGE | GUEST | NO_EXECUTE);
            at += LARGE_PAGE;
        }
        Ok(())
    }

    /// Has the first touch of the 2 MiB from `at` fault, if they are covered and nothing in them may be
    /// executed. What the CPU knows of them already it goes on using.
    pub fn watch(&mut self, at: u64) {
        if let Some(directory) = self.find(self.root, at, 2) {
            let entry = self.frames.load(directory, index(at, 1));
            if entry & (PRESENT | LARGE | NO_EXECUTE) == PRESENT | LARGE | NO_EXECUTE {
                self.frames.store(directory, index(at, 1), entry & !PRESENT);
            }
        }
    }

    /// Undoes [`PageTables::watch`]: where only the mark is missing, puts it back.
    pub fn let_through(&mut self, at: u64) {
        if let Some(directory) = self.find(self.root, at, 2) {
            let entry = self.frames.load(directory, index(at, 1));
            if entry != 0 {
                self.frames.store(directory, index(at, 1), entry | PRESENT);
            }
        }
    }

    /// Says of each page of `span`, which must be covered, whether it may be
    /// executed. Pages that are not covered are passed over.
    pub fn set_executable(&mut self, span: GuestSpan, executable: bool) -> Result<(), NoFrame> {
        let mut at = span.start();
        while at < span.end() {
            let next = (at / LARGE_PAGE + 1) * LARGE_PAGE;
            let end = next.min(page_end(span.end()));
            self.set_executable_within(at, end, executable)?;
            at = next;
        }
        Ok(())
    }

    /// The same, for pages that share an entry of 2 MiB.
    fn set_executable_within(
        &mut self,
        at: u64,
        end: u64,
        executable: bool,
    ) -> Result<(), NoFrame> {
        let Some(directory) = self.find(self.root, at, 2) else {
            return Ok(());
        };
        self.let_through(at);
        let entry = self.frames.load(directory, index(at, 1));
        if entry & PRESENT == 0 {
            return Ok(());
        }
        let flag = if executable { 0 } else { NO_EXECUTE };
        if entry & LARGE != 0 {
            if entry & NO_EXECUTE == flag {
                return Ok(());
            }
            if end - at == LARGE_PAGE {
                self.frames.store(directory, index(at, 1), entry & !NO_EXECUTE | flag);
                return Ok(());
            }
            self.split(directory, at, entry)?;
        }
        let table = self.table(self.root, at, 1)?;
        for page in (at / PAGE * PAGE..end).step_by(4096) {
            let entry = self.frames.load(table, index(page, 0));
            if entry & PRESENT != 0 {
                self.frames.store(table, index(page, 0), entry & !NO_EXECUTE | flag);
            }
        }
        Ok(())
    }

    /// Replaces an entry of 2 MiB by 512 that say the same.
    fn split(&mut self, directory: Frame, at: u64, entry: u64) -> Result<(), NoFrame> {
        let table = self.take()?;
        let first = at / LARGE_PAGE * LARGE_PAGE;
        for (word, page) in (first..first + LARGE_PAGE).step_by(4096).enumerate() {
            self.frames.store(table, word, page | LEAF | GUEST | (entry & NO_EXECUTE));
        }
        self.frames.store(directory, index(at, 1), self.physical(table) | TABLE);
        Ok(())
    }

    /// Whether the guest's program could execute at `address`, for tests and for
    /// telling a stale entry from a forbidden one.
    pub fn is_executable(&self, address: u64) -> Option<bool> {
        let directory = self.find(self.root, address, 2)?;
        let entry = self.frames.load(directory, index(address, 1));
        let leaf = if entry & PRESENT != 0 && entry & LARGE == 0 {
            self.frames.load(self.frame(entry), index(address, 0))
        } else {
            entry
        };
        (leaf & PRESENT != 0).then_some(leaf & NO_EXECUTE == 0)
    }

    /// A root under which nothing of the guest's memory is mapped, but the gate,
    /// the exceptions and the vDSO are.
    pub fn take_strict_root(&mut self, vdso: u64) -> Result<Frame, NoFrame> {
        let root = self.take_strict(ROOT, 0)?;
        let kernel = self.frames.load(self.root, index(u64::MAX, 3));
        self.frames.store(root, index(u64::MAX, 3), kernel);
        if let Some(directories) = self.find(self.root, vdso, 3) {
            let entry = self.frames.load(directories, index(vdso, 2));
            let copy = self.table(root, vdso, 3)?;
            self.frames.store(copy, index(vdso, 2), entry);
        }
        Ok(root)
    }

    /// Lets the page at `address` through, under a strict root. To be written, a
    /// page has to be asked for again.
    pub fn admit(&mut self, root: Frame, address: u64, access: Access) -> Result<(), NoFrame> {
        let page = address / PAGE * PAGE;
        let writable = if access == Access::Write { WRITABLE } else { 0 };
        self.map_page(root, page, page, USER | writable)
    }

    /// Gives a strict root and its tables back.
    pub fn free_strict_root(&mut self, root: Frame, vdso: u64) {
        let kept =
            self.find(self.root, vdso, 3).map(|table| self.frames.load(table, index(vdso, 2)));
        let directories = self.frames.load(root, 0);
        if directories & PRESENT != 0 {
            let directories = self.frame(directories);
            for word in 0..512 {
                let entry = self.frames.load(directories, word);
                if entry & PRESENT != 0 && Some(entry) != kept {
                    self.free_directory(self.frame(entry), to_u64(word) << 30);
                }
            }
            self.free(directories, 3, 0);
        }
        self.free(root, ROOT, 0);
    }

    fn free_directory(&mut self, directory: Frame, at: u64) {
        for word in 0..512 {
            let entry = self.frames.load(directory, word);
            if entry & PRESENT != 0 {
                self.free(self.frame(entry), 1, at + (to_u64(word) << 21));
            }
        }
        self.free(directory, 2, at);
    }

    fn free(&mut self, frame: Frame, level: u32, at: u64) {
        self.frames.clear(frame);
        self.freed.entry((level, at)).or_default().push(frame);
    }

    /// The table of `level` (1: of pages, 2: of 2 MiB, 3: of 1 GiB) that holds
    /// `address`, made where it is missing.
    fn table(&mut self, root: Frame, address: u64, level: u32) -> Result<Frame, NoFrame> {
        let mut table = root;
        for above in (level..4).rev() {
            let word = index(address, above);
            let entry = self.frames.load(table, word);
            table = if entry & PRESENT == 0 {
                let new = if root == self.root {
                    self.take()?
                } else {
                    self.take_strict(above, address)?
                };
                self.frames.store(table, word, self.physical(new) | TABLE);
                new
            } else {
                self.frame(entry)
            };
        }
        Ok(table)
    }

    /// The same, if it exists.
    fn find(&self, root: Frame, address: u64, level: u32) -> Option<Frame> {
        let mut table = root;
        for above in (level..4).rev() {
            let entry = self.frames.load(table, index(address, above));
            if entry & PRESENT == 0 {
                return None;
            }
            table = self.frame(entry);
        }
        Some(table)
    }

    fn frame(&self, entry: u64) -> Frame {
        usize::try_from(((entry & ADDRESS) - self.physical) / PAGE).expect("64-bit addresses")
    }
}

/// The first address that the table of `level` holds which holds `address`.
fn first(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * level) << (12 + 9 * level)
}

/// The entry for `address` in a table whose entries span `512^level` pages.
fn index(address: u64, level: u32) -> usize {
    usize::try_from(address >> (12 + 9 * level) & 511).expect("nine bits")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use monitor_sys::{frames::Frames, guest_memory::GuestSpan};

    use super::{Access, NoFrame, PageTables};
    use crate::layout::{CHUNK, HIGH_START, LOW_START, TABLES_PHYSICAL, VDSO};

    fn tables(frames: usize) -> PageTables {
        let frames = Arc::new(Frames::reserve(frames).unwrap());
        PageTables::new(frames, TABLES_PHYSICAL).unwrap()
    }

    fn span(start: u64, len: u64) -> GuestSpan {
        GuestSpan::new(start, len).unwrap()
    }

    #[test]
    fn covered_memory_is_not_executable_at_first() {
        let mut tables = tables(64);

        tables.cover(span(HIGH_START, CHUNK)).unwrap();

        assert_eq!(tables.is_executable(HIGH_START + CHUNK - 1), Some(false));
        assert_eq!(tables.is_executable(HIGH_START + CHUNK), None);
    }

    #[test]
    fn the_null_page_stays_a_hole() {
        let mut tables = tables(64);

        tables.cover(span(LOW_START, CHUNK - LOW_START)).unwrap();

        assert_eq!(tables.is_executable(0), None);
        assert_eq!(tables.is_executable(LOW_START - 1), None);
        assert_eq!(tables.is_executable(LOW_START), Some(false));
    }

    #[test]
    fn just_the_named_pages_become_executable_and_stop_being_so() {
        let mut tables = tables(64);
        tables.cover(span(HIGH_START, CHUNK)).unwrap();
        let code = span(HIGH_START + 0x1f_f000, 0x40_3000);

        tables.set_executable(code, true).unwrap();

        let at = |offset| tables.is_executable(HIGH_START + offset);
        assert_eq!([at(0x1f_e000), at(0x1f_f000)], [Some(false), Some(true)]);
        assert_eq!([at(0x60_1fff), at(0x60_2000)], [Some(true), Some(false)]);
        tables.set_executable(code, false).unwrap();
        assert_eq!(tables.is_executable(HIGH_START + 0x40_0000), Some(false));
    }

    #[test]
    fn watched_memory_is_missing_until_it_is_let_through() {
        let mut tables = tables(64);
        tables.cover(span(HIGH_START, CHUNK)).unwrap();
        let large = 2 << 20;

        for at in [HIGH_START + large, HIGH_START + CHUNK] {
            tables.watch(at);
        }

        let seen = |tables: &PageTables| {
            [0, large, 2 * large, CHUNK].map(|offset| tables.is_executable(HIGH_START + offset))
        };
        assert_eq!(seen(&tables), [Some(false), None, Some(false), None]);
        for at in [HIGH_START + large, HIGH_START + CHUNK] {
            tables.let_through(at);
        }
        assert_eq!(seen(&tables), [Some(false), Some(false), Some(false), None]);
    }

    #[test]
    fn code_is_not_watched_and_what_becomes_code_is_let_through() {
        let mut tables = tables(64);
        tables.cover(span(HIGH_START, CHUNK)).unwrap();

        tables.watch(HIGH_START);
        tables.set_executable(span(HIGH_START, 4096), true).unwrap();
        tables.watch(HIGH_START);

        assert_eq!(tables.is_executable(HIGH_START), Some(true));
        assert_eq!(tables.is_executable(HIGH_START + 4096), Some(false));
    }

    #[test]
    fn a_strict_root_gives_all_its_frames_back() {
        let mut tables = tables(64);
        tables.cover(span(HIGH_START, CHUNK)).unwrap();
        tables.map_page(tables.root(), VDSO, VDSO, 0).unwrap();
        let used = |tables: &PageTables| {
            tables.unused - tables.freed.values().map(Vec::len).sum::<usize>()
        };
        let before = used(&tables);

        let root = tables.take_strict_root(VDSO).unwrap();
        tables.admit(root, HIGH_START + 5, Access::Read).unwrap();
        tables.admit(root, LOW_START, Access::Write).unwrap();
        tables.free_strict_root(root, VDSO);

        assert_eq!(used(&tables), before);
    }

    /// What a frame was used for may still be known to the CPU.
    #[test]
    fn a_strict_table_is_used_again_for_the_same_addresses_only() {
        let mut tables = tables(64);
        let mut table_of = |addresses: [u64; 2]| {
            let root = tables.take_strict_root(VDSO).unwrap();
            for address in addresses {
                tables.admit(root, address, Access::Read).unwrap();
            }
            let found = addresses.map(|address| tables.find(root, address, 1).unwrap());
            tables.free_strict_root(root, VDSO);
            found
        };
        let (near, far) = (HIGH_START, HIGH_START + (5 << 30));

        let [one, other] = table_of([near, far]);

        assert_eq!(table_of([far + 4096, near + 4096]), [other, one]);
        let [third, again] = table_of([near + (2 << 20), near]);
        assert!(third != one && third != other && again == one);
        let normal = tables.take().unwrap();
        assert!(![one, other, third].contains(&normal));
    }

    #[test]
    fn an_empty_pool_is_an_error_and_no_panic() {
        let mut tables = tables(2);

        assert_eq!(tables.cover(span(HIGH_START, CHUNK)), Err(NoFrame));
    }
}
