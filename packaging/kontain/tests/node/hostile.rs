//! Files that somebody has put there: refused, by name, and left as they are.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use anyhow::Result;
use kontain::{Engine, NodeError};
use rustix::fs::{CWD, FileType, Mode};

use crate::place::{DAEMON_JSON, Node, wish, wish_default};

/// What somebody does to a node.
type Deed = fn(&Node) -> Result<()>;

/// Installs, and returns what was said against it; nothing is changed.
fn refusal(node: &Node, engine: Engine) -> Result<String> {
    let before = node.all()?;

    let error = node.install(engine, &wish_default()).err();

    assert_eq!(node.all()?, before, "{error:?}");
    let Some(error) = error else { return Ok(String::new()) };
    assert!(matches!(error, NodeError::Refused { .. }), "{error}");
    Ok(error.to_string())
}

#[test]
fn texts_that_are_no_configuration_are_refused() {
    let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(2 << 20));
    let deep = "[".repeat(100_000);
    let cases: [(&[u8], &str); 16] = [
        (b"\xef\xbb\xbf{}", "byte order mark: remove"),
        (b"{\"a\": 1,}", "not valid JSON: trailing comma at line 1 column 9"),
        (b"{} // no", "not valid JSON: trailing characters"),
        (b"// no\n{}", "not valid JSON"),
        (b"{\"a\": \xff}", "byte 7 is not UTF-8"),
        (b"{\"a\": \"\0\"}", "not valid JSON"),
        (b"{\"runtimes\": {}, \"runtimes\": {}}", "\"runtimes\" is there twice"),
        (b"{\"x\": {\"a\": 1, \"\\u0061\": 2}}", "\"a\" is there twice"),
        (b"[]", "it is a list, no object"),
        (b"null", "it is null, no object"),
        (b"{\"runtimes\": []}", "runtimes: it is a list, where"),
        (b"{\"runtimes\": null}", "runtimes: it is null, where"),
        (b"{\"runtimes\": {\"krun\": {\"path\": \"/usr/bin/krun\"}}}", "runtimes.krun: it is {"),
        (b"{\"default-runtime\": 7}", "default-runtime: it is 7 already"),
        (huge.as_bytes(), "larger than 1 MiB"),
        (deep.as_bytes(), "not valid JSON: recursion limit"),
    ];
    for (text, reason) in cases {
        let node = Node::with(DAEMON_JSON, text).unwrap();

        let said = refusal(&node, Engine::Docker).unwrap();

        assert!(said.contains(reason) && said.contains(DAEMON_JSON), "{reason}: {said}");
    }
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let cases: [(Deed, &str); 7] = [
        (
            |node| Ok(symlink("/etc/passwd", node.path(DAEMON_JSON))?),
            "symbolic link to /etc/passwd",
        ),
        (|node| Ok(symlink("no-such-file", node.path(DAEMON_JSON))?), "symbolic link to no-such"),
        (|node| Ok(fs::create_dir(node.path(DAEMON_JSON))?), "it is a directory"),
        (
            |node| {
                let mode = Mode::from_raw_mode(0o644);
                Ok(rustix::fs::mknodat(CWD, node.path(DAEMON_JSON), FileType::Fifo, mode, 0)?)
            },
            "it is a named pipe",
        ),
        (
            |node| {
                node.write(DAEMON_JSON, "{}")?;
                node.mode(DAEMON_JSON, 0o666)
            },
            "others than root can write it (mode 666): chmod go-w",
        ),
        (
            |node| {
                node.write(DAEMON_JSON, "{}")?;
                node.mode(DAEMON_JSON, 0o664)
            },
            "others than root can write it (mode 664): chmod go-w",
        ),
        (
            |node| {
                node.write(DAEMON_JSON, "{}")?;
                Ok(chown(node.path(DAEMON_JSON), Some(1000), None)?)
            },
            "it belongs to user 1000: chown root",
        ),
    ];
    for (put, reason) in cases {
        let node = Node::new().unwrap();
        fs::create_dir_all(node.path("/etc/docker")).unwrap();
        put(&node).unwrap();

        let said = refusal(&node, Engine::Docker).unwrap();

        assert!(said.contains(reason) && said.contains(DAEMON_JSON), "{reason}: {said}");
    }
}

