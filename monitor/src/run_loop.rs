//! Runs a guest thread: into the guest, out again, answer, signals, and once more.

use monitor_sys::{process, signals};

use crate::{
    arch::x86_64::exceptions::{Access, Vector},
    exitless,
    memory::fault::Verdict,
    platform::{Exit, PlatformError},
    process::MONITOR_FAILED,
    signal::Fault,
    syscall::{self, Flow},
    thread::Thread,
};

/// Codes of `siginfo_t` (`asm-generic/siginfo.h`).
mod code {
    pub(super) const SI_KERNEL: i32 = 0x80;
    pub(super) const ILL_ILLOPN: i32 = 2;
    pub(super) const FPE_INTDIV: i32 = 1;
    pub(super) const FPE_FLTINV: i32 = 7;
    pub(super) const SEGV_MAPERR: i32 = 1;
    pub(super) const SEGV_ACCERR: i32 = 2;
    pub(super) const BUS_ADRALN: i32 = 1;
    pub(super) const BUS_ADRERR: i32 = 2;
    pub(super) const TRAP_TRACE: i32 = 2;
}

/// Runs a thread to its end and returns its status. A platform that fails is the
/// process's end.
pub fn run_to_end(thread: &mut Thread) -> u32 {
    run(thread).unwrap_or_else(|error| {
        thread.process.log(&format!("the guest cannot go on: {error}"));
        thread.process.tell_stats();
        process::exit_group(MONITOR_FAILED)
    })
}

/// Runs a thread until it exits. Returns its status.
pub fn run(thread: &mut Thread) -> Result<u32, PlatformError> {
    loop {
        deliver_signals(thread)?;
        let exit = exitless::run(thread)?;
        if let Some(stats) = &thread.process.stats {
            stats.left(&exit, thread.cpu.registers().rax);
        }
        match exit {
            Exit::Syscall => {
                thread.denials = 0;
                if let Flow::EndThread(status) = syscall::serve(thread) {
                    return Ok(status);
                }
                exitless::left(thread);
            }
            Exit::Posted(posting) => {
                thread.denials = 0;
                if let Flow::EndThread(status) = exitless::settle(thread, posting) {
                    return Ok(status);
                }
            }
            Exit::PageFault { address, access } => page_fault(thread, address, access)?,
            Exit::NothingBehind { address } => nothing_behind(thread, address)?,
            Exit::Exception { vector, code } => exception(thread, vector, code)?,
            Exit::Interrupted => {}
        }
    }
}

/// Delivers what was caught. Each delivery may unblock the next.
fn deliver_signals(thread: &mut Thread) -> Result<(), PlatformError> {
    if signals::has_caught() {
        exitless::masks::settle(thread);
    }
    while let Some(caught) = signals::take_caught() {
        let temporary = thread.temporary_mask.take();
        thread.receiver().deliver(&caught, temporary)?;
    }
    thread.temporary_mask = None;
    Ok(())
}

/// The host denied what the mapping allows: the file ends before that page. Or
/// another thread changed the mapping in between: then the program's next try shows
/// what is true now. A page that can be read, but is denied again and again, cannot
/// be written: its file system has no room.
fn nothing_behind(thread: &mut Thread, address: u64) -> Result<(), PlatformError> {
    const TRIES: u32 = 32;
    thread.denials += 1;
    if thread.denials < TRIES && !thread.process.memory.has_nothing_behind(address) {
        return Ok(());
    }
    thread.denials = 0;
    let fault = if thread.process.memory.is_guard(address) {
        at_address(libc::SIGSEGV, code::SEGV_MAPERR, address)
    } else {
        at_address(libc::SIGBUS, code::BUS_ADRERR, address)
    };
    raise(thread, &fault)
}

fn page_fault(thread: &mut Thread, address: u64, access: Access) -> Result<(), PlatformError> {
    let code = match thread.process.memory.judge(address, access) {
        Verdict::Allowed => return thread.cpu.permit(address, access),
        Verdict::Forbidden => code::SEGV_ACCERR,
        Verdict::Unmapped => code::SEGV_MAPERR,
    };
    thread.denials = 0;
    thread.cpu.deny()?;
    let mut fault = at_address(libc::SIGSEGV, code, address);
    fault.error = error_code(access, code == code::SEGV_ACCERR);
    raise(thread, &fault)
}

/// The page fault's error code as Linux's programs see it: present, write, user,
/// instruction.
fn error_code(access: Access, present: bool) -> u64 {
    let kind = match access {
        Access::Read => 4,
        Access::Write => 6,
        Access::Execute => 0x14,
    };
    kind | u64::from(present)
}

fn at_address(signal: i32, code: i32, address: u64) -> Fault {
    let signal = signal.cast_unsigned();
    Fault { signal, code, address, vector: Vector::PAGE_FAULT.0, error: 4, ..Fault::default() }
}

/// Turns an exception into the signal Linux makes of it
/// (`arch/x86/kernel/traps.c`).
fn exception(thread: &mut Thread, vector: Vector, error: u64) -> Result<(), PlatformError> {
    let rip = thread.cpu.registers().rip;
    let (signal, code, address) = match vector {
        Vector::DIVIDE_ERROR => (libc::SIGFPE, code::FPE_INTDIV, rip),
        Vector::DEBUG => (libc::SIGTRAP, code::TRAP_TRACE, rip),
        Vector::BREAKPOINT => (libc::SIGTRAP, code::SI_KERNEL, 0),
        Vector::INVALID_OPCODE => (libc::SIGILL, code::ILL_ILLOPN, rip),
        Vector::FLOATING_POINT | Vector::SIMD => (libc::SIGFPE, code::FPE_FLTINV, rip),
        Vector::ALIGNMENT_CHECK => (libc::SIGBUS, code::BUS_ADRALN, 0),
        Vector::STACK_SEGMENT => (libc::SIGBUS, code::SI_KERNEL, 0),
        _ => (libc::SIGSEGV, code::SI_KERNEL, 0),
    };
    let signal = signal.cast_unsigned();
    let vector = vector.0;
    raise(thread, &Fault { signal, code, address, vector, error, ..Fault::default() })
}

/// Raises a fault's signal, which may be the program's end.
fn raise(thread: &mut Thread, fault: &Fault) -> Result<(), PlatformError> {
    if thread.process.stats.is_some() && thread.receiver().is_deadly(fault.signal) {
        thread.process.tell_stats();
    }
    thread.receiver().raise(fault)
}
