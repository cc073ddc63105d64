//! Whether a program could be executed, found out before the old one is given up.
//!
//! For that its file is opened, and what its first lines and headers name. Who chose these names is the guest: they
//! may be of a file by which the monitor's memory can be read, and what is opened for reading has a number that the
//! guest's other threads can guess. So with such threads it is known what a file is before it is opened.

use std::path::Path;

use monitor_sys::Errno;

use crate::{loader::image::Executable, thread::Thread};

/// What a program turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file itself is mapped.
    Program,
    /// The file is a script.
    Script,
}

/// Finds out whether a program could be executed, and why not.
pub fn look(thread: &Thread, path: &Path, arguments: Vec<Vec<u8>>) -> Result<Kind, Errno> {
    let opened = if thread.is_alone() {
        Executable::open(path, arguments)
    } else {
        Executable::open_among_threads(path, arguments)
    };
    let executable = opened.map_err(|error| error.errno())?;
    Ok(if executable.path == path { Kind::Program } else { Kind::Script })
}
