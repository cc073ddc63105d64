//! What `kontain check` says of a node.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use kontain::{Engine, Finding, Status};
use rustix::fs::{CWD, FileType, Mode, makedev};

use crate::place::{DAEMON_JSON, Node, wish};

/// Puts something at a path.
type Put<'a> = &'a dyn Fn(&Path) -> Result<()>;

fn finding(node: &Node, id: &str) -> Option<Finding> {
    let all = kontain::check(&node.root().ok()?, Path::new("/opt/kontain/bin/krun"));
    all.into_iter().find(|finding| finding.id == id)
}

#[test]
fn an_engine_that_was_told_is_held_to_it() {
    let node = Node::new().unwrap();

    let nobody = finding(&node, "engines").unwrap();
    node.install(Engine::Docker, &wish()).unwrap();
    let told = finding(&node, "docker").unwrap();
    node.write(DAEMON_JSON, "{}").unwrap();
    let changed = finding(&node, "docker").unwrap();

    assert_eq!((nobody.status, told.status), (Status::Warn, Status::Ok));
    assert_eq!(changed.status, Status::Fail);
    assert!(changed.why.contains("runtimes.krun"), "{changed:?}");
    assert!(changed.fix.contains("kontain install docker"), "{changed:?}");
}

#[test]
fn no_device_but_kvms_own_is_opened() {
    let outside = tempfile::tempdir().unwrap();
    let fifo = outside.path().join("kvm");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
    let null = makedev(1, 3);
    let puts: [Put<'_>; 5] = [
        &|path| Ok(symlink("/dev/null", path)?),
        &|path| Ok(symlink("../../../../../../dev/kvm", path)?),
        &|path| Ok(symlink(&fifo, path)?),
        // Whoever opened it would wait.
        &|path| Ok(fs::rename(&fifo, path)?),
        &|path| Ok(rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, null)?),
    ];
    for put in puts {
        let node = Node::new().unwrap();
        fs::create_dir(node.path("/dev")).unwrap();
        put(&node.path("/dev/kvm")).unwrap();

        let found = finding(&node, "kvm").unwrap();

        assert_eq!(found.status, Status::Fail);
        assert!(found.why.contains("not the device 10:232"), "{found:?}");
    }
}

#[test]
fn what_is_missing_is_said_with_what_helps() {
    let node = Node::new().unwrap();
    node.write("/usr/bin/krun", "").unwrap();
    node.write("/etc/kontain/policy.d/10.toml", "nonsense = 1\n").unwrap();

    for (id, status) in [
        ("kvm", Status::Fail),
        ("cpu", Status::Fail),
        ("kernel", Status::Fail),
        ("cgroups", Status::Fail),
        ("programs", Status::Fail),
        ("policy", Status::Fail),
        ("crun", Status::Warn),
    ] {
        let found = finding(&node, id).unwrap();
        assert_eq!(found.status, status, "{found:?}");
        assert!(!found.why.is_empty() && !found.fix.is_empty(), "{found:?}");
    }
}

#[test]
fn what_makes_no_container_is_found_wherever_rules_and_settings_are() {
    let node = Node::new().unwrap();
    let statuses = |node: &Node| ["settings", "policy"].map(|id| finding(node, id).unwrap().status);
    assert_eq!(statuses(&node), [Status::Ok, Status::Ok]);

    node.write("/etc/kontain/krun.toml", "bogus = 1\n").unwrap();
    assert_eq!(statuses(&node), [Status::Fail, Status::Ok]);

    node.write("/etc/kontain/krun.toml", "policy_dir = \"/etc/mine\"\n").unwrap();
    assert_eq!(statuses(&node), [Status::Ok, Status::Fail], "it is not there");
    node.write("/etc/mine/10.toml", "").unwrap();
    assert_eq!(statuses(&node), [Status::Ok, Status::Ok]);
    node.write("/etc/mine/10.toml", "nonsense = 1\n").unwrap();
    assert_eq!(statuses(&node), [Status::Ok, Status::Fail]);

    fs::remove_file(node.path("/etc/kontain/krun.toml")).unwrap();
    symlink("nowhere", node.path("/etc/kontain/policy.d")).unwrap();
    assert_eq!(statuses(&node), [Status::Ok, Status::Fail], "a link is no absence");
}
