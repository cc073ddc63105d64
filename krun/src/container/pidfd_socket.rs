//! `--pidfd-socket`: a caller's socket that receives a descriptor of the new process.
//!
//! As with runc, the message is what kind of process it is, and the descriptor comes with it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::process::ProcessName;

/// The first process of a container, in runc's word.
pub(crate) const CONTAINER: &str = "standard";
/// A further process, in runc's word.
pub(crate) const FURTHER: &str = "setns";

/// A connection to the caller's socket.
#[derive(Debug)]
pub(crate) struct PidfdSocket {
    stream: UnixStream,
    kind: &'static str,
}

impl PidfdSocket {
    /// Connects to the socket at `path`, if the caller names one: before anything is made.
    pub(crate) fn connect(path: Option<&Path>, kind: &'static str) -> io::Result<Option<Self>> {
        path.map(|path| Ok(Self { stream: UnixStream::connect(path)?, kind })).transpose()
    }

    /// Sends a descriptor of the process.
    pub(crate) fn send(&self, process: ProcessName) -> io::Result<()> {
        let handle = process.handle()?;
        let descriptors = [handle.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(self.kind.as_bytes())];
        sendmsg(&self.stream, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::{CONTAINER, PidfdSocket};

    #[test]
    fn without_a_path_there_is_no_socket() {
        assert!(PidfdSocket::connect(None, CONTAINER).unwrap().is_none());
    }

    #[test]
    fn a_path_must_lead_to_a_socket_that_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");

        assert!(PidfdSocket::connect(Some(&path), CONTAINER).is_err());
        drop(UnixListener::bind(&path).unwrap());
        assert!(PidfdSocket::connect(Some(Path::new(&path)), CONTAINER).is_err());
    }
}
