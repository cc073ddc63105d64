//! Work with files that the guest's threads must not find open, not even for a moment: where it is done is not for this
//! layer to know.

use std::{fmt, sync::mpsc};

use monitor_sys::Errno;

/// A place with open files that nobody else has, and with the rights and folders of who asks.
pub trait Apart: fmt::Debug {
    /// Does the work there, and returns when it is done. `ENOMEM` if there is no room.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Errno>;
}

/// What comes of work that is done there.
pub fn result_of<R: Send + 'static>(
    apart: &dyn Apart,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Errno> {
    let (tell, told) = mpsc::channel();
    // Who asks waits for it.
    apart.run(Box::new(move || _ = tell.send(work())))?;
    told.try_recv().map_err(|_| Errno::EIO)
}
