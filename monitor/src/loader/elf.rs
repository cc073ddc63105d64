//! Reads an ELF file's headers, and believes nothing in them.

use std::{
    fs::File,
    io,
    os::unix::{ffi::OsStringExt, fs::FileExt},
    path::PathBuf,
};

use elf::{
    abi,
    endian::LittleEndian,
    file::{Class, FileHeader, parse_ident},
    segment::{ProgramHeader, SegmentTable},
};
use monitor_sys::guest_memory::{GUEST_END, PAGE};

use super::LoadError;
use crate::memory::Protection;

/// `sizeof(Elf64_Ehdr)`.
const HEADER_LEN: usize = 64;
/// `sizeof(Elf64_Phdr)`.
const ENTRY_LEN: u16 = 56;
/// Linux reads at most this much of program headers.
const HEADERS_MAX: usize = 65536;
/// `PATH_MAX`.
const PATH_MAX: u64 = 4096;

/// What an ELF file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Whether it can go anywhere (`ET_DYN`).
    pub relocatable: bool,
    /// The first instruction, before relocation.
    pub entry: u64,
    /// The segments, in the file's order. Where they overlap the later one counts, as
    /// on Linux.
    pub segments: Vec<Segment>,
    /// The interpreter it names.
    pub interpreter: Option<PathBuf>,
    /// Where its program headers will lie, before relocation.
    pub headers: u64,
    /// How many there are.
    pub header_count: u16,
    /// Whether the stack shall be executable (`PT_GNU_STACK`).
    pub executable_stack: bool,
}

/// A segment to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins, before relocation.
    pub address: u64,
    /// How long it is in memory.
    pub memory_len: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is in the file.
    pub file_len: u64,
    /// What may be done with it.
    pub protection: Protection,
    /// What its address shall be a multiple of.
    pub alignment: u64,
}

fn format(reason: &'static str) -> LoadError {
    LoadError::Format { reason }
}

/// Reads the headers of a 64-bit x86 program.
pub fn read(file: &File) -> Result<Program, LoadError> {
    let mut bytes = [0; HEADER_LEN];
    read_all(file, &mut bytes, 0).map_err(|_| format("the file is too short for an ELF header"))?;
    let header = header(&bytes)?;
    let table = header_table(file, &header)?;
    let entries = SegmentTable::new(LittleEndian, Class::ELF64, &table);
    let mut program = Program {
        relocatable: header.e_type == abi::ET_DYN,
        entry: header.e_entry,
        segments: Vec::new(),
        interpreter: None,
        headers: 0,
        header_count: header.e_phnum,
        executable_stack: false,
    };
    for entry in entries.iter() {
        match entry.p_type {
            abi::PT_LOAD => program.segments.push(segment(&entry)?),
            abi::PT_INTERP if program.interpreter.is_none() => {
                program.interpreter = Some(interpreter(file, &entry)?);
            }
            abi::PT_GNU_STACK => program.executable_stack = entry.p_flags & abi::PF_X != 0,
            _ => {}
        }
    }
    program.segments.retain(|segment| segment.memory_len != 0);
    if program.segments.is_empty() {
        return Err(format("nothing to load"));
    }
    program.headers = headers_address(&program.segments, header.e_phoff);
    Ok(program)
}

fn header(bytes: &[u8; HEADER_LEN]) -> Result<FileHeader<LittleEndian>, LoadError> {
    if bytes[..4] != abi::ELFMAGIC {
        return Err(format("not an ELF file"));
    }
    let ident = parse_ident::<LittleEndian>(bytes);
    let ident = ident.map_err(|_| format("not a little-endian ELF file"))?;
    if ident.1 != Class::ELF64 {
        return Err(format("a 32-bit program"));
    }
    let header = FileHeader::parse_tail(ident, &bytes[abi::EI_NIDENT..]);
    let header = header.map_err(|_| format("a damaged ELF header"))?;
    if header.e_machine != abi::EM_X86_64 {
        return Err(format("a program for another processor"));
    }
    if header.e_type != abi::ET_EXEC && header.e_type != abi::ET_DYN {
        return Err(format("an ELF file that is no program"));
    }
    Ok(header)
}

fn header_table(file: &File, header: &FileHeader<LittleEndian>) -> Result<Vec<u8>, LoadError> {
    if header.e_phentsize != ENTRY_LEN {
        return Err(format("program headers of an unknown size"));
    }
    let len = usize::from(header.e_phnum) * usize::from(ENTRY_LEN);
    if len == 0 || len > HEADERS_MAX {
        return Err(format("no program headers, or too many"));
    }
    let mut table = vec![0; len];
    let read = read_all(file, &mut table, header.e_phoff);
    read.map_err(|_| format("the file ends before its program headers"))?;
    Ok(table)
}

