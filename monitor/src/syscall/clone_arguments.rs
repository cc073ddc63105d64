//! `struct clone_args` of `clone3(2)`, with the checks Linux makes before it looks
//! at anything else.

use monitor_sys::{Errno, guest_copy};

use super::process_control::TASK_SIZE;
use crate::process::birth::{Birth, CLEAR_HANDLERS};

/// Its first version, in bytes.
const SHORTEST: u64 = 64;
/// The version with a cgroup, in bytes.
const WITH_CGROUP: u64 = 88;
/// Linux reads no more than a page.
const LONGEST: u64 = 4096;
/// How deep process namespaces can be nested.
const NAMESPACE_DEPTH: u64 = 32;

/// The flags of `clone(2)` but for its exit signal and `CLONE_DETACHED`, and
/// `CLONE_NEWTIME` in the signal's place.
const KNOWN: u64 = 0xffbf_ff00 | 0x80 | CLEAR_HANDLERS | INTO_CGROUP;
const SETTLS: u64 = 0x8_0000;
/// `CLONE_THREAD | CLONE_PARENT`: the exit signal is another's.
const WITHOUT_EXIT_SIGNAL: u64 = 0x1_8000;
const THREAD: u64 = 0x1_0000;
const INTO_CGROUP: u64 = 2 << 32;
const SIGNAL_MAX: u64 = 64;

/// Reads the `size` bytes at the guest's address `at`.
pub(super) fn read(at: u64, size: u64) -> Result<Birth, Errno> {
    if size > LONGEST {
        return Err(Errno::E2BIG);
    }
    if size < SHORTEST {
        return Err(Errno::EINVAL);
    }
    let mut words = [0_u64; 11];
    let mut bytes = vec![0; usize::try_from(size).expect("at most a page")];
    guest_copy::read_bytes(at, &mut bytes)?;
    let known = bytes.len().min(88);
    if bytes[known..].iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    bytes.resize(88, 0);
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    check(&words, size)?;
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_len, tls, ..] = words;
    Ok(Birth {
        flags,
        exit_signal,
        stack: stack.wrapping_add(stack_len),
        tls: (flags & SETTLS != 0).then_some(tls),
        parent_tid,
        child_tid,
        pidfd,
        set_tid: numbers(words[8], words[9])?,
        cgroup: words[10],
    })
}

fn check(words: &[u64; 11], size: u64) -> Result<(), Errno> {
    let [flags, _, _, _, exit_signal, stack, stack_len, _, set_tid, set_tid_count, cgroup] = *words;
    let into_cgroup = flags & INTO_CGROUP != 0;
    let wrong = flags & !KNOWN != 0
        || exit_signal > SIGNAL_MAX
        || (flags & WITHOUT_EXIT_SIGNAL != 0 && exit_signal != 0)
        || (stack == 0) != (stack_len == 0)
        || stack.checked_add(stack_len).is_none_or(|end| end > TASK_SIZE)
        || (set_tid == 0) != (set_tid_count == 0)
        || set_tid_count > NAMESPACE_DEPTH
        || (into_cgroup && (size < WITH_CGROUP || i32::try_from(cgroup).is_err()));
    if wrong {
        return Err(Errno::EINVAL);
    }
    // A host thread's number is the kernel's to choose, as without the right to.
    if flags & THREAD != 0 && set_tid_count != 0 { Err(Errno::EPERM) } else { Ok(()) }
}

fn numbers(at: u64, count: u64) -> Result<Vec<i32>, Errno> {
    let count = usize::try_from(count).expect("at most 32");
    if count == 0 {
        return Ok(Vec::new());
    }
    guest_copy::read_array::<i32>(at, count)
}
