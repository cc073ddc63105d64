//! `km --strace`: prints calls as strace does, from the facts table.

use std::{fmt::Write as _, io::Write as _};

use monitor_sys::{
    abi::{self, Arg},
    guest_copy,
};

use super::{Answer, Args, Reply, errno_number, low_word};
use crate::process::Process;

/// As many bytes of a buffer are shown, as by strace.
const BYTES_SHOWN: u64 = 32;
/// As many bytes of a path are shown.
const PATH_SHOWN: usize = 4096;
/// `AT_FDCWD`.
const WORKING_DIRECTORY: i32 = -100;

/// Writes one finished call to the trace. A trace that cannot be written is no
/// reason to stop the guest.
pub fn print(process: &Process, number: u64, args: Args, answer: Answer) {
    let Some(mut trace) = process.host.trace.as_ref() else {
        return;
    };
    let mut line = describe(number, args, answer);
    line.push('\n');
    _ = trace.write_all(line.as_bytes());
}

/// One call and its result, as a line.
pub fn describe(number: u64, args: Args, answer: Answer) -> String {
    let mut line = String::new();
    match abi::lookup(number) {
        Some(call) => {
            line.push_str(call.name);
            line.push('(');
            for (at, kind) in call.args.iter().enumerate() {
                let separator = if at == 0 { "" } else { ", " };
                line.push_str(separator);
                line.push_str(&argument(*kind, at, args, answer));
            }
        }
        None => _ = write!(line, "syscall_{number:#x}("),
    }
    line.push_str(") = ");
    line.push_str(&result(answer));
    line
}

fn argument(kind: Arg, at: usize, args: Args, answer: Answer) -> String {
    let value = args[at];
    match kind {
        Arg::Int | Arg::Word | Arg::Most => signed(value),
        Arg::Fd => descriptor(value),
        Arg::Str => string(value),
        Arg::In(count) => buffer(value, args[count]),
        Arg::Out(count) => match answer {
            Ok(Reply::Value(written)) => buffer(value, written.min(args[count])),
            _ => address(value),
        },
        Arg::Hex if value == 0 => "0".to_owned(),
        Arg::Hex => format!("{value:#x}"),
        Arg::Struct(_)
        | Arg::Array(..)
        | Arg::IovIn(_)
        | Arg::IovOut(_)
        | Arg::Bits(_)
        | Arg::Span(_)
        | Arg::Opaque => address(value),
    }
}

/// C `int`s come with or without their sign extended.
fn signed(value: u64) -> String {
    let low = low_word(value).cast_signed();
    if value >> 32 == 0 && low < 0 { low.to_string() } else { value.cast_signed().to_string() }
}

fn descriptor(value: u64) -> String {
    match low_word(value).cast_signed() {
        WORKING_DIRECTORY => "AT_FDCWD".to_owned(),
        number => number.to_string(),
    }
}

fn address(value: u64) -> String {
    if value == 0 { "NULL".to_owned() } else { format!("{value:#x}") }
}

fn string(at: u64) -> String {
    match guest_copy::read_string(at, PATH_SHOWN) {
        Ok(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Err(_) => address(at),
    }
}

fn buffer(at: u64, len: u64) -> String {
    let shown = usize::try_from(len.min(BYTES_SHOWN)).expect("at most 32");
    let mut bytes = vec![0; shown];
    if guest_copy::read_bytes(at, &mut bytes).is_err() {
        return address(at);
    }
    let more = if len > BYTES_SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", bytes.escape_ascii())
}

fn result(answer: Answer) -> String {
    match answer {
        Ok(Reply::Value(value)) if value > 0xffff_ffff => format!("{value:#x}"),
        Ok(Reply::Value(value)) => value.to_string(),
        Ok(Reply::Again) => "? ERESTARTSYS (To be restarted)".to_owned(),
        Ok(Reply::Registers | Reply::EndThread(_)) => "?".to_owned(),
        Err(errno) => {
            debug_assert!(errno_number(errno) > 0, "errors have numbers");
            format!("-1 {errno:?} ({})", errno.desc())
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_sys::{
        Errno, guest_copy,
        guest_memory::{GuestMemory, GuestSpan},
    };

    use super::{Reply, describe};

    const AT: u64 = 0x60_0000;

    fn with_text(text: &[u8]) -> GuestMemory {
        let memory = GuestMemory::claim().unwrap();
        memory.map(GuestSpan::new(AT, 4096).unwrap(), 3, 0x22, None, 0).unwrap();
        guest_copy::write_bytes(AT, text).unwrap();
        memory
    }

    #[test]
    fn calls_look_as_they_do_in_strace() {
        let _memory = with_text(b"/etc/passwd\0hello\n");
        let minus_100 = u64::MAX - 99;

        let lines = [
            describe(257, [minus_100, AT, 0x8_0000, 0, 0, 0], Ok(Reply::Value(3))),
            describe(1, [1, AT + 12, 6, 0, 0, 0], Ok(Reply::Value(6))),
            describe(0, [0, AT, 4, 0, 0, 0], Ok(Reply::Value(4))),
            describe(2, [8, 0, 0, 0, 0, 0], Err(Errno::EFAULT)),
            describe(61, [0xffff_ffff, 0, 0, 0, 0, 0], Err(Errno::ECHILD)),
            describe(231, [0; 6], Ok(Reply::EndThread(0))),
            describe(999, [0; 6], Err(Errno::ENOSYS)),
        ];

        insta::assert_snapshot!(lines.join("\n"), @r#"
        openat(AT_FDCWD, "/etc/passwd", 0x80000, 0) = 3
        write(1, "hello\n", 6) = 6
        read(0, "/etc", 4) = 4
        open(0x8, 0, 0) = -1 EFAULT (Bad address)
        wait4(-1, NULL, 0, NULL) = -1 ECHILD (No child processes)
        exit_group(0) = ?
        syscall_0x3e7() = -1 ENOSYS (Function not implemented)
        "#);
    }

    #[test]
    fn long_buffers_are_cut_as_by_strace() {
        let _memory = with_text(&[b'x'; 40]);

        let line = describe(1, [1, AT, 40, 0, 0, 0], Ok(Reply::Value(40)));

        assert_eq!(line, format!("write(1, \"{}\"..., 40) = 40", "x".repeat(32)));
    }
}
