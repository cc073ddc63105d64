//! What engines say, and what is made of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::super::Status;
use super::super::bounded::Limits;
use super::{Known, crio, docker, judge, started};
use crate::engines::Engine;
use crate::record::Record;

const KRUN: &str = "/opt/kontain/bin/krun";

/// A server that answers once.
fn serve(answer: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    let answer = answer.to_owned();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    directory
}

fn limits() -> Limits {
    Limits::of(Duration::from_secs(10))
}

fn known(runtimes: &[(&str, &str)], default: &str) -> Known {
    let runtimes = runtimes.iter().map(|&(name, path)| (name.to_owned(), PathBuf::from(path)));
    Known { runtimes: runtimes.collect(), default: Some(default.to_owned()), doubt: None }
}

#[test]
fn dockerd_is_believed_before_its_file() {
    let record = |default| Record::new("krun", default, Path::new("/etc/docker/daemon.json"));
    let status = |known: &Known, record: Option<&Record>| {
        judge("docker-runs", Engine::Docker, known, record, Path::new(KRUN))
    };
    let ours = known(&[("krun", KRUN)], "runc");

    assert_eq!(status(&ours, Some(&record(false))).status, Status::Ok);
    assert_eq!(status(&ours, None).status, Status::Ok);
    assert_eq!(status(&known(&[], "runc"), None).status, Status::Warn);
    for (known, default, reason) in [
        (known(&[("runc", "runc")], "runc"), false, "does not know krun yet"),
        (known(&[("krun", "/usr/bin/krun")], "krun"), false, "/usr/bin/krun as krun, not"),
        (ours, true, "its default is runc"),
    ] {
        let found = status(&known, Some(&record(default)));
        assert_eq!(found.status, Status::Fail, "{reason}");
        assert!(found.why.contains(reason) && !found.fix.is_empty(), "{found:?}");
    }
}

#[test]
fn dockerd_is_asked_by_its_socket() {
    let body = "{\"Runtimes\":{\"krun\":{\"path\":\"/opt/kontain/bin/krun\"},\"x\":{\"runtimeType\":\"y\"}},\
                \"DefaultRuntime\":\"krun\"}";
    let server = serve(&format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}"));

    let known = docker(&server.path().join("socket"), &limits()).unwrap().unwrap();

    assert_eq!(known.runtimes, [("krun".to_owned(), PathBuf::from(KRUN))]);
    assert_eq!(known.default.as_deref(), Some("krun"));
    assert!(docker(&server.path().join("nobody"), &limits()).unwrap().is_none());
    let server = serve("HTTP/1.1 500 Internal Server Error\r\n\r\n");
    assert!(docker(&server.path().join("socket"), &limits()).is_err());
}

#[test]
fn crio_is_asked_by_its_socket() {
    let body = "[crio]\n[crio.runtime]\ndefault_runtime = \"runc\"\n[crio.runtime.runtimes.krun]\n\
                runtime_path = \"/opt/kontain/bin/krun\"\n";
    let server = serve(&format!("HTTP/1.0 200 OK\r\n\r\n{body}"));

    let known = crio(&server.path().join("socket"), &limits()).unwrap().unwrap();

    assert_eq!(known.runtimes, [("krun".to_owned(), PathBuf::from(KRUN))]);
    assert_eq!(known.default.as_deref(), Some("runc"));
}

#[test]
fn a_process_is_as_old_as_it_is() {
    let age = started(Path::new("/proc/self")).unwrap().elapsed().unwrap();

    assert!(age < Duration::from_mins(1), "{age:?}");
}
