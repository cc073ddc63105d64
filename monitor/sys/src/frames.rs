//! Guest-physical pages that the monitor writes and the guest's CPU reads: page
//! tables, descriptor tables, the gate.
//!
//! The CPU reads and marks entries while we change them, so words are atomic.

use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::errno::Errno;

use crate::{
    guest_memory::PAGE,
    host_call::{self, to_u64},
};

/// Words in a page.
pub const WORDS: usize = 512;

/// So many pages of a pool the smallest of programs uses: they are brought in at once, as a fault for each takes
/// longer than the page.
const OF_ALL: usize = 20;

/// A pool of zeroed pages, numbered from 0.
#[derive(Debug)]
pub struct Frames {
    base: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the pool is plain memory that is only reached through atomic words.
unsafe impl Send for Frames {}
// SAFETY: as for `Send`.
unsafe impl Sync for Frames {}

impl Frames {
    /// Reserves `count` pages. But for the first few, memory is used when a page is first written.
    pub fn reserve(count: usize) -> Result<Self, Errno> {
        let protection = u64::from((libc::PROT_READ | libc::PROT_WRITE).cast_unsigned());
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let flags = u64::from(flags.cast_unsigned());
        let args = [0, to_u64(count) * PAGE, protection, flags, u64::MAX, 0];
        // SAFETY: a new anonymous mapping where Linux has room takes nothing away.
        let base = unsafe { host_call::raw(libc::SYS_mmap, args) }?;
        let first = to_u64(count.min(OF_ALL)) * PAGE;
        let advice = u64::from(libc::MADV_POPULATE_WRITE.cast_unsigned());
        // SAFETY: it brings in pages of this mapping, which nobody else knows. Linux before 5.14 has no such advice.
        _ = unsafe { host_call::raw(libc::SYS_madvise, [base, first, advice, 0, 0, 0]) };
        let base = usize::try_from(base).expect("x86-64 has 64-bit addresses");
        let base = NonNull::new(std::ptr::with_exposed_provenance_mut(base));
        Ok(Self { base: base.ok_or(Errno::ENOMEM)?, count })
    }

    /// The number of pages.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where the pool begins in the monitor.
    pub(crate) fn host_address(&self) -> u64 {
        to_u64(self.base.as_ptr().addr())
    }

    /// Reads word `word` of page `frame`.
    pub fn load(&self, frame: usize, word: usize) -> u64 {
        self.word(frame, word).load(Ordering::Acquire)
    }

    /// Writes word `word` of page `frame`.
    pub fn store(&self, frame: usize, word: usize, value: u64) {
        self.word(frame, word).store(value, Ordering::Release);
    }

    /// Writes `new` to a word and returns what it was.
    pub fn swap(&self, frame: usize, word: usize, new: u64) -> u64 {
        self.word(frame, word).swap(new, Ordering::AcqRel)
    }

    /// Writes `new` to a word if it is `old`. Says whether it was.
    pub fn exchange(&self, frame: usize, word: usize, old: u64, new: u64) -> bool {
        let word = self.word(frame, word);
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Copies `bytes` to the beginning of page `frame`, in whole words.
    ///
    /// # Panics
    ///
    /// If they do not fit in a page.
    pub fn store_bytes(&self, frame: usize, bytes: &[u8]) {
        for (word, piece) in bytes.chunks(8).enumerate() {
            let mut value = [0; 8];
            value[..piece.len()].copy_from_slice(piece);
            self.store(frame, word, u64::from_le_bytes(value));
        }
    }

    /// Makes page `frame` all zero.
    pub fn clear(&self, frame: usize) {
        (0..WORDS).for_each(|word| self.store(frame, word, 0));
    }

    fn word(&self, frame: usize, word: usize) -> &AtomicU64 {
        assert!(frame < self.count && word < WORDS, "word {word} of frame {frame}");
        // SAFETY: the index was just found to lie inside the pool.
        let word = unsafe { self.base.add(frame * WORDS + word) };
        // SAFETY: the pool is mapped and aligned for words until it is dropped,
        // and only atomic accesses are made to it.
        unsafe { word.as_ref() }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let args = [self.host_address(), to_u64(self.count) * PAGE, 0, 0, 0, 0];
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        _ = unsafe { host_call::raw(libc::SYS_munmap, args) };
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn bytes_land_in_words_from_the_page_start() {
        let frames = Frames::reserve(2).unwrap();

        frames.store_bytes(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);

        assert_eq!(frames.load(1, 0), 0x0807_0605_0403_0201);
        assert_eq!(frames.load(1, 1), 9);
        assert_eq!(frames.load(0, 0), 0);
    }

    #[test]
    #[should_panic(expected = "frame 2")]
    fn a_page_behind_the_pool_is_a_bug() {
        Frames::reserve(2).unwrap().load(2, 0);
    }
}
