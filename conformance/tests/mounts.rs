//! Mounts that are read-only, and still get what belongs into them; those of the host that nobody may get at.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Result, ensure};
use conformance::{Stage, assert_same};
use integration::outcome;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

/// Says whether the directory is mounted read-only, what is in it, and what comes of writing.
const LOOK: &str = "busybox awk -v at=$0 '$5 == at { split($6, one, \",\"); print one[1] }' \
                    /proc/self/mountinfo; ls $0; touch $0/new 2>&1; echo > /dev/null && echo null";

fn ran(stage: &Stage) -> Result<String> {
    let ran = stage.with_bundle(&["run"], &["box"])?;
    ensure!(ran.is_success(), "{ran:?}");
    Ok(ran.stdout())
}

fn mounts(spec: &mut Value) -> &mut Vec<Value> {
    spec["mounts"].as_array_mut().expect("the bundle has mounts")
}

#[test]
fn devices_are_made_in_a_dev_that_becomes_read_only() {
    assert_same(&["/bin/sh", "-c", LOOK, "/dev"], |stage| {
        stage.bundle.change(|spec| {
            for mount in mounts(spec).iter_mut().filter(|mount| mount["destination"] == "/dev") {
                mount["options"] = json!(["nosuid", "mode=755", "ro"]);
            }
        })?;
        let told = ran(stage)?;
        ensure!(told.starts_with("ro\n") && told.contains("Read-only file system"), "{told}");
        Ok(told)
    });
}

#[test]
fn what_is_bound_on_dev_read_only_is_so_and_nothing_is_made_in_it() {
    assert_same(&["/bin/sh", "-c", "busybox ls /dev; touch /dev/new 2>&1"], |stage| {
        let source = stage.bundle.path().join("devices");
        fs::create_dir(&source)?;
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, source.join("null"), FileType::CharacterDevice, mode, makedev(1, 3))?;
        stage.bundle.change(|spec| {
            for mount in mounts(spec).iter_mut().filter(|mount| mount["destination"] == "/dev") {
                *mount = json!({"destination": "/dev", "type": "bind", "source": source,
                                "options": ["bind", "ro"]});
            }
        })?;
        let ran = stage.with_bundle(&["run"], &["box"])?;
        let told = ran.stdout();
        ensure!(told.starts_with("null\n") && told.contains("Read-only file system"), "{ran:?}");
        ensure!(fs::read_dir(&source)?.count() == 1, "something is made in the source");
        Ok(told)
    });
}

#[test]
fn a_mount_is_made_in_a_tmpfs_that_becomes_read_only() {
    assert_same(&["/bin/sh", "-c", LOOK, "/data"], |stage| {
        stage.bundle.change(|spec| {
            let source = "/usr/share";
            mounts(spec).extend([
                json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}),
                json!({"destination": "/data/in", "type": "bind", "source": source,
                       "options": ["bind"]}),
                json!({"destination": "/data/below/tmp", "type": "tmpfs", "source": "tmpfs"}),
            ]);
        })?;
        let told = ran(stage)?;
        ensure!(told.starts_with("ro\nbelow\nin\n"), "{told}");
        Ok(told)
    });
}

/// Without `pivot_root` the host's mounts stay; with one of a whole `proc` among them a user namespace could
/// have another.
#[test]
fn without_pivot_root_no_proc_of_the_hosts_is_left() {
    let script = "busybox unshare -mrpf busybox mount -t proc none /proc 2>&1; echo $?";
    assert_same(&["/bin/sh", "-c", script], |stage| {
        stage.bundle.change(|spec| {
            for set in ["bounding", "effective", "permitted"] {
                spec["process"]["capabilities"][set] = json!(["CAP_SETFCAP"]);
            }
            spec["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
            spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        })?;
        let host = stage.bundle.path().join("a proc");
        fs::create_dir(&host)?;
        let host = host.to_string_lossy().into_owned();
        let path = stage.bundle.path().to_string_lossy().into_owned();
        let mut command = Command::new("unshare");
        // One lies on the machine's own, another elsewhere.
        let inside = "mount -t proc proc /proc && mount -t proc proc \"$0\" && exec \"$@\"";
        let run = stage.runtime.command(["run", "--no-pivot", "--bundle", &path, "box"]);
        command.args(["--mount", "sh", "-c", inside, &host]);
        command.arg(run.get_program()).args(run.get_args());

        let ran = outcome::run(&mut command, None)?;

        ensure!(ran.stdout().contains("mount: permission denied"), "{ran:?}");
        Ok(ran.stdout())
    });
}

/// The container's mount namespace shares the mounts that are taken away there with the host's.
#[test]
fn without_pivot_root_the_host_keeps_its_mounts() {
    assert_same(&["/bin/sh", "-c", "ls /proc/self/fd >/dev/null && echo seen"], |stage| {
        stage.bundle.change(|spec| spec["linux"]["rootfsPropagation"] = json!("rshared"))?;
        // The bundle is reached by a link, too.
        let link = stage.bundle.path().with_extension("link");
        symlink(stage.bundle.path(), &link)?;
        let list = "cut -d ' ' -f 5 /proc/self/mountinfo";
        let inside = format!(
            "mount --make-rshared /; before=$({list}); \"$@\" || exit; test \"$before\" = \"$({list})\" && echo kept"
        );
        let run = stage.runtime.command(["run", "--no-pivot", "--bundle"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &inside, "sh"]);
        command.arg(run.get_program()).args(run.get_args()).arg(&link).arg("box");

        let ran = outcome::run(&mut command, None);
        fs::remove_file(&link)?;

        let ran = ran?;
        ensure!(ran.stdout() == "seen\nkept\n", "{ran:?}");
        Ok(ran.stdout())
    });
}
