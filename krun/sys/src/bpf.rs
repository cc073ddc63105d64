//! A program that decides about the devices of a cgroup's processes.
#![expect(unsafe_code, reason = "bpf(2) has no wrapper in rustix, nix or libc")]

use std::ffi::{CStr, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Commands, types and flags by their names in `linux/bpf.h`, without the prefix.
const PROG_LOAD: c_long = 5;
const PROG_ATTACH: c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;

/// Only helper functions are tied to a licence, and no program of ours calls one.
const LICENSE: &CStr = c"Apache-2.0";

/// What `bpftool cgroup tree` shows.
const NAME: [u8; 16] = *b"krun_devices\0\0\0\0";

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; Linux takes the rest for zeros.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The beginning of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Has Linux check and load a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`, each instruction a
/// `struct bpf_insn`. The descriptor is closed on exec.
///
/// # Errors
///
/// `EINVAL` or `EACCES` for a program that is none, `E2BIG` for one that is too long, `EPERM` where
/// rights, or locked memory, are missing.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let too_long = |_| io::Error::from_raw_os_error(libc::E2BIG);
    let attributes = LoadAttributes {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(too_long)?,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: LICENSE.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: NAME,
    };
    // SAFETY: the structure is of exactly the size that is passed, has no padding, and is only read.
    // Of its pointers, `insns` leads to `insn_cnt` instructions of eight bytes, borrowed
    // for the call, `license` to a C string that lives for ever, and there is no log.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
    };
    let number = i32::try_from(result).ok().filter(|number| *number >= 0);
    let number = number.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: Linux has just opened this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Runs `program` for the version 2 cgroup whose directory is open as `cgroup`, beside those that
/// others attach there. It stays until the cgroup is removed.
///
/// # Errors
///
/// `EBADF` or `EINVAL` where one of the two is something else, `EPERM` where rights are missing or
/// a cgroup above does not share.
pub fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = AttachAttributes {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI,
    };
    // SAFETY: the structure is of exactly the size that is passed, has no padding, is only read and
    // holds no pointer; both descriptors are open while they are borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attributes,
            size_of::<AttachAttributes>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::os::fd::AsFd;

    use super::{attach_device_program, load_device_program};

    /// `r0 = 1; exit`.
    const ALLOW: [u64; 2] = [0x1_0000_00b4, 0x95];

    #[test]
    fn linux_looks_at_a_program_before_it_takes_it() {
        let (nothing, without_end) = (load_device_program(&[]), load_device_program(&ALLOW[..1]));

        assert_eq!(nothing.unwrap_err().raw_os_error(), Some(libc::E2BIG));
        assert_eq!(without_end.unwrap_err().kind(), ErrorKind::InvalidInput);
        load_device_program(&ALLOW).unwrap();
    }

    #[test]
    fn a_program_is_attached_to_nothing_but_a_cgroup() {
        let program = load_device_program(&ALLOW).unwrap();
        let directory = File::open("/").unwrap();

        let error = attach_device_program(program.as_fd(), directory.as_fd()).unwrap_err();

        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