#[test]
fn directories_that_others_can_change_are_refused() {
    let node = Node::with(DAEMON_JSON, "{}").unwrap();

    node.mode("/etc", 0o777).unwrap();
    let writable = refusal(&node, Engine::Docker).unwrap();
    node.mode("/etc", 0o755).unwrap();
    chown(node.path("/etc/docker"), Some(1000), None).unwrap();
    let not_roots = refusal(&node, Engine::Docker).unwrap();

    assert!(writable.contains("/etc: others than root can write it (mode 777)"), "{writable}");
    assert!(not_roots.contains("/etc/docker: the directory belongs to user 1000"), "{not_roots}");
}

#[test]
fn a_link_to_a_directory_is_followed_in_the_root_only() {
    let node = Node::new().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(node.path("/etc")).unwrap();
    symlink(outside.path(), node.path("/etc/docker")).unwrap();

    let result = node.install(Engine::Docker, &wish());

    assert!(result.is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_record_that_is_not_kontains_is_refused() {
    let record = "/var/lib/kontain/install/docker.json";
    for text in ["", "{}", "{\"version\": 2}", "[[["] {
        let node = Node::with(record, text).unwrap();

        let installed = refusal(&node, Engine::Docker).unwrap();
        let taken_away = node.uninstall(Engine::Docker).unwrap_err().to_string();

        assert!(installed.contains(record) && taken_away.contains(record), "{text}: {installed}");
    }
}

/// What a link leads to is as good as what is above it there.
#[test]
fn a_link_into_somebody_elses_directory_is_refused() {
    let node = Node::new().unwrap();
    fs::create_dir_all(node.path("/srv/user/docker")).unwrap();
    fs::create_dir_all(node.path("/etc")).unwrap();
    symlink("/srv/user/docker", node.path("/etc/docker")).unwrap();
    node.mode("/srv/user", 0o777).unwrap();

    let error = node.install(Engine::Docker, &wish()).unwrap_err().to_string();
    assert!(error.contains("/srv/user") && error.contains("others than root"), "{error}");

    node.mode("/srv/user", 0o755).unwrap();
    node.install(Engine::Docker, &wish()).unwrap();
    assert!(node.read("/srv/user/docker/daemon.json").unwrap().contains("krun"));
}

/// kontain's copy is the last that is left.
#[test]
fn a_file_that_was_removed_is_not_lost_for_good() {
    let node = Node::with(DAEMON_JSON, "{\"mine\": 1}").unwrap();
    node.install(Engine::Docker, &wish()).unwrap();
    fs::remove_file(node.path(DAEMON_JSON)).unwrap();
    let before = node.all().unwrap();

    let error = node.uninstall(Engine::Docker).unwrap_err().to_string();

    assert!(error.contains("docker.before"), "{error}");
    assert_eq!(node.all().unwrap(), before);
    let copy = "/var/lib/kontain/install/docker.before";
    fs::copy(node.path(copy), node.path(DAEMON_JSON)).unwrap();
    node.uninstall(Engine::Docker).unwrap();
    assert_eq!(node.read(DAEMON_JSON).unwrap(), "{\"mine\": 1}");
    assert!(!node.path(copy).exists());
}

#[test]
fn files_of_variables_that_a_unit_names_are_read() {
    for (file, flag) in [("/etc/mine", "--default-runtime=runc"), ("/etc/mine", "--config-file=/x")]
    {
        let node = Node::with(file, format!("OPTIONS=\"{flag}\"\n")).unwrap();
        let unit = "[Service]\nEnvironmentFile=-/etc/none\nEnvironmentFile=-/etc/mine\n\
            ExecStart=/usr/bin/dockerd $OPTIONS\n";
        node.write("/usr/lib/systemd/system/docker.service", unit).unwrap();

        let error = node.install(Engine::Docker, &wish_default()).unwrap_err().to_string();

        assert!(error.contains(file) && error.contains(&flag[..flag.len() - 5]), "{error}");
    }
}
