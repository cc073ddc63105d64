//! Who is asked about calls: the agent behind `linux.seccomp.listenerPath`, for `SCMP_ACT_NOTIFY`.
//!
//! The container's process loads a filter that gives a descriptor to listen at, and passes that to
//! a child of krun's, which sends it on to the agent: at once, as runc does, since the process's
//! next call may be one to ask about. krun has connected to the agent before anything is made.
//!
//! The filter of a native program notifies of the program's calls. In a virtual machine it is the
//! monitor that asks the profile, and makes the calls in question from a page by which this filter
//! knows them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use krun_policy::Mode;
use krun_seccomp::{self as filter, FilterError};
use monitor_launch::ASKING_PAGE;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde_json::{Value, json};
use spec_compat::{Config, State, Status};

/// An agent that krun is connected to, and what makes its descriptor.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: UnixStream,
    metadata: Option<String>,
    filter: Vec<u8>,
    flags: u32,
}

/// The child that waits for the descriptor.
#[derive(Debug)]
pub(crate) struct Messenger(Pid);

/// What the container's process does about it.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    way_out: Rc<OwnedFd>,
    filter: Rc<Vec<u8>>,
    flags: u32,
}

/// Whether the profile wants an agent to be asked.
pub(crate) fn is_asked(config: &Config) -> bool {
    config.seccomp_profile().is_some_and(filter::asks)
}

impl Agent {
    /// Connects to the agent of the profile, if the profile wants one to be asked.
    pub(crate) fn connect(config: &Config, mode: Mode) -> Result<Option<Self>, FilterError> {
        let Some(profile) = config.seccomp_profile().filter(|profile| filter::asks(profile)) else {
            return Ok(None);
        };
        let path = profile.listener_path().as_deref().filter(|path| path != &Path::new(""));
        let path = path.ok_or(FilterError::NoListener)?;
        let socket = UnixStream::connect(path)
            .map_err(|source| FilterError::Agent { path: path.to_owned(), source })?;
        let filter = match mode {
            Mode::Native => filter::asking_part(&filter::compile_natively(profile)?),
            Mode::Vm => calls_from(ASKING_PAGE),
        };
        let flags = filter::flags_of_listener(profile);
        let metadata = profile.listener_metadata().clone().filter(|text| !text.is_empty());
        Ok(Some(Self { socket, metadata, filter, flags }))
    }

    /// Starts the child that passes the descriptor on.
    fn await_listener(self, state: &State) -> io::Result<(Messenger, Listening)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // The process does not know its number on the host: the kernel says it.
        set_socket_passcred(&ours, true)?;
        let Self { socket, metadata, filter, flags } = self;
        let mut theirs = Some(theirs);
        let child = krun_sys::fork_for_status(|| {
            drop(theirs.take());
            let done = receive(&ours).and_then(|received| match received {
                Some((listener, pid)) => {
                    send(&socket, &message(state, pid, metadata.as_deref()), &listener)
                }
                // There is no process any more.
                None => Ok(()),
            });
            done.inspect_err(|error| tracing::error!("linux.seccomp.listenerPath: {error}"))
                .is_err()
                .into()
        })?;
        let way_out = Rc::new(theirs.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok((Messenger(child), Listening { way_out, filter: Rc::new(filter), flags }))
    }
}

/// Starts the child that passes the descriptor on to the agent, if there is one, with the state of the
/// container as it is when the process is made.
pub(crate) fn await_listener(
    agent: Option<Agent>,
    state: &State,
) -> io::Result<(Option<Messenger>, Option<Listening>)> {
    Ok(agent.map(|agent| agent.await_listener(state)).transpose()?.unzip())
}

impl Messenger {
    /// Waits until the agent has been told; the container's process exists, or never will.
    pub(crate) fn wait(self) -> io::Result<()> {
        let told = waitpid(self.0, None)? == WaitStatus::Exited(self.0, 0);
        if told { Ok(()) } else { Err(io::Error::other("the agent could not be told")) }
    }
}

