//! The hash of a container's program. It says what will run only where the program is a static one:
//! a dynamic one loads libraries, and a script a shell, that the image could have changed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use elf::abi::PT_INTERP;
use elf::endian::LittleEndian;
use elf::{ElfStream, ParseError};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// Programs of pause containers and agents have at most some hundred megabytes; it is read at every
/// start.
const LARGEST: u64 = 256 << 20;

/// How a program is looked up: by a path without symbolic links, in the root file system itself. In the
/// container this is the file that will run, whatever the image and its volumes are like.
const PLAIN_PATH: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// The SHA-256 of `program`, an absolute path in the root file system, or why there is none.
pub fn hash(rootfs: &Path, program: &str) -> Result<String, String> {
    if !program.starts_with('/') {
        return Err(format!("{program:?} is no absolute path"));
    }
    let fault = |error: &dyn std::fmt::Display| format!("{program}: {error}");
    let mut file = open_in(rootfs, program).map_err(|errno| fault(&words(errno)))?;
    if !file.metadata().is_ok_and(|status| status.is_file() && status.len() <= LARGEST) {
        return Err(fault(&"not a file, or one of more than 256 MiB"));
    }
    demand_static(&file).map_err(|error| fault(&error))?;
    file.rewind().map_err(|error| fault(&error))?;
    let mut sum = Sha256::new();
    io::copy(&mut file.take(LARGEST), &mut sum).map_err(|error| fault(&error))?;
    Ok(sum.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn open_in(rootfs: &Path, program: &str) -> Result<File, Errno> {
    let directory = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let directory = open(rootfs, directory, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(openat2(directory, program, flags, Mode::empty(), PLAIN_PATH)?.into())
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::LOOP => "there is a symbolic link in the path".to_owned(),
        Errno::XDEV => "it is in a mount".to_owned(),
        errno => nix::errno::Errno::from_raw(errno.raw_os_error()).desc().to_owned(),
    }
}

fn demand_static(file: &File) -> Result<(), String> {
    let file = ElfStream::<LittleEndian, _>::open_stream(file);
    let file = file.map_err(|error: ParseError| format!("no program in itself ({error})"))?;
    if file.segments().iter().any(|segment| segment.p_type == PT_INTERP) {
        return Err("it is dynamic, so its hash does not say what runs".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::hash;

    /// An ELF header without anything behind it.
    fn program() -> Vec<u8> {
        let mut header = vec![0_u8; 64];
        header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        header[16] = 2; // ET_EXEC
        header[18] = 62; // EM_X86_64
        header[20] = 1;
        header[52] = 64;
        header[54] = 56;
        header[58] = 64;
        header
    }

    #[test]
    fn a_path_with_a_link_has_no_hash() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        fs::write(root.path().join("bin/pause"), program()).unwrap();
        symlink("/bin/pause", root.path().join("link")).unwrap();
        symlink("bin", root.path().join("sbin")).unwrap();

        let expected = hash(root.path(), "/bin/pause").unwrap();
        assert_eq!(expected.len(), 64);
        assert_eq!(hash(root.path(), "/../bin/pause").unwrap(), expected, "it is its own parent");
        for path in ["/link", "/sbin/pause"] {
            assert!(hash(root.path(), path).unwrap_err().contains("symbolic link"), "{path}");
        }
        assert!(hash("/".as_ref(), "/proc/version").unwrap_err().contains("in a mount"));
    }

    #[test]
    fn what_does_not_say_what_runs_has_no_hash() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("script"), "#!/bin/sh\n").unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();

        for (name, expected) in [
            ("script", "no absolute path"),
            ("/script", "no program in itself"),
            ("/folder", "not a file"),
            ("/nosuch", "No such file"),
        ] {
            let fault = hash(root.path(), name).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
        fs::copy("/bin/true", root.path().join("dynamic")).unwrap();
        let fault = hash(root.path(), "/dynamic").unwrap_err();
        assert!(fault.contains("it is dynamic"), "{fault}");
    }
}
