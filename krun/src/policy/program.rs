//! The hash of a container's program. It says what will run only where the program is a static one:
//! a dynamic one loads libraries, and a script a shell, that the image could have changed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use elf::abi::PT_INTERP;
use elf::endian::LittleEndian;
use elf::{ElfStream, ParseError};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use sha2::{Digest, Sha256};

/// Programs of pause containers and agents have at most some hundred megabytes.
const LARGEST: u64 = 1 << 30;

/// The SHA-256 of `program`, an absolute path in the root file system, or why there is none.
pub(super) fn hash(rootfs: &Path, program: &str) -> Result<String, String> {
    if !program.starts_with('/') {
        return Err(format!("{program:?} is no absolute path"));
    }
    let fault = |error: &dyn std::fmt::Display| format!("{program}: {error}");
    let file = open_in(rootfs, program).map_err(|error| fault(&error))?;
    if !file.metadata().is_ok_and(|status| status.is_file() && status.len() <= LARGEST) {
        return Err(fault(&"not a file, or one of more than 1 GiB"));
    }
    let mut bytes = Vec::new();
    (&file).take(LARGEST).read_to_end(&mut bytes).map_err(|error| fault(&error))?;
    demand_static(&bytes).map_err(|error| fault(&error))?;
    Ok(Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Opens it as the container will see it: links lead nowhere but inside.
fn open_in(rootfs: &Path, program: &str) -> io::Result<File> {
    let directory = File::open(rootfs)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(directory, program, flags, Mode::empty(), resolve)?.into())
}

fn demand_static(bytes: &[u8]) -> Result<(), String> {
    let file = ElfStream::<LittleEndian, _>::open_stream(io::Cursor::new(bytes));
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
    fn links_lead_nowhere_but_inside() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(root.path().join("pause"), program()).unwrap();
        fs::write(outside.path().join("pause"), program()).unwrap();
        symlink("/pause", root.path().join("inside")).unwrap();
        symlink(outside.path().join("pause"), root.path().join("outside")).unwrap();

        let expected = hash(root.path(), "/pause").unwrap();
        assert_eq!(expected.len(), 64);
        assert_eq!(hash(root.path(), "/inside").unwrap(), expected);
        assert_eq!(hash(root.path(), "/../pause").unwrap(), expected);
        assert!(hash(root.path(), "/outside").unwrap_err().contains("No such file"));
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
        let fault = hash("/".as_ref(), "/bin/true").unwrap_err();
        assert!(fault.contains("it is dynamic"), "{fault}");
    }
}
