//! Host threads, for threads of the guest.
//!
//! They are not the standard library's. That takes a lock for a moment when one of its threads begins
//! or ends (it notes where stacks overflow); a process that is forked in this moment would have it
//! locked for ever, and could start no thread. The C library takes care of its own locks in `fork(3)`.

use std::{ffi::c_void, mem::MaybeUninit, ptr};

use nix::errno::Errno;

use crate::robust;

type Run = Box<dyn FnOnce() + Send>;

/// Starts a thread that nobody waits for, with a stack of so many bytes. `EAGAIN` if there is no room.
pub fn spawn(stack_len: usize, run: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    extern "C" fn begin(data: *mut c_void) -> *mut c_void {
        // SAFETY: this is the box that was given up below, for this thread alone.
        let run = unsafe { Box::from_raw(data.cast::<Run>()) };
        run();
        robust::withdraw();
        ptr::null_mut()
    }
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the place is writable; from here on it holds attributes.
    check(unsafe { libc::pthread_attr_init(attributes) })?;
    let run: Box<Run> = Box::new(Box::new(run));
    let data = Box::into_raw(run);
    let create = || {
        // SAFETY: the attributes were made above, and are not yet destroyed.
        check(unsafe { libc::pthread_attr_setstacksize(attributes, stack_len) })?;
        let detached = libc::PTHREAD_CREATE_DETACHED;
        // SAFETY: as above.
        check(unsafe { libc::pthread_attr_setdetachstate(attributes, detached) })?;
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        // SAFETY: the number's place and the attributes live until the call returns; `begin` gets the
        // box, which may be sent to another thread.
        check(unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, begin, data.cast()) })
    };
    let created = create();
    // SAFETY: they are not used after this.
    _ = unsafe { libc::pthread_attr_destroy(attributes) };
    if created.is_err() {
        // SAFETY: no thread has got it.
        drop(unsafe { Box::from_raw(data) });
    }
    created
}

fn check(error: i32) -> Result<(), Errno> {
    if error == 0 { Ok(()) } else { Err(Errno::from_raw(error)) }
}

/// The C library's own reads all of `/proc/self/maps` to find where the first thread's stack lies. Rust's runtime
/// asks before `main`, to tell overflows of the stack from other faults; the monitor has faults do what the guest
/// wants. Nothing else asks, and who does is told that it is not known.
#[unsafe(export_name = "pthread_getattr_np")]
extern "C" fn without_stacks_place(_: libc::pthread_t, _: *mut libc::pthread_attr_t) -> i32 {
    libc::ENOSYS
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::errno::Errno;

    use super::spawn;

    #[test]
    fn a_thread_runs_what_it_is_given() {
        let (tell, told) = mpsc::channel();

        spawn(256 * 1024, move || tell.send(crate::process::thread_id()).unwrap()).unwrap();

        assert_ne!(told.recv().unwrap(), crate::process::thread_id());
    }

    #[test]
    fn what_cannot_be_started_is_dropped() {
        let (tell, told) = mpsc::channel::<u32>();

        let refused = spawn(1 << 60, move || tell.send(1).unwrap());

        assert_eq!(refused, Err(Errno::EAGAIN));
        assert!(told.recv().is_err());
    }
}
