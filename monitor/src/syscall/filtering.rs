//! Seccomp at the gate: filters are asked before the tables are, and
//! `seccomp(2)` adds filters.

use monitor_sys::{Errno, guest_copy, seccomp, signals};
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use super::{Answer, Args, Reply, asking, low_word};
use crate::{
    exitless,
    seccomp::{
        Action,
        program::{ARCHITECTURE, Data, INSTRUCTION_LEN, LONGEST, Program},
    },
    signal::Fault,
    thread::Thread,
};

/// `SECCOMP_SET_MODE_FILTER`.
const SET_MODE_FILTER: u32 = 1;
/// `SECCOMP_GET_ACTION_AVAIL`.
const GET_ACTION_AVAIL: u32 = 2;
/// `SECCOMP_FILTER_FLAG_TSYNC`: all threads get the filters of this one.
const ALL_THREADS: u64 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`, `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
const WITHOUT_EFFECT: u64 = 2 | 4;
/// `SYS_SECCOMP`, the code of its `SIGSYS`.
const SYS_SECCOMP: i32 = 1;
/// `SECCOMP_MODE_FILTER`.
const MODE_FILTER: u64 = 2;

/// Asks the thread's filters about a call. The answer, if they give one.
pub(super) fn filtered(thread: &mut Thread, number: u64, args: Args) -> Option<Answer> {
    thread.process.shared_filters.adopt(&mut thread.filters);
    if thread.filters.is_empty() {
        return None;
    }
    let (number, rip) = (low_word(number), thread.cpu.registers().rip);
    match thread.filters.decide(&Data::new(number, rip, args)) {
        Action::Allow | Action::Log => None,
        Action::Errno(number) => {
            Some(Ok(Reply::Value(i64::from(number).wrapping_neg().cast_unsigned())))
        }
        Action::Ask if thread.process.host.asks_agent => {
            Some(asking::answer(thread, u64::from(number), args))
        }
        Action::Ask | Action::Unsupervised => Some(Err(Errno::ENOSYS)),
        Action::Trap(data) => Some(raise(thread, SYS_SECCOMP, number, rip, data)),
        Action::KillThread if !thread.is_first => {
            Some(Ok(Reply::EndThread(libc::SIGSYS.cast_unsigned())))
        }
        Action::KillThread | Action::KillProcess => {
            thread.process.tell_stats();
            signals::die_by(libc::SIGSYS.cast_unsigned())
        }
    }
}

/// `SIGSYS`, with the call it is about.
pub(super) fn raise(thread: &mut Thread, code: i32, number: u32, rip: u64, data: u16) -> Answer {
    exitless::masks::settle(thread);
    let fault = Fault {
        signal: libc::SIGSYS.cast_unsigned(),
        code,
        errno: data.into(),
        address: rip,
        detail: u64::from(number) | u64::from(ARCHITECTURE) << 32,
        ..Fault::default()
    };
    thread.receiver().raise(&fault).map(|()| Reply::Registers).map_err(|error| {
        thread.process.log(&format!("deliver SIGSYS: {error}"));
        Errno::ENOSYS
    })
}

pub(super) fn seccomp(thread: &mut Thread, args: Args) -> Answer {
    let [operation, flags, program, ..] = args;
    match low_word(operation) {
        SET_MODE_FILTER => install(thread, flags, program),
        GET_ACTION_AVAIL if flags == 0 => {
            let action = guest_copy::read::<u32>(program)?;
            let known = Action::from_word(action) != Action::KillProcess || action == 0x8000_0000;
            let listens = Action::from_word(action) == Action::Unsupervised;
            if known && !listens { Ok(Reply::Value(0)) } else { Err(Errno::EOPNOTSUPP) }
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(PR_SET_SECCOMP)`, the older way.
pub(super) fn set_mode(thread: &mut Thread, mode: u64, program: u64) -> Answer {
    if mode == MODE_FILTER { install(thread, 0, program) } else { Err(Errno::EINVAL) }
}

/// `prctl(PR_GET_SECCOMP)`.
pub(super) fn mode(thread: &Thread) -> u64 {
    if thread.filters.is_empty() { 0 } else { MODE_FILTER }
}

fn install(thread: &mut Thread, flags: u64, address: u64) -> Answer {
    if flags & !(ALL_THREADS | WITHOUT_EFFECT) != 0 {
        return Err(Errno::EINVAL);
    }
    // `struct sock_fprog`: a count of instructions, and where they are.
    let [count, at] = guest_copy::read::<[u64; 2]>(address)?;
    let count = usize::try_from(count & 0xffff).expect("16 bits");
    if count == 0 || count > LONGEST {
        return Err(Errno::EINVAL);
    }
    if !may_install() {
        return Err(Errno::EACCES);
    }
    let bytes = guest_copy::read_array::<u8>(at, count * INSTRUCTION_LEN)?;
    thread.filters.push(Program::decode(&bytes).ok_or(Errno::EINVAL)?);
    // A kernel without filters shows none.
    _ = seccomp::tell(flags);
    if flags & ALL_THREADS != 0 {
        thread.process.shared_filters.share(&mut thread.filters);
    }
    Ok(Reply::Value(0))
}

/// A program that can still gain rights must not be misled by a filter.
fn may_install() -> bool {
    let administers =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    administers || no_new_privs().unwrap_or(false)
}
