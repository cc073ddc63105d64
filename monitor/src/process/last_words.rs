//! What a process says when it ends, which shall not change how it ends: by a signal because nobody reads it, or
//! never because nobody reads on.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use monitor_sys::signals;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// So much is written at once: `PIPE_BUF`, which other writers leave whole, and for which there is room in a pipe
/// that can be written to.
const PIECE: usize = 4096;
/// How long readers are waited for, all in all.
const LIMIT: Duration = Duration::from_millis(100);

/// Writes lines, as far as that is possible soon.
pub(super) fn write(log: &File, text: &str) {
    let until = Instant::now() + LIMIT;
    signals::without_write_signals(|| {
        pieces(text).into_iter().all(|piece| write_piece(log, piece.as_bytes(), until));
    });
}

/// Whole lines, as many as go in one piece.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut end) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if end > start && end + line.len() - start > PIECE {
            pieces.push(&text[start..end]);
            start = end;
        }
        end += line.len();
    }
    pieces.push(&text[start..end]);
    pieces
}

/// Says whether all of it was written.
fn write_piece(log: &File, mut piece: &[u8], until: Instant) -> bool {
    while !piece.is_empty() {
        if !is_ready(log, until) {
            return false;
        }
        match rustix::io::write(log, &piece[..piece.len().min(PIECE)]) {
            Ok(written) if written > 0 => piece = &piece[written..],
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => {}
            _ => return false,
        }
    }
    true
}

/// Whether it can be written to without waiting, or fails at once.
fn is_ready(log: &File, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).ok();
    let mut files = [PollFd::new(log, PollFlags::OUT)];
    left.is_some_and(|left| poll(&mut files, Some(&left)).is_ok_and(|ready| ready > 0))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        time::{Duration, Instant},
    };

    use rustix::pipe::{PipeFlags, pipe, pipe_with};

    use super::{PIECE, pieces, write};

    fn lines(count: usize) -> String {
        "some words in a line\n".repeat(count)
    }

    #[test]
    fn pieces_are_whole_lines() {
        let text = lines(1000);
        let parts = pieces(&text);
        assert_eq!(parts.concat(), text);
        assert!(parts.iter().all(|part| part.len() <= PIECE && part.ends_with('\n')));
        assert!(parts.len() <= text.len() / (PIECE - 100) + 1);
        let long = "x".repeat(3 * PIECE);
        assert_eq!(pieces(&format!("a\n{long}\nb\n")), ["a\n", &format!("{long}\n"), "b\n"]);
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (_reader, writer) = pipe().unwrap();
        let start = Instant::now();
        write(&File::from(writer), &lines(10_000));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn who_has_gone_sends_no_signal() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        write(&File::from(writer), &lines(10));
    }

    #[test]
    fn all_of_it_comes_through_a_pipe_that_waits_for_nothing() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let flags = rustix::fs::fcntl_getfl(&reader).unwrap() - rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&reader, flags).unwrap();
        let all = std::thread::spawn(move || {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).map(|_| text)
        });
        let mut writer = File::from(writer);
        writer.write_all(b"first\n").unwrap();
        write(&writer, &lines(8000));
        drop(writer);
        assert_eq!(all.join().unwrap().unwrap(), format!("first\n{}", lines(8000)));
    }
}