fn segment(entry: &ProgramHeader) -> Result<Segment, LoadError> {
    let end = entry.p_vaddr.checked_add(entry.p_memsz);
    if entry.p_filesz > entry.p_memsz {
        return Err(format("a segment is longer in the file than in memory"));
    }
    if end.is_none_or(|end| end > GUEST_END) {
        return Err(format("a segment lies outside the address space"));
    }
    if entry.p_offset.checked_add(entry.p_filesz).is_none_or(|end| end > u64::MAX / 2) {
        return Err(format("a segment lies outside the file"));
    }
    if entry.p_vaddr % PAGE != entry.p_offset % PAGE {
        return Err(format("a segment is not aligned to pages"));
    }
    let alignment = entry.p_align.max(PAGE);
    Ok(Segment {
        address: entry.p_vaddr,
        memory_len: entry.p_memsz,
        offset: entry.p_offset,
        file_len: entry.p_filesz,
        protection: protection(entry.p_flags),
        // Linux ignores an alignment that is not a power of two.
        alignment: if alignment.is_power_of_two() && alignment < GUEST_END {
            alignment
        } else {
            PAGE
        },
    })
}

fn protection(flags: u32) -> Protection {
    let bits = [(abi::PF_R, 1), (abi::PF_W, 2), (abi::PF_X, 4)];
    Protection(bits.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, bit)| bit).sum())
}

fn interpreter(file: &File, entry: &ProgramHeader) -> Result<PathBuf, LoadError> {
    let bad = || format("the interpreter's name is damaged");
    if !(2..=PATH_MAX).contains(&entry.p_filesz) {
        return Err(bad());
    }
    let mut name = vec![0; usize::try_from(entry.p_filesz).map_err(|_| bad())?];
    read_all(file, &mut name, entry.p_offset).map_err(|_| bad())?;
    if name.pop() != Some(0) {
        return Err(bad());
    }
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    Ok(PathBuf::from(std::ffi::OsString::from_vec(name)))
}

/// Where the program headers lie in memory: in the segment that holds their
/// offset, else as if the first segment began with the file, as Linux guesses.
fn headers_address(segments: &[Segment], offset: u64) -> u64 {
    let holds = |s: &&Segment| (s.offset..s.offset.saturating_add(s.file_len)).contains(&offset);
    let holder = segments.iter().find(holds).or(segments.first());
    holder.map_or(0, |s| s.address.wrapping_sub(s.offset).wrapping_add(offset))
}

fn read_all(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use proptest::prelude::{any, proptest};

    use super::{Program, read};
    use crate::loader::LoadError;

    /// A valid file: header, one entry for a segment with everything in it.
    fn small_program() -> Vec<u8> {
        let mut bytes = vec![0_u8; 120];
        bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        let words: [(usize, &[u8]); 13] = [
            (16, &2_u16.to_le_bytes()),
            (18, &62_u16.to_le_bytes()),
            (20, &1_u32.to_le_bytes()),
            (24, &0x40_0078_u64.to_le_bytes()),
            (32, &64_u64.to_le_bytes()),
            (52, &64_u16.to_le_bytes()),
            (54, &56_u16.to_le_bytes()),
            (56, &1_u16.to_le_bytes()),
            (64, &1_u32.to_le_bytes()),
            (68, &5_u32.to_le_bytes()),
            (80, &0x40_0000_u64.to_le_bytes()),
            (96, &120_u64.to_le_bytes()),
            (104, &120_u64.to_le_bytes()),
        ];
        for (at, value) in words {
            bytes[at..at + value.len()].copy_from_slice(value);
        }
        bytes
    }

    fn read_bytes(bytes: &[u8]) -> Result<Program, LoadError> {
        let mut file = tempfile();
        file.write_all(bytes).unwrap();
        read(&file)
    }

    fn tempfile() -> File {
        let memory = rustix::fs::memfd_create("elf", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        File::from(memory)
    }

    fn with(at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = small_program();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }

    #[test]
    fn a_small_program_is_read() {
        let program = read_bytes(&small_program()).unwrap();

        assert_eq!((program.entry, program.headers), (0x40_0078, 0x40_0040));
        assert_eq!(program.segments.len(), 1);
        assert!(program.segments[0].protection.executes());
    }

    #[test]
    fn every_truncated_program_is_a_format_error() {
        let bytes = small_program();
        for len in 0..bytes.len() {
            let result = read_bytes(&bytes[..len]);

            assert!(matches!(result, Err(LoadError::Format { .. })), "{len} bytes: {result:?}");
        }
    }

    #[test]
    fn each_damage_is_named() {
        let cases: [(usize, &[u8], &str); 12] = [
            (0, b"#", "not an ELF file"),
            (4, &[1], "a 32-bit program"),
            (5, &[2], "not a little-endian ELF file"),
            (16, &[1], "an ELF file that is no program"),
            (18, &[183], "a program for another processor"),
            (54, &[32], "program headers of an unknown size"),
            (56, &[0], "no program headers, or too many"),
            (56, &[0xff, 0xff], "no program headers, or too many"),
            (32, &[0xff; 8], "the file ends before its program headers"),
            (64, &[0], "nothing to load"),
            (80, &[0xff; 8], "a segment lies outside the address space"),
            (104, &[1, 0], "a segment is longer in the file than in memory"),
        ];
        for (at, value, expected) in cases {
            let error = read_bytes(&with(at, value)).unwrap_err();

            assert_eq!(error.to_string(), format!("exec format error: {expected}"));
        }
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_makes_it_panic(changes: Vec<(u8, u8)>) {
            let mut bytes = small_program();
            for (at, value) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            let _any_answer = read_bytes(&bytes);
        }

        #[test]
        fn no_header_makes_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut bytes = small_program();
            bytes.truncate(24);
            bytes.extend(tail);
            let _any_answer = read_bytes(&bytes);
        }
    }
}
