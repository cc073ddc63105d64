//! Talking to systemd, by the socket it has for the user alone whose it is, as `systemctl` does.
//!
//! No message bus needs to run, and systemd's signals come without being asked for.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::SystemdError;
use super::body::Body;
use super::message::{self, Method, PREFIX, Reader, Received};
use super::owner::Owner;

/// Where systemd says that it runs the host: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What starts every connection: a zero byte, then "I am who the kernel says I am". A number would be
/// another one in a user namespace.
/// <https://dbus.freedesktop.org/doc/dbus-specification.html#auth-protocol>
const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// How long systemd may be silent, for it may be busy with a whole host's start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection, for one command's few calls.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    serial: u32,
    /// Jobs that have ended, and how.
    ended: Vec<(String, String)>,
}

impl Connection {
    /// Connects to somebody's systemd.
    pub(super) fn open(owner: Owner) -> Result<Self, SystemdError> {
        demand_booted(Path::new(BOOTED))?;
        let socket = owner.socket();
        let fault = |source| SystemdError::Connect { socket: socket.clone(), source };
        let stream = UnixStream::connect(&socket).map_err(fault)?;
        Self::greet(stream).map_err(fault)
    }

    fn greet(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(GREETING)?;
        // To the first half "DATA", which asks who that is; "OK" from a systemd before version 242.
        let first = read_line(&mut stream)?;
        if first.starts_with("REJECTED") {
            return Err(io::Error::other(first));
        }
        let second = read_line(&mut stream)?;
        if !second.starts_with("OK ") {
            return Err(io::Error::other(second));
        }
        Ok(Self { stream, serial: 0, ended: Vec::new() })
    }

    /// Calls a method of systemd's manager, and gives the answer's body.
    pub(super) fn call(
        &mut self,
        member: &'static str,
        body: &Body,
    ) -> Result<Vec<u8>, SystemdError> {
        self.ask(Method { destination: SYSTEMD, path: OBJECT, interface: MANAGER, member }, body)
            .map_err(|failure| failure.of(member))
    }

    /// The number in front of systemd's version.
    pub(super) fn version(&mut self) -> Result<u32, SystemdError> {
        let text = self.property("Version")?;
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().map_err(|_| SystemdError::Garbled)
    }

    /// What systemd's manager says of itself in words.
    pub(super) fn property(&mut self, name: &str) -> Result<String, SystemdError> {
        let member = "Get";
        let method = Method { destination: SYSTEMD, path: OBJECT, interface: PROPERTIES, member };
        let body = Body::default().text(MANAGER).text(name);
        let answer = self.ask(method, &body).map_err(|failure| failure.of(member))?;
        let mut reader = Reader::new(&answer);
        let text = reader.signature().and_then(|_| reader.text()).ok_or(SystemdError::Garbled)?;
        Ok(text.to_owned())
    }

    /// Waits until the job that a call's answer names has ended, and says how.
    pub(super) fn wait_for_job(&mut self, answer: &[u8]) -> Result<String, SystemdError> {
        let job = Reader::new(answer).text().ok_or(SystemdError::Garbled)?;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| ended == job) {
                return Ok(result.clone());
            }
            self.receive().map_err(|failure| failure.of("JobRemoved"))?;
        }
    }

    fn ask(&mut self, method: Method<'_>, body: &Body) -> Result<Vec<u8>, Failure> {
        self.serial += 1;
        self.stream.write_all(&message::call(self.serial, method, body))?;
        loop {
            let Received { answers, error, body, .. } = self.receive()?;
            match (answers == Some(self.serial), error) {
                (true, None) => return Ok(body),
                (true, Some(name)) => {
                    let text = Reader::new(&body).text().unwrap_or_default().to_owned();
                    return Err(Failure::Refused { name, text });
                }
                (false, _) => {}
            }
        }
    }

    /// One message. What it says of jobs that have ended is kept.
    fn receive(&mut self) -> Result<Received, Failure> {
        let mut prefix = [0; PREFIX];
        self.stream.read_exact(&mut prefix)?;
        let (rest, fields) = message::lengths(&prefix).ok_or(Failure::Garbled)?;
        let mut bytes = vec![0; rest];
        self.stream.read_exact(&mut bytes)?;
        let received = message::received(&bytes, fields).ok_or(Failure::Garbled)?;
        if received.member.as_deref() == Some("JobRemoved") {
            self.ended.push(removed_job(&received.body).ok_or(Failure::Garbled)?);
        }
        Ok(received)
    }
}

