//! `ptrace(2)` and another process's memory, as safe functions for the double of `/dev/kkm`.
//!
//! Nothing here follows a pointer of the caller's: what is read and written is the traced thread's.
#![expect(
    unsafe_code,
    reason = "ptrace(2) and process_vm_readv(2) have no safe form for all signals"
)]

use std::{io, mem::MaybeUninit};

pub use libc::user_regs_struct as Registers;

/// The note of the whole extended state (`linux/elf.h`).
const NT_X86_XSTATE: u64 = 0x202;
/// More than any processor's extended state takes, in bytes.
const STATE_MAX: usize = 16 << 10;

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// To its next system call's begin or end.
    ToCall,
    /// To its next system call, which is not made.
    InsteadOfCall,
    /// It stays stopped, as its process is.
    Listening,
}

/// What a signal says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// `si_code`.
    pub code: i32,
    /// `si_addr`, of a fault.
    pub address: u64,
}

/// Traces a process, with all that it will make; they end with the tracer.
pub fn seize(process: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, process, 0, u64::from(options.cast_unsigned()))
}

/// A request whose arguments are numbers, or addresses of memory that it may use.
fn request(request: u32, thread: i32, address: u64, data: u64) -> io::Result<()> {
    // SAFETY: the callers in this file name requests that take numbers, or pass the address of a structure of the
    // request's own kind that is theirs and outlives the call.
    let answer = unsafe { libc::ptrace(request, thread, address, data) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn address_of<T>(value: &mut T) -> u64 {
    u64::try_from(std::ptr::from_mut(value).expose_provenance()).expect("64-bit addresses")
}

/// Waits for any traced thread to stop or end: its number and its status. `None` if there is none any more.
pub fn wait() -> io::Result<Option<(i32, i32)>> {
    loop {
        let mut status = 0;
        // SAFETY: the status is this function's own.
        let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if thread >= 0 {
            return Ok(Some((thread, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Lets a thread go on, with a signal or 0.
pub fn resume(thread: i32, how: Resume, signal: i32) -> io::Result<()> {
    let way = match how {
        Resume::ToCall => libc::PTRACE_SYSCALL,
        Resume::InsteadOfCall => libc::PTRACE_SYSEMU,
        Resume::Listening => libc::PTRACE_LISTEN,
    };
    request(way, thread, 0, u64::from(signal.unsigned_abs()))
}

/// A thread's registers.
pub fn registers(thread: i32) -> io::Result<Registers> {
    let mut registers = MaybeUninit::<Registers>::zeroed();
    request(libc::PTRACE_GETREGS, thread, 0, address_of(&mut registers))?;
    // SAFETY: all of it is numbers, and was written.
    Ok(unsafe { registers.assume_init() })
}

/// Sets them.
pub fn set_registers(thread: i32, registers: &Registers) -> io::Result<()> {
    let mut registers = *registers;
    request(libc::PTRACE_SETREGS, thread, 0, address_of(&mut registers))
}

/// A thread's extended state, in the standard format of `xsave`.
pub fn extended_state(thread: i32) -> io::Result<Vec<u8>> {
    let mut state = vec![0; STATE_MAX];
    let mut part = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
    request(libc::PTRACE_GETREGSET, thread, NT_X86_XSTATE, address_of(&mut part))?;
    state.truncate(part.iov_len);
    Ok(state)
}

/// Sets it.
pub fn set_extended_state(thread: i32, state: &[u8]) -> io::Result<()> {
    let mut state = state.to_vec();
    let mut part = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
    request(libc::PTRACE_SETREGSET, thread, NT_X86_XSTATE, address_of(&mut part))
}

/// What the signal that a thread has stopped at says.
pub fn signal_info(thread: i32) -> io::Result<SignalInfo> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    request(libc::PTRACE_GETSIGINFO, thread, 0, address_of(&mut info))?;
    // SAFETY: all of it is numbers, and was written.
    let info = unsafe { info.assume_init() };
    // SAFETY: the bytes are there in every kind of signal; the caller asks for them where they are an address.
    let address = unsafe { info.si_addr() };
    let address = u64::try_from(address.addr()).expect("64-bit addresses");
    Ok(SignalInfo { code: info.si_code, address })
}

/// The number that a thread's event tells: of a new thread or process, its own.
pub fn event_message(thread: i32) -> io::Result<u64> {
    let mut message = 0_u64;
    request(libc::PTRACE_GETEVENTMSG, thread, 0, address_of(&mut message))?;
    Ok(message)
}

/// Whether a thread that stopped for a system call stands at its end.
pub fn is_at_end_of_call(thread: i32) -> io::Result<bool> {
    const GET_SYSCALL_INFO: u32 = 0x420e;
    const EXIT: u8 = 2;
    let mut info = [0_u64; 16];
    request(GET_SYSCALL_INFO, thread, 128, address_of(&mut info))?;
    Ok(info[0].to_le_bytes()[0] == EXIT)
}

/// Reads a process's memory as the process itself could.
pub fn read(process: i32, address: u64, into: &mut [u8]) -> io::Result<()> {
    let ours = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let theirs = place(address, into.len());
    // SAFETY: the kernel writes no more than `into` has room for; the other address is the other process's.
    let count =
        unsafe { libc::process_vm_readv(process, &raw const ours, 1, &raw const theirs, 1, 0) };
    whole(count, into.len())
}

/// Writes a process's memory as the process itself could.
pub fn write(process: i32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let ours = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let theirs = place(address, bytes.len());
    // SAFETY: the kernel reads `bytes` and does not write it; the other address is the other process's.
    let count =
        unsafe { libc::process_vm_writev(process, &raw const ours, 1, &raw const theirs, 1, 0) };
    whole(count, bytes.len())
}

fn place(address: u64, len: usize) -> libc::iovec {
    let address = usize::try_from(address).expect("64-bit addresses");
    libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: len }
}

fn whole(count: isize, len: usize) -> io::Result<()> {
    match usize::try_from(count) {
        Ok(count) if count == len => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
