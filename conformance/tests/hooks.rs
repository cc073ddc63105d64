//! Hooks where runc runs them: their working directories, and what a container gets from them.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;

use conformance::{Stage, assert_same};
use serde_json::{Value, json};

/// The points whose hooks run before the container's root file system is its root.
const POINTS: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

fn shell(script: &str) -> Value {
    json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
}

fn ran(stage: &Stage) -> anyhow::Result<String> {
    let ran = stage.with_bundle(&["run"], &["box"])?;
    anyhow::ensure!(ran.is_success(), "{ran:?}");
    Ok(ran.stdout())
}

#[test]
fn a_hook_has_runcs_working_directory() {
    assert_same(&["/bin/true"], |stage| {
        let noted = stage.bundle.path().join("noted");
        fs::create_dir(&noted)?;
        stage.bundle.change(|spec| {
            for point in POINTS {
                spec["hooks"][point] =
                    shell(&format!("/bin/busybox pwd > {}/{point}", noted.display()));
            }
        })?;
        ran(stage)?;

        let bundle = stage.bundle.path().to_string_lossy().into_owned();
        let read = |point| fs::read_to_string(noted.join(point));
        let seen = POINTS.map(|point| read(point).map(|text| text.replace(&bundle, "BUNDLE")).ok());
        Ok(seen)
    });
}

#[test]
fn a_hook_of_the_container_mounts_by_names_below_its_root() {
    assert_same(&["/bin/ls", "/mnt", "/mnt/there"], |stage| {
        fs::create_dir_all(stage.bundle.in_rootfs("mnt"))?;
        let script = "/bin/busybox mount -t tmpfs none mnt && /bin/busybox mkdir mnt/there && \
                      echo > mnt/there/file";
        stage.bundle.change(|spec| spec["hooks"]["createContainer"] = shell(script))?;
        ran(stage)
    });
}