/// Number, object, unit and result.
fn removed_job(body: &[u8]) -> Option<(String, String)> {
    let mut reader = Reader::new(body);
    let _number = reader.number()?;
    let job = reader.text()?.to_owned();
    let _unit = reader.text()?;
    Some((job, reader.text()?.to_owned()))
}

fn demand_booted(directory: &Path) -> Result<(), SystemdError> {
    if directory.is_dir() { Ok(()) } else { Err(SystemdError::NotBooted) }
}

fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    const LONGEST: usize = 256;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < LONGEST {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Why there is no answer, before it is known to what.
#[derive(Debug)]
enum Failure {
    Socket(io::Error),
    Garbled,
    Refused { name: String, text: String },
}

impl Failure {
    fn of(self, method: &'static str) -> SystemdError {
        match self {
            Self::Socket(source) => SystemdError::Talk { method, source },
            Self::Garbled => SystemdError::Garbled,
            Self::Refused { name, text } => SystemdError::Refused { method, name, text },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::super::SystemdError;
    use super::{Body, Connection, demand_booted};

    /// A signal that a job has ended, an answer that names a job, and an error, with those header
    /// fields that are read.
    const JOB: &[u8] = b"l\x04\x01\x01\x25\x00\x00\x00\x05\x00\x00\x00\x13\x00\x00\x00\
        \x03\x01s\x00\x0a\x00\x00\x00JobRemoved\x00\x00\x00\x00\x00\x00\
        \x07\x00\x00\x00\x04\x00\x00\x00/j/7\x00\x00\x00\x00\x07\x00\x00\x00a.scope\x00\
        \x04\x00\x00\x00done\x00";
    const ANSWER: &[u8] = b"l\x02\x01\x01\x09\x00\x00\x00\x06\x00\x00\x00\x08\x00\x00\x00\
        \x05\x01u\x00\x01\x00\x00\x00\x04\x00\x00\x00/j/7\x00";
    const ERROR: &[u8] = b"l\x03\x01\x01\x08\x00\x00\x00\x06\x00\x00\x00\x15\x00\x00\x00\
        \x05\x01u\x00\x01\x00\x00\x00\x04\x01s\x00\x04\x00\x00\x00a.No\x00\x00\x00\x00\
        \x03\x00\x00\x00bad\x00";

    /// A client that is sent these bytes, and what it talks to.
    fn answered(bytes: Vec<u8>) -> (Connection, UnixStream) {
        greeted(b"DATA\r\nOK 0123\r\n", bytes)
    }

    /// The same, by a server that greets so.
    fn greeted(greeting: &'static [u8], bytes: Vec<u8>) -> (Connection, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut said = [0; 29];
            theirs.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            theirs.write_all(greeting).unwrap();
            theirs.write_all(&bytes).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            theirs
        });
        let connection = Connection::greet(ours).unwrap();
        (connection, server.join().unwrap())
    }

    #[test]
    fn a_job_may_end_before_the_answer_that_names_it() {
        let (mut connection, _systemd) = answered([JOB, ANSWER].concat());

        let answer = connection.call("StartTransientUnit", &Body::default()).unwrap();

        assert_eq!(connection.wait_for_job(&answer).unwrap(), "done");
    }

    #[test]
    fn an_older_systemd_does_not_ask() {
        let (mut connection, _systemd) = greeted(b"OK 0123\r\nOK 0123\r\n", ANSWER.to_vec());

        assert!(connection.call("StartTransientUnit", &Body::default()).is_ok());
    }

    #[test]
    fn an_error_is_told_in_systemds_words() {
        let (mut connection, _systemd) = answered(ERROR.to_vec());

        let error = connection.call("StopUnit", &Body::default()).unwrap_err();

        assert_eq!(error.to_string(), "systemd: StopUnit: bad (a.No)");
    }

    #[test]
    fn a_systemd_that_hangs_up_is_an_error() {
        let (mut connection, _systemd) = answered(ANSWER[..20].to_vec());

        let error = connection.call("StopUnit", &Body::default()).unwrap_err();

        assert!(matches!(error, SystemdError::Talk { .. }), "{error:?}");
    }

    #[test]
    fn a_host_without_systemd_is_told_apart() {
        let empty = tempfile::tempdir().unwrap();

        let error = demand_booted(&empty.path().join("system")).unwrap_err();

        assert!(error.to_string().contains("no systemd"), "{error}");
    }
}
