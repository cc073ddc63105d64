//! Calls about which the workload's agent is asked: `SCMP_ACT_NOTIFY`.
//!
//! An agent may have the call go on, and then the kernel makes what it was asked about. So the
//! monitor lets it be asked only about what may be made: the host's call as the monitor makes it,
//! after its own checks, or a call that the kernel cannot make, and that the monitor makes itself
//! afterwards. What is neither fails as where nobody listens.

use monitor_sys::{
    Errno,
    abi::number,
    asking::{ask_first, asked},
    guest_copy,
};

use super::{
    Answer, Args, reply,
    table::{self, Policy},
};
use crate::thread::Thread;

/// `PATH_MAX`.
const PATH_MAX: usize = 4096;
/// The most that Linux reads of `struct clone_args`, in bytes.
const ARGUMENTS_MAX: usize = 4096;

/// How an agent is asked about a call that the monitor handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The handler makes the same call on the host, once it has checked it.
    InPassing,
    /// The agent is asked before, with the path at this argument.
    Path(usize),
    /// The agent is asked before, with `struct clone_args`.
    CloneArguments,
}

/// The calls of the first kind.
const IN_PASSING: [usize; 67] = [
    number::PIVOT_ROOT,
    number::ACCT,
    number::SWAPON,
    number::QUOTACTL,
    number::MOVE_MOUNT,
    number::FSPICK,
    number::FANOTIFY_MARK,
    number::OPEN_BY_HANDLE_AT,
    number::STAT,
    number::LSTAT,
    number::TRUNCATE,
    number::CHDIR,
    number::CHROOT,
    number::CHMOD,
    number::CHOWN,
    number::LCHOWN,
    number::UTIME,
    number::UTIMES,
    number::SETXATTR,
    number::LSETXATTR,
    number::GETXATTR,
    number::LGETXATTR,
    number::LISTXATTR,
    number::LLISTXATTR,
    number::REMOVEXATTR,
    number::LREMOVEXATTR,
    number::MOUNT,
    number::UMOUNT2,
    number::FUTIMESAT,
    number::UTIMENSAT,
    number::FCHMODAT,
    number::FCHMODAT2,
    number::FCHOWNAT,
    number::LINKAT,
    number::INOTIFY_ADD_WATCH,
    number::NAME_TO_HANDLE_AT,
    number::OPEN_TREE,
    number::POLL,
    number::SELECT,
    number::MSYNC,
    number::MLOCK,
    number::MLOCK2,
    number::MUNLOCK,
    number::FSCONFIG,
    number::MOUNT_SETATTR,
    number::NEWFSTATAT,
    number::STATX,
    number::STATFS,
    number::ACCESS,
    number::FACCESSAT,
    number::FACCESSAT2,
    number::READLINK,
    number::READLINKAT,
    number::GETDENTS,
    number::GETDENTS64,
    number::IOCTL,
    number::FCNTL,
    number::SENDMSG,
    number::RECVMSG,
    number::GETSOCKOPT,
    number::SETSOCKOPT,
    number::SEMCTL,
    number::KEYCTL,
    number::KCMP,
    number::MQ_NOTIFY,
    number::PROCESS_VM_READV,
    number::PROCESS_VM_WRITEV,
];

/// Asks the agent, and makes the call if it is to be made.
pub(super) fn answer(thread: &mut Thread, number: u64, args: Args) -> Answer {
    let Some(policy) = table::policy(number) else { return Err(Errno::ENOSYS) };
    let index = usize::try_from(number).map_err(|_| Errno::ENOSYS)?;
    let way = match policy {
        Policy::Refuse(errno, _) => return Err(*errno),
        Policy::Forward(_) => Way::InPassing,
        Policy::Handle(_) => way(index).ok_or(Errno::ENOSYS)?,
    };
    let bytes = match way {
        Way::InPassing => None,
        Way::Path(at) => Some(path(args[at])?),
        Way::CloneArguments => Some(clone_arguments(args)?),
    };
    let Some(bytes) = bytes else {
        return asked(index, || super::answer(thread, number, args));
    };
    match ask_first(index, args, &bytes)? {
        Some(outcome) => reply(outcome),
        None => super::answer(thread, number, args),
    }
}

fn way(number: usize) -> Option<Way> {
    Some(match number {
        number::OPEN | number::CREAT | number::EXECVE => Way::Path(0),
        number::OPENAT | number::OPENAT2 | number::EXECVEAT => Way::Path(1),
        number::CLONE3 => Way::CloneArguments,
        number if IN_PASSING.contains(&number) => Way::InPassing,
        _ => return None,
    })
}

/// A path with its NUL.
fn path(at: u64) -> Result<Vec<u8>, Errno> {
    let mut path = guest_copy::read_string(at, PATH_MAX)?;
    path.push(0);
    Ok(path)
}

fn clone_arguments([at, len, ..]: Args) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len).ok().filter(|&len| len <= ARGUMENTS_MAX).ok_or(Errno::E2BIG)?;
    guest_copy::read_array(at, len)
}

#[cfg(test)]
mod tests {
    use monitor_launch::NEVER_ASKED;
    use monitor_sys::abi::CALLS;

    use super::way;
    use crate::syscall::table::{Policy, policy};

    #[test]
    fn krun_refuses_what_no_agent_can_be_asked_about() {
        let numbered = |number: usize| u64::try_from(number).unwrap();
        let is_handled = |number| matches!(policy(numbered(number)), Some(Policy::Handle(_)));
        let handled = CALLS.iter().filter(|call| is_handled(call.number));
        let never: Vec<_> =
            handled.filter(|call| way(call.number).is_none()).map(|call| call.name).collect();

        assert_eq!(NEVER_ASKED, never);
    }
}
