//! Where files are opened that the guest's threads must not find open, not even for a moment: a thread of the monitor's
//! that has a copy of the caller's descriptors, and shares none with anybody.
//!
//! As long as it runs all files of the guest's are open once more, some tenths of a millisecond.

use std::sync::{atomic::Ordering, mpsc};

use monitor_sys::{Errno, guest_copy, process as own, robust, signals, threads};

use super::Process;
use crate::{
    exitless,
    files::apart::Apart,
    thread::start::{HOST_STACK, keep_signal_for_guest},
};

impl Apart for Process {
    /// Does such work, with the rights, namespaces and folders of the calling thread.
    ///
    /// `ENOMEM` if there is no room for a thread. Also if the process is told of messages (`mq_notify(2)`): that would
    /// end with the copies of its descriptors.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Errno> {
        if self.is_notified_of_messages.load(Ordering::Relaxed) {
            return Err(Errno::ENOMEM);
        }
        let (tell, told) = mpsc::channel();
        let borrows = robust::borrows();
        // None of the process's signals shall choose it.
        let mask = signals::block_all();
        let started = threads::spawn(HOST_STACK, move || {
            robust::set_borrows(borrows);
            guest_copy::remember_thread();
            own::set_name(exitless::NAME.as_bytes());
            let done = own::unshare_descriptors().map(|()| work());
            // The caller waits.
            _ = tell.send(done);
        });
        keep_signal_for_guest(self);
        if let Some(mask) = mask {
            signals::set_mask(mask);
        }
        started.map_err(|_| Errno::ENOMEM)?;
        told.recv().unwrap_or(Err(Errno::EIO))
    }
}
