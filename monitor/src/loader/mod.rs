//! From a path to a program that is ready for its first instruction.

pub mod elf;
pub mod image;
pub mod script;
pub mod stack;

use std::path::{Path, PathBuf};

use monitor_sys::Errno;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("{}", errno_text(*errno))]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// It is no program of this machine.
    #[error("exec format error: {reason}")]
    Format {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The program names an interpreter that cannot be used.
    #[error("interpreter {}: {source}", path.display())]
    Interpreter {
        /// What the program names.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<LoadError>,
    },
    /// Scripts that name scripts, too often.
    #[error("too many levels of interpreters")]
    TooManyInterpreters,
    /// Its memory cannot be had.
    #[error("map the program: {}", errno_text(*.0))]
    Memory(Errno),
    /// Arguments and environment do not fit on the stack.
    #[error("argument list too long")]
    ArgumentsTooLong,
}

impl LoadError {
    /// What `execve(2)` would answer.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Open { errno, .. } | Self::Memory(errno) => *errno,
            Self::Format { .. } => Errno::ENOEXEC,
            Self::Interpreter { source, .. } if source.errno() == Errno::ENOEXEC => Errno::ELIBBAD,
            Self::Interpreter { source, .. } => source.errno(),
            Self::TooManyInterpreters => Errno::ELOOP,
            Self::ArgumentsTooLong => Errno::E2BIG,
        }
    }

    /// What a shell would exit with: 127 if there is no such program, else 126.
    pub fn exit_status(&self) -> u8 {
        if self.errno() == Errno::ENOENT { 127 } else { 126 }
    }

    fn open(path: &Path, errno: Errno) -> Self {
        Self::Open { path: path.to_owned(), errno }
    }
}

/// An error in the words of C and Go alike: lower case, no number.
fn errno_text(errno: Errno) -> String {
    let text = errno.desc();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
