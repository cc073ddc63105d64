//! What `Exec`, `Attach` and `PortForward` lead to: an address at which a kubelet's clients speak the
//! websocket protocol (RFC 6455). The first byte of each message names its channel.

use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Input of the program, or both ways of a forwarded port.
pub const INPUT: u8 = 0;
/// The program's output.
pub const OUTPUT: u8 = 1;
/// The program's standard error.
pub const ERROR: u8 = 2;
/// How the program has ended, as JSON.
pub const STATUS: u8 = 3;
/// The terminal's size, as JSON.
pub const SIZE: u8 = 4;

const CHANNELS: usize = 5;

/// How long a message may take, in seconds.
const PATIENCE: i64 = 60;

/// Sent by the client: the last part of a message, in bytes.
const BINARY: u8 = 0x82;
/// Lengths follow if they do not fit; a client's messages have a mask, which may be zero.
const MASKED: u8 = 0x80;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;
/// The kind of a message that is the last.
const CLOSE: u8 = 8;

/// An open stream, and what its channels have said.
#[derive(Debug)]
pub struct Stream {
    client: Child,
    input: ChildStdin,
    output: ChildStdout,
    said: [Vec<u8>; CHANNELS],
}

impl Stream {
    /// Opens what an address names, by a command that connects its input and output to it.
    pub(super) fn open(connect: &mut Command, path: &str) -> Result<Self> {
        let mut client = connect.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (client.stdin.take(), client.stdout.take());
        let (input, output) = (input.context("it is a pipe")?, output.context("it is a pipe")?);
        let mut stream = Self { client, input, output, said: Default::default() };
        write!(
            stream.input,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\
             Origin: http://localhost\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(stream.take::<1>()?);
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 101 "), "{path}: {answer}");
        Ok(stream)
    }

    /// Sends a message of at most 125 bytes.
    pub fn write(&mut self, channel: u8, text: &str) -> Result<()> {
        let length = u8::try_from(text.len() + 1)?;
        ensure!(length < TWO_BYTES, "a long message");
        let frame = [&[BINARY, MASKED | length, 0, 0, 0, 0, channel], text.as_bytes()].concat();
        self.input.write_all(&frame).context("write to the stream")
    }

    /// What a channel has said so far.
    pub fn said(&self, channel: u8) -> String {
        String::from_utf8_lossy(&self.said[usize::from(channel)]).into_owned()
    }

    /// Reads until a channel has said this.
    pub fn read_until(&mut self, channel: u8, text: &str) -> Result<String> {
        while !self.said(channel).contains(text) {
            ensure!(self.read_message()?, "the stream ends after {:?}", self.said(channel));
        }
        Ok(self.said(channel))
    }

    /// Reads to the end.
    pub fn read_to_end(&mut self) -> Result<()> {
        while self.read_message()? {}
        Ok(())
    }

    /// Reads a message; `false` if there will be no more.
    fn read_message(&mut self) -> Result<bool> {
        let [kind, length] = match self.take() {
            Err(error) if is_end(&error) => return Ok(false),
            header => header?,
        };
        let length = match length {
            TWO_BYTES => u16::from_be_bytes(self.take()?).into(),
            EIGHT_BYTES => usize::try_from(u64::from_be_bytes(self.take()?))?,
            short => short.into(),
        };
        let mut message = vec![0; length];
        self.fill(&mut message)?;
        if kind & 0xf == CLOSE {
            return Ok(false);
        }
        if let Some((&channel, text)) = message.split_first() {
            let channel = self.said.get_mut(usize::from(channel));
            channel.context("a channel that there is not")?.extend(text);
        }
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
            let mut waited_for = [PollFd::new(&self.output, PollFlags::IN)];
            ensure!(poll(&mut waited_for, Some(&patience))? > 0, "no message, so far: {self:?}");
            let count = self.output.read(bytes)?;
            if count == 0 {
                return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            bytes = &mut bytes[count..];
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.client.kill());
        drop(self.client.wait());
    }
}

fn is_end(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
}
