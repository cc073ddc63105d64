//! Programs that cannot be run, and files made to break a loader, given to `km` directly.
//!
//! What Linux refuses `km` refuses, as a shell does: 127 where something is not there, else 126,
//! and one line that names the program. What Linux begins and then kills may end either way.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::{End, Outcome};
use tempfile::TempDir;

/// Asks Linux, without a shell's or a library's second thoughts. Prints errno where it refuses.
const EXEC: &str = "import os, sys\n\
                    try: os.execv(sys.argv[1], sys.argv[1:])\n\
                    except OSError as error: print('errno', error.errno, end='')";

const ENOENT: i32 = 2;

/// How a panic ends a program that does not unwind.
const SIGABRT: i32 = 6;

/// Fields of the ELF header and of the first program header.
const E_TYPE: Range<usize> = 16..18;
const E_MACHINE: Range<usize> = 18..20;
const E_ENTRY: Range<usize> = 24..32;
const E_PHOFF: Range<usize> = 32..40;
const E_PHENTSIZE: Range<usize> = 54..56;
const E_PHNUM: Range<usize> = 56..58;
const P_TYPE: Range<usize> = 64..68;
const P_OFFSET: Range<usize> = 72..80;
const P_VADDR: Range<usize> = 80..88;
const P_FILESZ: Range<usize> = 96..104;
const P_MEMSZ: Range<usize> = 104..112;
const P_ALIGN: Range<usize> = 112..120;

/// Where a guest's memory lies.
const GUEST_ADDRESSES: Range<u64> = 0x1_0000..1 << 39;

/// A directory for one program.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn write(&self, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join("program");
        fs::write(&path, bytes).expect("the program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode be set");
        path
    }
}

/// What Linux makes of a program.
enum Verdict {
    Refused { errno: i32 },
    Ran(End),
}

fn ask_linux(program: &Path) -> Verdict {
    let native = Case::new(["/usr/bin/python3", "-c", EXEC]).arg(program).run_natively();
    let native = native.expect("python can be run");
    let errno = native.stdout().strip_prefix("errno ").and_then(|errno| errno.parse().ok());
    errno.map_or(Verdict::Ran(native.end), |errno| Verdict::Refused { errno })
}

#[track_caller]
fn assert_says_so(program: &Path, errno: i32, km: &Outcome) {
    let status = if errno == ENOENT { 127 } else { 126 };
    assert_eq!(km.end, End::Exited(status), "errno {errno}: {km:?}");
    assert!(km.stderr().contains(&*program.to_string_lossy()), "errno {errno}: {km:?}");
    assert!(!km.stderr().contains("panicked") && km.stdout.is_empty(), "{km:?}");
}

/// Linux must refuse it, and `km` too.
#[track_caller]
fn assert_refused(program: &Path) {
    let km = Case::program(program).run_under_km().expect("km can be started");
    match ask_linux(program) {
        Verdict::Refused { errno } => assert_says_so(program, errno, &km),
        Verdict::Ran(end) => panic!("Linux runs {}: {end:?}", program.display()),
    }
}

/// Where Linux refuses it, or runs it to its end, `km` must. In any case it must end by itself.
#[track_caller]
fn assert_survived(elf: &[u8], what: &str) {
    let place = Place::new();
    let program = place.write(elf, 0o755);
    let km = Case::program(&program).run_under_km().expect("km can be started");
    assert!(!km.stderr().contains("panicked"), "{what}: {km:?}");
    match ask_linux(&program) {
        Verdict::Refused { errno } => assert_says_so(&program, errno, &km),
        Verdict::Ran(End::Exited(status)) => assert_eq!(km.end, End::Exited(status), "{what}"),
        Verdict::Ran(End::Killed(_)) => assert_ne!(km.end, End::Killed(SIGABRT), "{what}: {km:?}"),
    }
}

/// A program for addresses that a guest has not. Linux lets root map the first pages, and
/// all of 128 TiB, so it may run there.
fn assert_refused_in_words(elf: &[u8], what: &str) {
    let place = Place::new();
    let km = Case::program(&place.write(elf, 0o755)).run_under_km().expect("km can be started");

    assert_eq!(km.end, End::Exited(126), "{what}: {km:?}");
    assert!(km.stderr().starts_with("km: ") && !km.stderr().contains("panicked"), "{what}: {km:?}");
}

