//! Calls after which a thread may not be helped as before: they change who it is, or what it shares with
//! the others of its process.

use std::sync::Arc;

use monitor_sys::abi::number;

use super::{Args, low_word};
use crate::{exitless, process::aside::Aside, thread::Thread};

/// Users, groups, capabilities; namespaces, folders and descriptors of one's own; keyrings; filters; what memory
/// and disks are used how.
const CHANGES: [usize; 19] = [
    number::SETUID,
    number::SETGID,
    number::SETREUID,
    number::SETREGID,
    number::SETRESUID,
    number::SETRESGID,
    number::SETFSUID,
    number::SETFSGID,
    number::SETGROUPS,
    number::CAPSET,
    number::UNSHARE,
    number::SETNS,
    number::KEYCTL,
    number::ADD_KEY,
    number::REQUEST_KEY,
    number::SECCOMP,
    number::PERSONALITY,
    number::SET_MEMPOLICY,
    number::IOPRIO_SET,
];

/// `CLONE_NEWPID`.
const NEW_PROCESSES: u64 = 0x2000_0000;

/// `CLOSE_RANGE_UNSHARE`.
const CLOSE_RANGE_UNSHARE: u64 = 2;

/// Those that make what only a thread itself can look at: the signals that wait for it.
const OF_THREADS: [usize; 2] = [number::SIGNALFD, number::SIGNALFD4];

/// Options of prctl(2) that do: `PR_SET_KEEPCAPS`, `PR_SET_SECCOMP`, `PR_CAPBSET_DROP`, `PR_SET_SECUREBITS`,
/// `PR_SET_NO_NEW_PRIVS`, `PR_CAP_AMBIENT`, `PR_SET_SYSCALL_USER_DISPATCH`.
const OPTIONS: [u32; 7] = [8, 22, 24, 28, 38, 47, 59];

/// Whether a call may change that.
pub(super) fn changes(number: u64, args: Args) -> bool {
    let Ok(number) = usize::try_from(number) else { return false };
    match number {
        number::PRCTL => OPTIONS.contains(&low_word(args[0])),
        number::CLOSE_RANGE => args[2] & CLOSE_RANGE_UNSHARE != 0,
        _ => CHANGES.contains(&number) || OF_THREADS.contains(&number),
    }
}

/// Before it: nobody makes calls with the rights there were.
pub(super) fn prepare(thread: &Thread, number: u64, args: Args) {
    if usize::try_from(number).is_ok_and(|number| OF_THREADS.contains(&number)) {
        thread.process.helper.note_signal_files();
        return;
    }
    exitless::part(thread);
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let process = &thread.process;
    match number {
        _ if Arc::strong_count(process) == 1 => process.aside.dismiss(),
        // One thread among others can get no other rights by these. But it may be that no thread can be started after.
        number::UNSHARE if args[0] & NEW_PROCESSES != 0 => Aside::stay(process),
        number::SETNS if low_word(args[1]) == 0 || args[1] & NEW_PROCESSES != 0 => {
            Aside::stay(process);
        }
        number::UNSHARE | number::SETNS | number::CLOSE_RANGE => {}
        _ => process.aside.part(),
    }
}

/// After it.
pub(super) fn adopt(thread: &mut Thread) {
    exitless::revise(thread);
}

#[cfg(test)]
mod tests {
    use monitor_sys::abi::number;

    use super::changes;

    #[test]
    fn names_and_signals_change_nothing() {
        let prctl =
            |option| changes(u64::try_from(number::PRCTL).unwrap(), [option, 0, 0, 0, 0, 0]);

        assert!(prctl(38) && prctl(0xffff_ffff_0000_0016));
        assert!(!prctl(15) && !prctl(1));
        let close = |flags| {
            changes(u64::try_from(number::CLOSE_RANGE).unwrap(), [3, u64::MAX, flags, 0, 0, 0])
        };
        assert!(close(2) && !close(4));
    }
}
