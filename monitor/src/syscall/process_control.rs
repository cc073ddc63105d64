//! `prctl`, `arch_prctl`, `personality`: switches that must act on the guest.

use std::sync::atomic::Ordering;

use monitor_sys::{Errno, abi::variants, guest_copy, process};

use super::{Answer, Args, Reply, dispatch, filtering, low_word};
use crate::{
    platform::{Bases, PlatformError},
    thread::Thread,
};

const PR_GET_DUMPABLE: u32 = 3;
const PR_GET_TID_ADDRESS: u32 = 40;
const PR_SET_DUMPABLE: u32 = 4;
/// Of 0, the only kind of timing that Linux has: nothing changes.
const PR_SET_TIMING: u32 = 14;
const PR_GET_SECCOMP: u32 = 21;
const PR_SET_SECCOMP: u32 = 22;
const PR_SET_TSC: u32 = 26;
/// `rdtsc` works, as it always does here.
const PR_TSC_ENABLE: u32 = 1;
const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;

const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;
const ARCH_GET_GS: u64 = 0x1004;
const ARCH_GET_CPUID: u64 = 0x1011;
const ARCH_GET_XCOMP_SUPP: u64 = 0x1021;
const ARCH_GET_XCOMP_PERM: u64 = 0x1022;
/// The end of user addresses on Linux, which bases must stay below.
pub(super) const TASK_SIZE: u64 = (1 << 47) - 4096;

/// What `personality` takes to only tell the current one.
const PERSONALITY_QUERY: u32 = u32::MAX;
/// The low byte; what is above are flags such as `ADDR_NO_RANDOMIZE`.
const PERSONALITY_KIND: u32 = 0xff;
const PER_LINUX: u32 = 0;
const PER_LINUX32: u32 = 8;

pub(super) fn prctl(thread: &mut Thread, args: Args) -> Answer {
    let process = &thread.process;
    match low_word(args[0]) {
        PR_GET_DUMPABLE => Ok(Reply::Value(process.dumpable())),
        PR_SET_DUMPABLE if args[1] <= 1 => {
            process.dumpable.store(args[1], Ordering::Relaxed);
            Ok(Reply::Value(0))
        }
        PR_GET_TID_ADDRESS => tell(args[1], thread.clear_at_exit),
        PR_GET_SECCOMP => Ok(Reply::Value(filtering::mode(thread))),
        PR_SET_SECCOMP => filtering::set_mode(thread, args[1], args[2]),
        PR_SET_TIMING if args[1] == 0 => Ok(Reply::Value(0)),
        PR_SET_TSC if low_word(args[1]) == PR_TSC_ENABLE => Ok(Reply::Value(0)),
        PR_SET_SYSCALL_USER_DISPATCH => dispatch::set(thread, args),
        _ => super::forward(thread, variants::prctl(args[0]).ok_or(Errno::EINVAL)?, args),
    }
}

pub(super) fn arch_prctl(thread: &mut Thread, args: Args) -> Answer {
    let [operation, value, ..] = args;
    match operation {
        ARCH_SET_FS | ARCH_SET_GS if value >= TASK_SIZE => Err(Errno::EPERM),
        ARCH_SET_FS => set_bases(thread, |bases| Bases { fs: value, ..bases }),
        ARCH_SET_GS => set_bases(thread, |bases| Bases { gs: value, ..bases }),
        ARCH_GET_FS => tell(value, bases(thread)?.fs),
        ARCH_GET_GS => tell(value, bases(thread)?.gs),
        ARCH_GET_CPUID => Ok(Reply::Value(1)),
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => tell(value, thread.process.machine.xcr0()),
        _ => Err(Errno::EINVAL),
    }
}

fn tell(address: u64, value: u64) -> Answer {
    guest_copy::write(address, &value).map(|()| Reply::Value(0))
}

fn bases(thread: &Thread) -> Result<Bases, Errno> {
    thread.cpu.bases().map_err(|error| device_error(thread, &error))
}

fn set_bases(thread: &mut Thread, change: impl FnOnce(Bases) -> Bases) -> Answer {
    let new = change(bases(thread)?);
    let set = thread.cpu.set_bases(new);
    set.map(|()| Reply::Value(0)).map_err(|error| device_error(thread, &error))
}

/// The device refused what it always can do: the operator is told, the guest
/// gets an error.
fn device_error(thread: &Thread, error: &PlatformError) -> Errno {
    thread.process.log(&format!("set a segment's base: {error}"));
    Errno::EINVAL
}

/// A personality is a thread's, and children inherit it; it comes from whoever started the monitor.
/// The host keeps the kind, which only changes what `uname` says. Flags change how programs are loaded
/// and would change how the monitor is: they are accepted without effect.
pub(super) fn personality(_thread: &mut Thread, args: Args) -> Answer {
    let wish = low_word(args[0]);
    let before = match wish & PERSONALITY_KIND {
        _ if wish == PERSONALITY_QUERY => process::personality(None)?,
        kind @ (PER_LINUX | PER_LINUX32) => process::personality(Some(kind))?,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Reply::Value(u64::from(before)))
}