impl Listening {
    /// Loads the filter into this process and passes on what listens to it.
    pub(super) fn begin(&self) -> Result<(), String> {
        let host = |reason: &dyn std::fmt::Display| format!("notify the seccomp agent: {reason}");
        let listener = krun_sys::load_seccomp_listener(&self.filter, self.flags);
        let listener = listener.map_err(|error| host(&error))?;
        send(&*self.way_out, &json!({}), &listener).map_err(|error| host(&error))
    }
}

/// The specification's `ContainerProcessState`. The first process is told about while it is made;
/// with a further one comes the state of the container.
fn message(state: &State, pid: i32, metadata: Option<&str>) -> Value {
    let state_pid = if state.status == Status::Creating { pid } else { state.pid };
    let mut message = json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": {
            "ociVersion": state.oci_version,
            "id": state.id,
            "status": state.status,
            "pid": state_pid,
            "bundle": state.bundle,
        },
    });
    if let Some(metadata) = metadata {
        message["metadata"] = json!(metadata);
    }
    if !state.annotations.is_empty() {
        message["state"]["annotations"] = json!(state.annotations);
    }
    message
}

fn send(socket: impl AsFd, message: &Value, listener: &OwnedFd) -> io::Result<()> {
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let text = message.to_string();
    sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The descriptor, and the number of the process that it came from; `None` when none can come.
fn receive(socket: &OwnedFd) -> io::Result<Option<(OwnedFd, i32)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 16];
    let mut parts = [IoSliceMut::new(&mut text)];
    if recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Ok(None);
    }
    let (mut listener, mut pid) = (None, None);
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(mut descriptors) => listener = descriptors.next(),
            RecvAncillaryMessage::ScmCredentials(sender) => {
                pid = Some(sender.pid.as_raw_nonzero().get());
            }
            _ => {}
        }
    }
    listener.zip(pid).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A filter that notifies of all calls that are made from the page at this address and lets others
/// pass.
fn calls_from(page: u64) -> Vec<u8> {
    let high = u32::try_from(page >> 32).unwrap_or(u32::MAX);
    // The upper half of the instruction pointer must be the page's; the lower half less than its
    // length, as the page begins at a multiple of 4 GiB.
    filter::bytes(&[
        (0x20, 0, 0, 12),
        (0x15, 0, 3, high),
        (0x20, 0, 0, 8),
        (0x35, 1, 0, 4096),
        (0x06, 0, 0, filter::NOTIFY),
        (0x06, 0, 0, filter::ALLOW),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::fd::OwnedFd;

    use rustix::net::sockopt::set_socket_passcred;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use serde_json::json;
    use spec_compat::{State, Status};

    use super::{message, receive, send};

    fn state(status: Status) -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "web".into(),
            pid: 42,
            status,
            bundle: "/bundle".into(),
            rootfs: String::new(),
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: String::new(),
            mode: String::new(),
            rule: String::new(),
        }
    }

    #[test]
    fn the_agent_is_told_what_the_specification_wants() {
        assert_eq!(
            message(&state(Status::Creating), 7, Some("who")),
            json!({
                "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 7, "metadata": "who",
                "state": {"ociVersion": "1.3.0", "id": "web", "status": "creating", "pid": 7,
                          "bundle": "/bundle"},
            })
        );
        let further = message(&state(Status::Running), 7, None);
        assert_eq!((&further["pid"], &further["state"]["pid"]), (&json!(7), &json!(42)));
        assert_eq!(further.get("metadata"), None);
    }

    #[test]
    fn a_descriptor_comes_with_its_senders_number() {
        let pair =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.unwrap();
        set_socket_passcred(&ours, true).unwrap();
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());

        send(&theirs, &json!({}), &file).unwrap();
        drop(theirs);

        let (_, pid) = receive(&ours).unwrap().unwrap();
        assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
        assert!(receive(&ours).unwrap().is_none());
    }
}
