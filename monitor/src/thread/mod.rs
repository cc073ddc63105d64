//! A guest thread: a host thread with a virtual CPU.

pub mod exit;
pub mod start;

use std::sync::{Arc, atomic::Ordering};

use crate::{
    exitless::OfThread,
    files::{apart::Apart, neighbour::Viewer},
    platform::Vcpu,
    process::{Process, exec::Execution},
    seccomp::{Filters, dispatch::Dispatch},
    signal::{deliver::Receiver, stack::AlternateStack},
};

/// One guest thread, owned by the host thread that runs it.
#[derive(Debug)]
pub struct Thread {
    /// The process it belongs to.
    pub process: Arc<Process>,
    /// Its CPU.
    pub cpu: Box<dyn Vcpu>,
    /// Its alternate signal stack.
    pub stack: AlternateStack,
    /// The word to clear and wake when it ends (`set_tid_address(2)`), or 0.
    pub clear_at_exit: u64,
    /// Its list of robust futexes (`set_robust_list(2)`), or 0.
    pub robust_list: u64,
    /// The mask of a call that waits with another one, as `sigsuspend(2)` does.
    pub temporary_mask: Option<u64>,
    /// The filters its calls have to pass.
    pub filters: Filters,
    /// Which of its calls are signals to itself.
    pub dispatch: Option<Dispatch>,
    /// How often in a row the host denied what a mapping allows.
    pub denials: u32,
    /// Whether it is the process's first thread.
    pub is_first: bool,
    /// What it is about to execute.
    pub execution: Option<Execution>,
    /// How its calls are made without leaving the guest.
    pub exitless: OfThread,
    /// Whether its calls are those of others, which have to come back to those rather than wait.
    pub is_helper: bool,
    /// A path of the call it is making that was copied already, with where it lies.
    pub copied_path: Option<(u64, Vec<u8>)>,
}

impl Thread {
    /// A thread that has not run yet.
    pub fn new(process: Arc<Process>, cpu: Box<dyn Vcpu>, is_first: bool) -> Self {
        Self {
            process,
            cpu,
            stack: AlternateStack::default(),
            clear_at_exit: 0,
            robust_list: 0,
            temporary_mask: None,
            filters: Filters::default(),
            dispatch: None,
            denials: 0,
            is_first,
            execution: None,
            exitless: OfThread::default(),
            is_helper: false,
            copied_path: None,
        }
    }

    /// Whether no other thread can use what this one opens. The new thread of a process that gets one
    /// holds it already. A helper makes what the guest posts, whatever the guest itself does meanwhile.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.process) == 1
            && !self.process.shares_descriptors.load(Ordering::Relaxed)
            && !self.process.helper.is_living()
    }

    /// The process as one that looks at files of procfs.
    pub fn viewer(&self) -> Viewer<'_> {
        let apart: Option<&dyn Apart> = if self.is_alone() { None } else { Some(&*self.process) };
        Viewer { apart, ..self.process.viewer() }
    }

    /// The thread as one that gets a signal.
    pub fn receiver(&mut self) -> Receiver<'_> {
        Receiver {
            cpu: &mut *self.cpu,
            actions: &self.process.actions,
            memory: &self.process.memory,
            stack: &mut self.stack,
            xcr0: self.process.machine.xcr0(),
        }
    }
}
