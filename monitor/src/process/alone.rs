//! Calls that Linux only grants to a process with one thread.
//!
//! From version 6.14 on, KVM keeps a thread of its own in every process that runs a
//! machine, until the machine is gone. A guest with one thread must not notice: such
//! a call is made while the process has no machine, and then it gets a new one.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use monitor_sys::proc_files;
use rustix::fs::{AtFlags, statat};

use super::birth::{Birth, Snapshot};
use crate::{
    exitless,
    platform::{Machine, PlatformError, absent::Absent},
    thread::Thread,
};

/// How long their end is waited for, and between two looks.
const END: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_micros(100);

/// Makes `call` with the machine put away. `None` if the guest has more threads, or
/// another process uses its memory.
pub fn without_machine<T>(thread: &mut Thread, call: impl FnOnce() -> T) -> Option<T> {
    exitless::give_up(thread);
    let _room = monitor_sys::descriptors::make_room();
    let next = thread.process.machine.successor().ok()?;
    let snapshot = Snapshot::take(thread, &Birth::default()).ok()?;
    put(thread, Arc::new(Absent::default())).ok()??;
    thread.cpu = Box::new(Absent::default());
    wait_for_threads();
    let result = call();
    let given = next().and_then(|machine| {
        put(thread, machine)?;
        thread.cpu = thread.process.take_vcpu()?;
        snapshot.apply(thread)?;
        // What the guest does next may forbid the thread that KVM makes at a machine's first run.
        thread.cpu.begin()
    });
    if let Err(error) = given {
        thread.process.log(&format!("no machine after a change of namespaces: {error}"));
        monitor_sys::process::exit_group(super::MONITOR_FAILED);
    }
    Some(result)
}

/// Threads of the device's and of the monitor's have done all they do when they still count, for a moment.
fn wait_for_threads() {
    let until = Instant::now() + END;
    while are_several() && Instant::now() < until {
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Whether the kernel counts more than one thread; not, if there is no procfs to tell. There is one link to the
/// folder of threads for each.
fn are_several() -> bool {
    const LINKS_OF_ONE: u64 = 3;
    let root = proc_files::root();
    let folder = root.map(|root| statat(root, "thread-self/..", AtFlags::empty()));
    folder.is_some_and(|found| found.is_ok_and(|found| found.st_nlink > LINKS_OF_ONE))
}

/// Gives the process another machine. `None` if it is not this thread's alone.
fn put(thread: &mut Thread, machine: Arc<dyn Machine>) -> Result<Option<()>, PlatformError> {
    let Some(process) = Arc::get_mut(&mut thread.process) else { return Ok(None) };
    let Some(memory) = Arc::get_mut(&mut process.memory) else { return Ok(None) };
    memory.put_machine(Arc::clone(&machine))?;
    process.put_machine(machine);
    Ok(Some(()))
}
