//! Host system calls: a plain one for the monitor's own needs, and one that a
//! signal can keep from being entered.
//!
//! # "A signal arrives just before a blocking call"
//!
//! The check for a caught signal and the `syscall` instruction lie in one known
//! range of addresses. The signal handler (see [`crate::signals`]) moves an
//! instruction pointer inside that range to its end, so the call is not entered.
//! When Linux itself wants a call restarted, it puts the instruction pointer
//! back on the `syscall` instruction, so it lands in the same range. Both give
//! [`Outcome::Rewind`]: nothing happened, the guest shall make the call again
//! after its handler has run.

use std::arch::{asm, global_asm};

use nix::errno::Errno;

use crate::{asking, signals};

/// What came of a call that a signal may interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel's answer: a value, or a negated error number.
    Returned(i64),
    /// The call was not entered, or must be entered again.
    Rewind,
}

/// No system call returns this: errors end at -4095.
const REWIND: i64 = -5000;

global_asm!(
    ".global monitor_host_call",
    ".global monitor_host_call_begin",
    ".global monitor_host_call_end",
    ".global monitor_host_call_rewind",
    ".global monitor_host_call_last",
    "monitor_host_call:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov rdi, [rsi]",
    "mov rdx, [rsi + 16]",
    "mov r10, [rsi + 24]",
    "mov r8, [rsi + 32]",
    "mov r9, [rsi + 40]",
    "mov rsi, [rsi + 8]",
    "monitor_host_call_begin:",
    "cmp byte ptr [rcx], 0",
    "jne monitor_host_call_rewind",
    "syscall",
    "monitor_host_call_end:",
    "ret",
    "monitor_host_call_rewind:",
    "mov rax, {rewind}",
    "ret",
    "monitor_host_call_last:",
    rewind = const REWIND,
);

unsafe extern "C" {
    fn monitor_host_call(number: i64, args: *const u64, caught: *const u8) -> i64;
    safe static monitor_host_call_begin: u8;
    safe static monitor_host_call_end: u8;
    safe static monitor_host_call_rewind: u8;
    safe static monitor_host_call_last: u8;
}

/// The code that makes a call: it runs at any address, as it only jumps within itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Where the linker put it.
    Original,
    /// At an address to which [`asking`] has copied it.
    CopiedTo(u64),
}

/// The code's bytes.
pub(crate) fn code() -> &'static [u8] {
    let first = monitor_host_call as *const u8;
    let len = (&raw const monitor_host_call_last).addr() - first.addr();
    // SAFETY: the labels enclose the instructions above, which are readable and never change.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// What the code is to Rust.
type Make = unsafe extern "C" fn(i64, *const u64, *const u8) -> i64;

/// Where the handler sends an instruction pointer that stands between the check
/// and the kernel, or `None` if it stands elsewhere.
pub(crate) fn rewind_target(instruction_pointer: u64) -> Option<u64> {
    let begin = to_u64((&raw const monitor_host_call_begin).addr());
    let end = to_u64((&raw const monitor_host_call_end).addr());
    let target = to_u64((&raw const monitor_host_call_rewind).addr());
    let moved = match asking::copy() {
        Code::CopiedTo(page) if instruction_pointer.wrapping_sub(page) < 4096 => {
            page.wrapping_sub(to_u64((monitor_host_call as *const u8).addr()))
        }
        Code::CopiedTo(_) | Code::Original => 0,
    };
    let original = instruction_pointer.wrapping_sub(moved);
    (begin..end).contains(&original).then_some(target.wrapping_add(moved))
}

/// Makes a call that a caught signal keeps from being entered.
///
/// # Safety
///
/// The call must follow only pointers to memory that the kernel may read and
/// write at that moment, and must not disturb what Rust relies on.
pub(crate) unsafe fn interruptible(number: usize, args: &[u64; 6]) -> Outcome {
    // SAFETY: the caller's obligation is the same.
    unsafe { interruptible_by(asking::code_for(number), number, args) }
}

/// The same, by the code at a place of the caller's choice.
///
/// # Safety
///
/// As for [`interruptible`].
pub(crate) unsafe fn interruptible_by(code: Code, number: usize, args: &[u64; 6]) -> Outcome {
    let number = i64::try_from(number).expect("system calls have small numbers");
    let caught = signals::caught_flag();
    let make: Make = match code {
        Code::Original => monitor_host_call,
        Code::CopiedTo(page) => {
            let page = usize::try_from(page).expect("x86-64 has 64-bit addresses");
            let start: *const () = std::ptr::with_exposed_provenance(page);
            // SAFETY: at the page's start lies the same function, which is never unmapped.
            unsafe { std::mem::transmute::<*const (), Make>(start) }
        }
    };
    // SAFETY: `args` is six words, `caught` a byte of this thread's storage; the
    // assembler code keeps the C calling convention. The rest is the caller's.
    match unsafe { make(number, args.as_ptr(), caught) } {
        REWIND => Outcome::Rewind,
        value => Outcome::Returned(value),
    }
}

/// Makes a call for the monitor's own account.
///
/// # Safety
///
/// As for [`libc::syscall`]: each pointer must be good for what this call does
/// with it, and the call must not break what Rust relies on.
pub(crate) unsafe fn raw(number: i64, args: [u64; 6]) -> Result<u64, Errno> {
    let result: i64;
    // SAFETY: the kernel's convention: number in rax, arguments in these six
    // registers, rcx and r11 lost. What the call itself does is the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    decode(result)
}

/// Splits the kernel's answer into value and error.
pub fn decode(result: i64) -> Result<u64, Errno> {
    match i32::try_from(result) {
        Ok(error @ -4095..=-1) => Err(Errno::from_raw(-error)),
        _ => Ok(result.cast_unsigned()),
    }
}

/// The address of a page that Linux was free to place, which is given back.
pub(crate) fn anonymous_page() -> Result<usize, Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let flags = u64::from(flags.cast_unsigned());
    // SAFETY: a new mapping where Linux has room takes nothing from anybody.
    let page = unsafe { raw(libc::SYS_mmap, [0, 4096, 0, flags, u64::MAX, 0]) }?;
    // SAFETY: the page was mapped above, and nobody else knows of it.
    unsafe { raw(libc::SYS_munmap, [page, 4096, 0, 0, 0, 0]) }?;
    Ok(usize::try_from(page).expect("x86-64 has 64-bit addresses"))
}

/// Widens a size or an address.
pub fn to_u64(size: usize) -> u64 {
    u64::try_from(size).expect("x86-64 has 64-bit addresses")
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{Outcome, decode, interruptible, rewind_target};

    #[test]
    fn answers_split_into_values_and_errors() {
        let cases = [
            (0, Ok(0)),
            (7, Ok(7)),
            (-1, Err(Errno::EPERM)),
            (-4095, Err(Errno::UnknownErrno)),
            (-4096, Ok(u64::MAX - 4095)),
            (i64::MIN, Ok(1 << 63)),
        ];
        for (result, expected) in cases {
            assert_eq!(decode(result), expected, "{result}");
        }
    }

    #[test]
    fn an_undisturbed_call_returns_the_kernels_answer() {
        let number = usize::try_from(libc::SYS_getpid).unwrap();
        let args = [0; 6];

        // SAFETY: getpid(2) takes no pointer and changes nothing.
        let outcome = unsafe { interruptible(number, &args) };

        assert_eq!(outcome, Outcome::Returned(i64::from(std::process::id())));
    }

    #[test]
    fn addresses_elsewhere_are_not_rewound() {
        assert_eq!(rewind_target(0), None);
        assert_eq!(rewind_target(u64::MAX), None);
    }
}
