//! Standard input, output and error of programs: whose they are, and a terminal's size.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use anyhow::{Result, ensure};
use conformance::failures::put;
use conformance::{Stage, assert_same};
use integration::outcome::{self, TIME_LIMIT};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
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

/// A pseudo terminal: the side that holds it, and the one to be used.
fn pseudo_terminal() -> Result<[OwnedFd; 2]> {
    let holder = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&holder)?;
    let name = ptsname(&holder, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok([holder, open(name, flags, Mode::empty())?])
}

/// Calls the verb with standard input and output of a caller's own, the latter a file of this mode. Says whose they
/// are then, and their modes.
fn after(stage: &Stage, words: &[&str], input: File, mode: u32) -> Result<[String; 2]> {
    let path = stage.bundle.path().join("output");
    let output = File::create(path)?;
    output.set_permissions(Permissions::from_mode(mode))?;
    let mut command = stage.runtime.command(words);
    command.stdin(input.try_clone()?).stdout(output.try_clone()?).stderr(Stdio::null());
    let ended = outcome::wait(&mut command.spawn()?, TIME_LIMIT)?;
    ensure!(ended.is_some_and(|status| status.success()), "{command:?}: {ended:?}");
    let owner_and_mode = |file: File| -> Result<String> {
        let found = file.metadata()?;
        Ok(format!("{} {:o}", found.uid(), found.mode() & 0o7777))
    };
    Ok([owner_and_mode(input)?, owner_and_mode(output)?])
}

#[test]
fn a_caller_who_waits_keeps_his_terminal_and_his_files() {
    assert_same(&["/bin/true"], |stage| {
        stage.bundle.change(|spec| spec["process"]["user"] = json!({"uid": 1000, "gid": 1000}))?;
        let [_holder, terminal] = pseudo_terminal()?;
        let terminal = File::from(terminal);
        let before = terminal.metadata()?.mode();
        let path = stage.bundle.path().to_string_lossy().into_owned();

        let of_run =
            after(stage, &["run", "--bundle", &path, "one"], terminal.try_clone()?, 0o6755)?;
        stage.bundle.change(|spec| spec["process"]["args"] = json!(SLEEP))?;
        stage.create("two")?;
        stage.runtime.must(["start", "two"])?;
        let words = ["exec", "--user", "1000:1000", "two", "/bin/true"];
        let of_exec = after(stage, &words, terminal.try_clone()?, 0o6755)?;

        ensure!(terminal.metadata()?.mode() == before, "the terminal's mode");
        ensure!(of_run[1] == "0 6755" && of_exec == of_run, "{of_run:?} {of_exec:?}");
        Ok(of_run)
    });
}

#[test]
fn a_caller_who_goes_leaves_his_files_to_the_user() {
    assert_same(&["/bin/true"], |stage| {
        stage.bundle.change(|spec| spec["process"]["user"] = json!({"uid": 1000, "gid": 1000}))?;
        let path = stage.bundle.path().to_string_lossy().into_owned();
        let words = ["run", "--detach", "--bundle", &path, "box"];

        let [input, output] = after(stage, &words, File::open("/dev/null")?, 0o644)?;

        stage.runtime.wait_for_status("box", "stopped")?;
        ensure!(input == "0 666" && output == "1000 644", "{input} {output}");
        Ok(output)
    });
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
