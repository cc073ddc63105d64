//! `#!` files: the program is the interpreter the first line names.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// As much of the file as Linux looks at (`BINPRM_BUF_SIZE`), in bytes.
pub const HEAD_LEN: usize = 256;

/// What a script's first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program that reads the script.
    pub path: PathBuf,
    /// Its one argument, with all blanks that are inside it.
    pub argument: Option<Vec<u8>>,
}

/// Reads the first line, given the file's first bytes. `None` if it is no
/// script, or names no interpreter, or the name may be cut off (`ENOEXEC`).
pub fn parse(head: &[u8]) -> Option<Interpreter> {
    let rest = head.strip_prefix(b"#!")?;
    let line = match rest.iter().position(|&byte| byte == b'\n' || byte == 0) {
        Some(end) => &rest[..end],
        None if head.len() < HEAD_LEN => rest,
        // Without an end, the name must at least be followed by a blank.
        None if trim(rest).iter().any(|&byte| is_blank(byte)) => rest,
        None => return None,
    };
    let line = trim(line);
    let end = line.iter().position(|&byte| is_blank(byte)).unwrap_or(line.len());
    let (name, argument) = line.split_at(end);
    let argument = trim(argument);
    (!name.is_empty()).then(|| Interpreter {
        path: PathBuf::from(OsString::from_vec(name.to_vec())),
        argument: (!argument.is_empty()).then(|| argument.to_vec()),
    })
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{HEAD_LEN, parse};

    fn parsed(head: &[u8]) -> Option<(String, Option<Vec<u8>>)> {
        parse(head).map(|found| (found.path.display().to_string(), found.argument))
    }

    #[test]
    fn the_line_splits_into_name_and_one_argument() {
        let sh = || "/bin/sh".to_owned();
        assert_eq!(parsed(b"#!/bin/sh\necho"), Some((sh(), None)));
        assert_eq!(parsed(b"#! /bin/sh\t-e -u  \n"), Some((sh(), Some(b"-e -u".to_vec()))));
        assert_eq!(parsed(b"#!/bin/sh"), Some((sh(), None)));
    }

    #[test]
    fn a_line_without_a_name_is_no_script() {
        assert_eq!(parsed(b"#!\n"), None);
        assert_eq!(parsed(b"#!   \n"), None);
        assert_eq!(parsed(b"echo"), None);
        assert_eq!(parsed(b""), None);
    }

    #[test]
    fn a_name_that_may_be_cut_off_is_refused() {
        let mut head = b"#!/".to_vec();
        head.resize(HEAD_LEN, b'x');
        assert_eq!(parsed(&head), None);
        head[100] = b' ';
        assert!(parsed(&head).is_some());
    }
}
