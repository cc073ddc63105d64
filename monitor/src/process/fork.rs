//! `fork(2)`: a process with a copy of the memory.
//!
//! A forked child inherits the memory, copied on write, but a virtual machine
//! belongs to the address space that made it: the child makes its own, and
//! forgets the parent's.

use std::{
    fs::File,
    io::Read,
    os::fd::{IntoRawFd, RawFd},
    sync::Arc,
};

use monitor_sys::{
    Errno,
    clone::{self, Fork},
    descriptors, process, signals,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::birth::{Birth, CHILD_CLEAR_TID, CLEAR_HANDLERS, FILES, Snapshot, VFORK};
use crate::{platform::PlatformError, thread::Thread};

/// Descriptors that a child's monitor takes before it gives up its parent's: the machine, its virtual
/// CPU, the device, and the pipe of a parent that waits.
const DESCRIPTORS: u64 = 5;

/// Forks. Returns the child's number, and in the child 0. `None` if a signal
/// came first.
///
/// `EINVAL` for descriptors in common: each monitor hides its own among them.
pub fn fork(thread: &mut Thread, birth: &Birth) -> Result<Option<u64>, Errno> {
    birth.check()?;
    if birth.has(FILES) {
        return Err(Errno::EINVAL);
    }
    let snapshot = Snapshot::take(thread, birth).map_err(|_| Errno::EAGAIN)?;
    let Some(mask) = signals::block_all() else {
        return Ok(None);
    };
    let result = fork_blocked(thread, birth, &snapshot);
    signals::set_mask(mask);
    result.map(Some)
}

/// The same while every signal is blocked.
fn fork_blocked(thread: &mut Thread, birth: &Birth, snapshot: &Snapshot) -> Result<u64, Errno> {
    let process = Arc::clone(&thread.process);
    // First: the call it may be making takes any of the locks below.
    let calls = process.helper.park();
    let aside = process.aside.idle();
    let room = descriptors::make_room();
    if !descriptors::have_room_for(DESCRIPTORS) {
        return Err(Errno::EAGAIN);
    }
    let awaited = if birth.has(VFORK) { Some(Awaited::new()?) } else { None };
    let result = {
        let _memory = thread.process.memory.freeze();
        let _actions = thread.process.actions.freeze();
        let _descriptors = descriptors::freeze();
        // The host would make this thread wait with its locks held.
        clone::fork(&birth.on_host(VFORK | CHILD_CLEAR_TID))
    };
    drop((calls, aside));
    match result? {
        Fork::Parent(child) => {
            drop(room);
            if let Some(awaited) = awaited {
                awaited.wait();
            }
            Ok(child)
        }
        Fork::Child => {
            let kept = awaited.map(Awaited::keep);
            // Its machine shall close itself before what is left of it is closed.
            drop(process);
            if let Err(error) = become_child(thread, birth, snapshot, kept) {
                thread.process.log(&format!("a forked child has no machine: {error}"));
                process::exit_group(super::MONITOR_FAILED);
            }
            if birth.has(CLEAR_HANDLERS) {
                thread.process.actions.clear_handlers();
            }
            Ok(0)
        }
    }
}

/// The end of a pipe that a child loses when it executes a program or ends, for
/// which its parent waits.
struct Awaited {
    of_parent: File,
    of_child: File,
}

impl Awaited {
    fn new() -> Result<Self, Errno> {
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        let (of_parent, of_child) = pipe.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        let [of_parent, of_child] = [of_parent, of_child].map(descriptors::hide);
        Ok(Self { of_parent: of_parent?.into(), of_child: of_child?.into() })
    }

    fn wait(self) {
        drop(descriptors::release(self.of_child.into()));
        let mut of_parent = self.of_parent;
        // Nothing is ever written: the end comes when the child's end is closed.
        _ = of_parent.read(&mut [0]);
        drop(descriptors::release(of_parent.into()));
    }

    /// In the child: the number of its end, which nothing else closes.
    fn keep(self) -> RawFd {
        drop(descriptors::release(self.of_parent.into()));
        self.of_child.into_raw_fd()
    }
}

/// Gives the child a machine, a process and a thread of its own in place of the
/// parent's.
fn become_child(
    thread: &mut Thread,
    birth: &Birth,
    snapshot: &Snapshot,
    kept: Option<RawFd>,
) -> Result<(), PlatformError> {
    let inherited = descriptors::list();
    let machine = thread.process.machine.another()?;
    let memory = Arc::new(thread.process.memory.moved_to(Arc::clone(&machine))?);
    let own = Arc::new(thread.process.child(memory, machine));
    let mut child = Thread::new(Arc::clone(&own), own.take_vcpu()?, true);
    snapshot.apply(&mut child)?;
    child.stack = thread.stack;
    child.filters = thread.filters.clone();
    if birth.has(CHILD_CLEAR_TID) {
        child.clear_at_exit = birth.child_tid;
    }
    // What this thread owned of the old machine closes itself; the rest belonged
    // to threads that are not here.
    drop(std::mem::replace(thread, child));
    let mut keep = own.host.descriptors();
    keep.extend(kept);
    descriptors::close_orphans(&inherited, &keep);
    Ok(())
}
