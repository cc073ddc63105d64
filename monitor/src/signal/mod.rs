//! Signals as the guest sees them: what it wants done about each, where its
//! handlers run, and the frames they return through.
//!
//! Queues, masks and the choice of a thread are Linux's own (see
//! `monitor_sys::signals`); here a caught signal becomes a call of the guest's
//! handler.

pub mod action;
pub mod deliver;
pub mod frame;
pub mod stack;

/// What a fault tells the program: the fields of `siginfo_t` for it, and what
/// the saved context shows beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The signal.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
    /// The word behind `si_addr`: for `SIGSYS` the call's number and architecture.
    pub detail: u64,
    /// `si_errno`.
    pub errno: u32,
    /// The exception's vector, for `uc_mcontext`.
    pub vector: u8,
    /// The exception's error code, for `uc_mcontext`.
    pub error: u64,
}
