//! Standard input, output and error of programs: whose they are, and a terminal's size.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;

use anyhow::{Result, ensure};
use conformance::failures::put;
use conformance::{Stage, assert_same};
use integration::outcome::{self, TIME_LIMIT};
use serde_json::{Value, json};

/// Says in a file whose the three are, whose the terminal is where there is one, and how large; whether they can be
/// opened by name; then what rights are left.
const LOOK: &str = "{ for one in 0 1 2; do busybox stat -L -c %u:%g:%a /proc/self/fd/$one; done; \
                    if tty <&2; then busybox stat -c %u:%g:%a $(tty <&2); stty size <&2; fi; \
                    echo by name >> /dev/stderr && echo by name; \
                    busybox grep -E '^(Uid|Cap|NoNew)' /proc/self/status; echo end; } > /out/told";

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// Adds what a terminal needs, and a directory for what is told.
fn prepare(stage: &mut Stage) -> Result<()> {
    let out = stage.bundle.path().join("out");
    fs::create_dir(&out)?;
    for directory in [stage.bundle.path(), &out] {
        fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    }
    let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let mounts = [
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options}),
        json!({"destination": "/out", "type": "bind", "source": out, "options": ["bind"]}),
    ];
    stage.bundle.change(|spec| {
        for mount in mounts {
            put(spec, "/mounts/-", mount);
        }
    })
}

/// A process that looks, as this user.
fn look(uid: u32, terminal: bool) -> Value {
    json!({
        "args": ["/bin/sh", "-c", LOOK], "env": ["PATH=/bin"], "cwd": "/", "terminal": terminal,
        "user": {"uid": uid, "gid": uid},
        "consoleSize": {"height": 10, "width": 110},
        "capabilities": {
            "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]
        },
    })
}

/// Calls the verb so that the program has what the runtime has, or a terminal.
fn told(stage: &Stage, verb: &str, rest: &[&str], terminal: bool) -> Result<String> {
    let path = stage.bundle.path().join("console");
    // The terminal's other side is on its way to whoever accepts, and so it is open.
    let _listener = UnixListener::bind(&path)?;
    let path = path.to_string_lossy();
    let console: &[&str] = if terminal { &["--console-socket", &path] } else { &[] };
    let called = stage.runtime.must([&[verb, "--detach"], console, rest].concat())?;
    let read = || fs::read_to_string(stage.bundle.path().join("out/told")).unwrap_or_default();
    let is_told = outcome::eventually(TIME_LIMIT, || read().ends_with("end\n"));
    ensure!(is_told, "{called:?} {}", read());
    Ok(read())
}

fn run(stage: &Stage, terminal: bool) -> Result<String> {
    let told =
        told(stage, "run", &["--bundle", &stage.bundle.path().to_string_lossy(), "box"], terminal)?;
    stage.runtime.wait_for_status("box", "stopped")?;
    Ok(told)
}

/// Each way to have or to load a filter needs other rights of the process that becomes the program.
fn profiles() -> [Value; 2] {
    [Value::Null, json!({"defaultAction": "SCMP_ACT_ALLOW"})]
}

#[test]
fn a_terminal_belongs_to_the_user_and_has_the_size_it_is_to_have() {
    for (uid, profile) in [(0, 0), (1000, 0), (1000, 1)] {
        assert_same(&SLEEP, |stage| {
            prepare(stage)?;
            stage.bundle.change(|spec| {
                spec["process"] = look(uid, true);
                spec["linux"]["seccomp"] = profiles()[profile].clone();
            })?;
            let told = run(stage, true)?;
            ensure!(told.contains(&format!("{uid}:5:620")) && told.contains("by name"), "{told}");
            ensure!(told.contains("10 110"), "{told}");
            Ok(told)
        });
    }
}

#[test]
fn what_is_no_terminal_belongs_to_the_user_too() {
    for (uid, capabilities) in [(0, json!([])), (1000, json!([])), (1000, json!(["CAP_CHOWN"]))] {
        assert_same(&SLEEP, |stage| {
            prepare(stage)?;
            stage.bundle.change(|spec| {
                spec["process"] = look(uid, false);
                for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                    spec["process"]["capabilities"][set] = capabilities.clone();
                }
            })?;
            let told = run(stage, false)?;
            ensure!(told.contains("by name"), "{told}");
            Ok(told)
        });
    }
}

#[test]
fn a_further_program_has_its_own_too_and_a_terminal_of_the_size_it_is_to_have() {
    for (uid, terminal) in [(0, true), (1000, true), (1000, false)] {
        assert_same(&SLEEP, |stage| {
            prepare(stage)?;
            stage.create("box")?;
            stage.runtime.must(["start", "box"])?;
            let file = stage.bundle.path().join("process.json");
            fs::write(&file, look(uid, terminal).to_string())?;
            let told =
                told(stage, "exec", &["--process", &file.to_string_lossy(), "box"], terminal)?;
            ensure!(!terminal || told.contains("10 110"), "{told}");
            Ok(told)
        });
    }
}

#[test]
fn in_a_user_namespace_what_has_a_name_there_belongs_to_the_user() {
    const ROOT: u32 = 100_000;
    for (uid, terminal) in [(0, true), (1000, true), (1000, false)] {
        assert_same(&SLEEP, |stage| {
            prepare(stage)?;
            let mapping = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
            for name in ["", "dev", "proc", "tmp"] {
                chown(stage.bundle.in_rootfs(name), Some(ROOT), Some(ROOT))?;
            }
            fs::create_dir(stage.bundle.in_rootfs("out"))?;
            stage.bundle.change(|spec| {
                spec["process"] = look(uid, terminal);
                spec["linux"]["uidMappings"] = mapping.clone();
                spec["linux"]["gidMappings"] = mapping.clone();
                put(spec, "/linux/namespaces/-", json!({"type": "user"}));
            })?;
            run(stage, terminal)
        });
    }
}
