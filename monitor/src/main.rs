//! `km`: one Linux program in a virtual machine.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use monitor::command_line;

/// The status of a failure that is not the program's.
const HOST_FAILED: u8 = 125;

fn main() -> ExitCode {
    match command_line::main() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            use std::io::Write;
            // Standard error may be closed; the status tells all the same.
            _ = writeln!(std::io::stderr(), "km: {error:#}");
            ExitCode::from(HOST_FAILED)
        }
    }
}
