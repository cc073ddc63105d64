//! Loading a seccomp filter with flags of the caller's choice.
#![expect(unsafe_code, reason = "seccomp(2) has no wrapper that takes flags")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The size of an instruction of classic BPF: `struct sock_filter`.
const INSTRUCTION: usize = 8;
/// `SECCOMP_FILTER_FLAG_TSYNC`.
const TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 8;

/// Puts `program`, instructions of classic BPF in the kernel's form, on this thread and on all it makes.
///
/// `flags` are those of `SECCOMP_SET_MODE_FILTER` that give nothing back: `LOG`, `TSYNC`, `SPEC_ALLOW`,
/// `WAIT_KILLABLE_RECV`.
///
/// # Errors
///
/// `InvalidInput` if it is not whole instructions or too many; else what `seccomp(2)` says, such as
/// `EACCES` for a caller without `CAP_SYS_ADMIN` that may still gain privileges.
pub fn load_seccomp_filter(program: &[u8], flags: u32) -> io::Result<()> {
    match load(program, flags)? {
        0 => Ok(()),
        // TSYNC names a thread that could not take it.
        thread => Err(io::Error::other(format!("thread {thread} cannot take the filter"))),
    }
}

/// The same with a descriptor, close-on-exec, at which the kernel notifies of calls.
///
/// # Errors
///
/// As above; `EBUSY` if an earlier filter has one.
pub fn load_seccomp_listener(program: &[u8], flags: u32) -> io::Result<OwnedFd> {
    let flags = flags & !TSYNC | NEW_LISTENER;
    let listener = i32::try_from(load(program, flags)?).map_err(io::Error::other)?;
    // SAFETY: with this flag and without TSYNC, what does not fail is a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

fn load(program: &[u8], flags: u32) -> io::Result<i64> {
    let (instructions, rest) = program.as_chunks::<INSTRUCTION>();
    let instructions: Vec<_> = instructions.iter().copied().map(instruction).collect();
    let length = u16::try_from(instructions.len()).ok().filter(|_| rest.is_empty());
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: the structure names `length` instructions, which live as long as the call and are only
    // read; the kernel checks the program before it takes it.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn instruction(bytes: [u8; INSTRUCTION]) -> libc::sock_filter {
    let [code0, code1, jt, jf, k0, k1, k2, k3] = bytes;
    libc::sock_filter {
        code: u16::from_ne_bytes([code0, code1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    }
}

#[cfg(test)]
mod tests {
    use super::load_seccomp_filter;

    #[test]
    fn only_whole_instructions_are_taken() {
        for bytes in [&[0_u8; 7][..], &vec![0; 8 << 16]] {
            let error = load_seccomp_filter(bytes, 0).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        // No program at all: the kernel's word.
        assert_eq!(load_seccomp_filter(&[], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
