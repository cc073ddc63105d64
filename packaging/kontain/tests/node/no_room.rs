//! A full disk, a read-only file system: nothing is changed.

use std::ffi::CStr;
use std::fs;

use anyhow::Result;
use kontain::{Engine, NodeError};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::place::{DAEMON_JSON, Node, wish_default};

/// A node on a file system of its own, which has 16 pages.
struct Small(Node);

impl Small {
    fn new(options: &CStr) -> Result<Self> {
        let node = Node::new()?;
        rustix::mount::mount("tmpfs", node.path("/"), "tmpfs", MountFlags::empty(), options)?;
        let small = Self(node);
        small.0.furnish()?;
        small.0.write(DAEMON_JSON, "{\"log-driver\": \"journald\"}")?;
        Ok(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path("/"), UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_leaves_the_node_as_it_was() {
    let (mut full, mut enough) = (0, 0);
    for pages in 0..14 {
        let small = Small::new(c"size=64k,mode=755").unwrap();
        let before = small.0.all().unwrap();
        small.0.write("/filler", vec![1; pages * 4096]).unwrap();

        let result = small.0.install(Engine::Docker, &wish_default());

        fs::remove_file(small.0.path("/filler")).unwrap();
        if let Err(error) = result {
            full += 1;
            assert!(matches!(error, NodeError::System { .. }), "{error}");
            assert!(error.to_string().contains("make room"), "{error}");
        } else {
            enough += 1;
            small.0.uninstall(Engine::Docker).unwrap();
        }
        assert_eq!(small.0.all().unwrap(), before, "with {pages} pages filled");
    }
    assert!(full > 1 && enough > 1, "{full} {enough}");
}

#[test]
fn what_is_installed_stays_if_there_is_no_room_to_take_it_away() {
    let small = Small::new(c"size=64k,mode=755").unwrap();
    small.0.install(Engine::Docker, &wish_default()).unwrap();
    let mut pages = 12;
    while small.0.write("/filler", vec![1; pages * 4096]).is_err() {
        pages -= 1;
    }
    let before = small.0.all().unwrap();

    let result = small.0.uninstall(Engine::Docker);

    assert!(matches!(result, Err(NodeError::System { .. })), "{result:?}");
    assert_eq!(small.0.all().unwrap(), before);
    fs::remove_file(small.0.path("/filler")).unwrap();
    small.0.uninstall(Engine::Docker).unwrap();
    assert_eq!(small.0.read(DAEMON_JSON).unwrap(), "{\"log-driver\": \"journald\"}");
}

#[test]
fn a_read_only_file_system_is_named() {
    let small = Small::new(c"size=64k,mode=755").unwrap();
    let before = small.0.all().unwrap();
    rustix::mount::mount_remount(small.0.path("/"), MountFlags::RDONLY, c"").unwrap();

    let error = small.0.install(Engine::Docker, &wish_default()).unwrap_err().to_string();

    assert!(error.contains("Read-only file system") && error.contains("writable"), "{error}");
    assert_eq!(small.0.all().unwrap(), before);
}
