//! `process.cwd` that is not there: made as by runc, and nowhere but in the container.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use anyhow::Result;
use conformance::failures::put;
use conformance::{Stage, assert_same, failure};
use serde_json::json;

/// Says where it is, and whose that is.
const LOOK: [&str; 3] = ["/bin/sh", "-c", "pwd; busybox stat -c '%u:%g:%a %F' . .."];

/// A container in which links, mounts and files are on the way, and a directory of the host's beside it. A
/// link leads to where that is on the host.
fn prepare(stage: &mut Stage) -> Result<()> {
    let [volume, outside] = ["volume", "outside"].map(|name| stage.bundle.path().join(name));
    fs::create_dir_all(volume.join("there"))?;
    fs::create_dir(&outside)?;
    symlink("/outside", volume.join("link"))?;
    for (target, link) in [("/etc", "link"), ("/data/nothing", "dangling"), ("/tmp", "to-tmpfs")] {
        symlink(target, stage.bundle.in_rootfs(link))?;
    }
    symlink(&outside, stage.bundle.in_rootfs("absolute"))?;
    symlink("../outside", stage.bundle.in_rootfs("relative"))?;
    let source = json!(volume);
    stage.bundle.change(|spec| {
        let volume = json!({"destination": "/volume", "type": "bind", "source": source,
                            "options": ["bind"]});
        put(spec, "/mounts/-", volume);
    })
}

/// What comes of a program in this directory, and what there is on the host then.
fn outcome(stage: &mut Stage, cwd: &str) -> Result<String> {
    stage.bundle.change(|spec| spec["process"]["cwd"] = json!(cwd))?;
    let ran = stage.with_bundle(&["run"], &["box"])?;
    let mut found = Vec::new();
    let mut left = vec![stage.bundle.path().to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
                found.push(entry.path().strip_prefix(stage.bundle.path())?.to_owned());
            }
        }
    }
    found.sort();
    Ok(format!("{cwd}: {:?} {} {found:?}", failure(&ran), ran.stdout()))
}

#[test]
fn a_directory_that_is_missing_is_made_in_the_container() {
    let made = [
        "/new",
        "/new/below/it",
        "/link/new",
        "/tmp/new/below",
        "/to-tmpfs/new",
        "/volume/new",
        "/volume/there",
        "/volume/there/new",
        "/new/../other/./x",
        "/../../../up",
        "/data",
        "/",
    ];
    for cwd in made {
        assert_same(&LOOK, |stage| {
            prepare(stage)?;
            let told = outcome(stage, cwd)?;
            anyhow::ensure!(told.contains("Exited(0)"), "{told}");
            Ok(told)
        });
    }
}

#[test]
fn what_leads_nowhere_or_out_of_the_container_is_refused() {
    for cwd in [
        "/dangling",
        "/dangling/new",
        "/absolute",
        "/absolute/new",
        "/relative/new",
        "/volume/link/new",
        "/etc/passwd",
        "/etc/passwd/new",
        "/proc/new",
    ] {
        assert_same(&LOOK, |stage| {
            prepare(stage)?;
            let told = outcome(stage, cwd)?;
            anyhow::ensure!(told.contains("Exited(1)"), "{told}");
            Ok(told)
        });
    }
}

#[test]
fn it_belongs_to_the_containers_root() {
    const ROOT: u32 = 100_000;
    assert_same(&LOOK, |stage| {
        let mapping = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
        fs::set_permissions(stage.bundle.path(), Permissions::from_mode(0o755))?;
        for name in ["", "data", "dev", "proc", "tmp"] {
            chown(stage.bundle.in_rootfs(name), Some(ROOT), Some(ROOT))?;
        }
        stage.bundle.change(|spec| {
            spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            spec["linux"]["uidMappings"] = mapping.clone();
            spec["linux"]["gidMappings"] = mapping;
            put(spec, "/linux/namespaces/-", json!({"type": "user"}));
        })?;
        outcome(stage, "/data/new/below")
    });
}

#[test]
fn a_further_program_gets_no_directory_made() {
    assert_same(&["/bin/sleep", "1000"], |stage| {
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        Ok(failure(&stage.runtime.call(["exec", "--cwd", "/tmp/new", "box", "/bin/pwd"])?))
    });
}

#[test]
fn it_is_made_where_a_mount_covers_it_by_another_name() {
    assert_same(&LOOK, |stage| {
        fs::create_dir_all(stage.bundle.in_rootfs("covered/app"))?;
        symlink("/covered", stage.bundle.in_rootfs("other-name"))?;
        stage.bundle.change(|spec| {
            let mount = json!({"destination": "/other-name", "type": "tmpfs", "source": "tmpfs"});
            put(spec, "/mounts/-", mount);
        })?;
        outcome(stage, "/covered/app")
    });
}
