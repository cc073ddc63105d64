//! A tar archive, packed by gzip, of bytes that are in memory: plain files of root's and nothing else.

use std::fs::File;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Archive {
    packed: GzEncoder<File>,
    time: u64,
}

impl Archive {
    /// One whose files are of this time, in seconds.
    pub(super) fn new(file: File, time: u64) -> Self {
        Self { packed: GzEncoder::new(file, Compression::default()), time }
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.packed.write_all(&header(name, bytes.len(), self.time)?)?;
        self.packed.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.packed.write_all(&[0; BLOCK][..rest])
    }

    /// Ends it, and has it on the disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.packed.write_all(&[0; 2 * BLOCK])?;
        self.packed.finish()?.sync_all()
    }
}

/// As POSIX has it (ustar): texts, numbers in octal, and a sum of all bytes, in which the sum itself counts as blanks.
fn header(name: &str, length: usize, time: u64) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let (prefix, name) = split(name)
        .ok_or_else(|| io::Error::other(format!("{name}: too long a name for an archive")))?;
    put(&mut block, 0, name);
    put(&mut block, 100, "0000600");
    put(&mut block, 108, "0000000");
    put(&mut block, 116, "0000000");
    put(&mut block, 124, &format!("{length:011o}"));
    put(&mut block, 136, &format!("{time:011o}"));
    put(&mut block, 148, "        0");
    put(&mut block, 257, "ustar\0");
    put(&mut block, 263, "00");
    put(&mut block, 265, "root");
    put(&mut block, 297, "root");
    put(&mut block, 345, prefix);
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    put(&mut block, 148, &format!("{sum:06o}\0 "));
    Ok(block)
}

/// Whether a file can have this name.
pub(super) fn has_room_for(name: &str) -> bool {
    split(name).is_some()
}

/// A long name is two: up to 155 bytes, and up to 100, with a slash between them.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= 100 {
        return Some(("", name));
    }
    let start = name.len() - 101;
    let slash = name.as_bytes()[start..].iter().position(|&byte| byte == b'/')? + start;
    (slash <= 155).then(|| (&name[..slash], &name[slash + 1..]))
}

fn put(block: &mut [u8; BLOCK], at: usize, text: &str) {
    block[at..at + text.len()].copy_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn long_names_are_split_at_a_slash() {
        let (long, short) = ("a".repeat(90), "b".repeat(80));

        assert_eq!(split("a/b"), Some(("", "a/b")));
        assert_eq!(split(&format!("{long}/{short}")), Some((&*long, &*short)));
        assert_eq!(split(&"c".repeat(101)), None);
        assert_eq!(split(&format!("{0}/{0}/{0}", "d".repeat(99))), None);
    }
}