fn good_elf() -> Vec<u8> {
    let auxv = guests::c("auxv.c", Link::MuslStatic).expect("the guest compiles");
    fs::read(auxv).expect("the guest can be read")
}

#[test]
fn a_program_that_is_not_there_is_127() {
    assert_refused(Path::new("/no/such/program"));
}

#[test]
fn a_directory_a_device_and_a_loop_are_126() {
    let place = Place::new();
    let looping = place.0.path().join("loop");
    symlink(&looping, &looping).unwrap();

    for path in [Path::new("/usr"), Path::new("/dev/null"), &looping] {
        assert_refused(path);
    }
}

#[test]
fn a_program_without_permission_is_126() {
    assert_refused(&Place::new().write(&good_elf(), 0o644));
}

#[test]
fn a_file_that_is_no_program_is_126() {
    for bytes in [&b""[..], b"text", b"#!", b"#!\n", b"\x7fELF", &[0; 4096], &[0xff; 64]] {
        assert_refused(&Place::new().write(bytes, 0o755));
    }
}

#[test]
fn a_script_whose_interpreter_is_missing_is_127() {
    assert_refused(&Place::new().write(b"#!/no/such/interpreter\n", 0o755));
}

#[test]
fn a_script_that_is_its_own_interpreter_is_126() {
    let place = Place::new();
    let path = place.write(b"", 0o755);

    assert_refused(&place.write(format!("#!{}\n", path.display()).as_bytes(), 0o755));
}

#[test]
fn a_program_whose_loader_is_missing_is_127() {
    let mut elf = fs::read("/bin/true").unwrap();
    let loader = b"/lib64/ld-linux";
    let at = elf.windows(loader.len()).position(|bytes| bytes == loader).unwrap();
    elf[at + 1] = b'X';

    assert_refused(&Place::new().write(&elf, 0o755));
}

#[test]
fn a_program_of_another_kind_of_machine_is_126() {
    for (field, value) in [(E_MACHINE, 183), (E_MACHINE, 3), (E_TYPE, 4), (E_TYPE, 1)] {
        let mut elf = good_elf();
        elf[field].copy_from_slice(&u16::to_le_bytes(value));

        assert_refused(&Place::new().write(&elf, 0o755));
    }
}

#[test]
fn a_truncated_program_ends_by_itself() {
    let elf = good_elf();
    for length in [1, 4, 16, 52, 63, 64, 65, 100, 120, 176, 1000, 4096, elf.len() / 2] {
        assert_survived(&elf[..length], &format!("{length} bytes"));
    }
}

#[test]
fn a_header_made_to_break_the_loader_ends_by_itself() {
    let wide = [E_ENTRY, E_PHOFF, P_OFFSET, P_VADDR, P_FILESZ, P_MEMSZ, P_ALIGN];
    let values =
        [0, 1, 3, 0xfff, 1 << 12, 1 << 31, 1 << 39, 1 << 47, 1 << 63, u64::MAX - 0xfff, u64::MAX];
    for field in wide {
        for value in values {
            let mut elf = good_elf();
            elf[field.clone()].copy_from_slice(&u64::to_le_bytes(value));
            let what = format!("{field:?} is {value:#x}");
            if field == P_VADDR && !GUEST_ADDRESSES.contains(&value) {
                assert_refused_in_words(&elf, &what);
            } else {
                assert_survived(&elf, &what);
            }
        }
    }
}

#[test]
fn a_count_made_to_break_the_loader_ends_by_itself() {
    for field in [E_PHENTSIZE, E_PHNUM] {
        for value in [0, 1, 55, 57, 0x7fff, 0xffff] {
            let mut elf = good_elf();
            elf[field.clone()].copy_from_slice(&u16::to_le_bytes(value));
            assert_survived(&elf, &format!("{field:?} is {value:#x}"));
        }
    }
}

#[test]
fn a_segment_that_claims_to_be_something_else_ends_by_itself() {
    for kind in [0_u32, 2, 3, 6, 7, 0x6474_e551, 0x6474_e553, u32::MAX] {
        let mut elf = good_elf();
        elf[P_TYPE].copy_from_slice(&kind.to_le_bytes());
        assert_survived(&elf, &format!("segment type {kind:#x}"));
    }
}
