//! krun's own end of a console: the socket that brings the terminal's master side.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The socket in a container's directory.
const NAME: &str = "console.sock";

/// A socket that waits for the master side; libcontainer connects to it.
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    listener: UnixListener,
    /// Keeps [`ConsoleSocket::path`] short and valid.
    directory: File,
}

impl ConsoleSocket {
    /// Listens in `directory`.
    pub(crate) fn listen(directory: &Path) -> io::Result<Self> {
        let directory = File::open(directory)?;
        let listener = UnixListener::bind(path_in(&directory))?;
        Ok(Self { listener, directory })
    }

    /// Where to connect; good in this process only. A state directory's own path may be
    /// longer than a socket's may be.
    pub(crate) fn path(&self) -> PathBuf {
        path_in(&self.directory)
    }

    /// The master side, once the container's first process has sent it.
    pub(crate) fn receive(self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        let mut name = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut name)];
        recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let received = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { return None };
            descriptors.next()
        });
        received.ok_or_else(|| io::Error::other("no terminal was sent"))
    }
}

fn path_in(directory: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(NAME)
}
