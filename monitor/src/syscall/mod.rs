//! Answers the guest's system calls: looks the number up in the policy table,
//! forwards, handles or refuses, and puts the answer where the guest expects it.

pub mod table;
pub mod trace;

mod aio;
mod asking;
mod clone_arguments;
mod dispatch;
mod execution;
mod files;
mod filtering;
mod growth;
mod identity;
mod keys;
mod limits;
mod memory;
mod misc;
mod paths;
mod polling;
mod process_control;
mod processes;
mod signals;
mod sockets;
mod threads;

use monitor_sys::{
    Errno,
    abi::{Forwardable, number},
    forward,
    host_call::{Outcome, decode},
};
use table::Policy;

pub(crate) use paths::about_descriptor;

use crate::{arch::x86_64::registers::SYSCALL_LEN, thread::Thread};

/// `CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// The six arguments of a call.
pub type Args = [u64; 6];

/// What comes of a call that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The call's value.
    Value(u64),
    /// A signal came first: the guest makes the call again after its handler.
    Again,
    /// The registers already are what the guest shall go on with.
    Registers,
    /// The thread ends, with this status.
    EndThread(u32),
}

/// The answer to a call.
pub type Answer = Result<Reply, Errno>;

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Back to the guest.
    Resume,
    /// The thread ends, with this status.
    EndThread(u32),
}

/// Answers the call that the guest's registers describe.
pub fn serve(thread: &mut Thread) -> Flow {
    let registers = *thread.cpu.registers();
    // The kernel takes the number from `eax`.
    let (number, args) = (u64::from(low_word(registers.rax)), registers.arguments());
    let changes_thread = identity::changes(number, args);
    if changes_thread {
        identity::prepare(thread, number, args);
    }
    growth::reach(&thread.process.memory, number, args);
    let refused = dispatch::dispatched(thread, number);
    let refused = refused.or_else(|| filtering::filtered(thread, number, args));
    let answer = refused.unwrap_or_else(|| answer(thread, number, args));
    if changes_thread {
        identity::adopt(thread);
    }
    if thread.process.host.trace.is_some() {
        trace::print(&thread.process, number, args, answer);
    }
    let result = match answer {
        Ok(Reply::Value(value)) => value,
        Err(errno) => error_word(errno),
        Ok(Reply::Again) => {
            thread.cpu.registers_mut().rip = registers.rip.wrapping_sub(SYSCALL_LEN);
            number
        }
        Ok(Reply::Registers) => return Flow::Resume,
        Ok(Reply::EndThread(status)) => return Flow::EndThread(status),
    };
    thread.cpu.registers_mut().rax = result;
    Flow::Resume
}

/// What the tables answer to a call, without its filters being asked.
pub(crate) fn answer(thread: &mut Thread, number: u64, args: Args) -> Answer {
    if !closes(number) {
        return by_table(thread, number, args);
    }
    thread.process.helper.kinds().forget();
    let answer = by_table(thread, number, args);
    thread.process.helper.kinds().forget();
    if answer.is_ok() && changes_standard_error(number, args) {
        thread.process.follow_standard_error();
    }
    answer
}

/// Whether a call that [`closes`] does so to descriptor 2.
fn changes_standard_error(number: u64, args: Args) -> bool {
    let [first, second, third] = [args[0], args[1], args[2]].map(low_word);
    match usize::try_from(number) {
        Ok(number::CLOSE) => first == 2,
        Ok(number::CLOSE_RANGE) => first <= 2 && third & CLOSE_RANGE_CLOEXEC == 0,
        _ => second == 2,
    }
}

/// Whether a descriptor is closed by a call, so that its number can become another file's.
fn closes(number: u64) -> bool {
    const CLOSING: [usize; 4] = [number::CLOSE, number::DUP2, number::DUP3, number::CLOSE_RANGE];
    usize::try_from(number).is_ok_and(|number| CLOSING.contains(&number))
}

fn by_table(thread: &mut Thread, number: u64, args: Args) -> Answer {
    match table::policy(number) {
        Some(Policy::Forward(call)) => {
            memory::note(thread, number);
            forward(thread, *call, args)
        }
        Some(Policy::Handle(handler)) => handler(thread, args),
        Some(Policy::Refuse(errno, _)) => Err(*errno),
        None => {
            #[cfg(feature = "taken-over")]
            if let Some(result) = monitor_sys::taken_over::make(number, args) {
                return Ok(Reply::Value(result));
            }
            thread.process.note_unknown_call(number);
            Err(Errno::ENOSYS)
        }
    }
}

/// Makes a call on the host for the guest.
pub(crate) fn forward(thread: &Thread, call: Forwardable, args: Args) -> Answer {
    reply(forward::forward(thread.process.memory.guest_memory(), call, args)?)
}

/// The host's outcome as the guest's reply.
fn reply(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Returned(result) => decode(result).map(Reply::Value),
        Outcome::Rewind => Ok(Reply::Again),
    }
}

/// An error as a call returns it.
pub(crate) fn error_word(errno: Errno) -> u64 {
    i64::from(errno_number(errno)).wrapping_neg().cast_unsigned()
}

/// The number Linux has for an error.
#[expect(clippy::as_conversions, reason = "the only way to an enumeration's number")]
fn errno_number(errno: Errno) -> i32 {
    errno as i32
}

/// The low 32 bits of an argument, as the kernel takes an `unsigned int`.
fn low_word(argument: u64) -> u32 {
    u32::try_from(argument & 0xffff_ffff).expect("masked to 32 bits")
}
