//! The verbs that act on a running container, by krun and by runc: `exec`, `ps`, `list`,
//! `pause`, `resume`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::process::Command;

use integration::bundle::Bundle;
use integration::outcome::{self, End, Outcome, TIME_LIMIT};
use integration::runtime::Runtime;
use integration::sleeper::Sleeper;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

fn krun() -> Runtime {
    Runtime::krun().expect("krun is built")
}

fn runc() -> Runtime {
    Runtime::runc().expect("runc is installed")
}

/// Calls both with the same `exec` and compares output and exit code.
#[track_caller]
fn assert_same_exec(both: &[Sleeper; 2], args: &[&str], stdin: Option<&[u8]>) -> Outcome {
    let [expected, got] = both.each_ref().map(|sleeper| sleeper.exec(args, stdin));
    let difference = outcome::difference(&expected, &got);
    assert!(difference.is_none(), "exec {args:?}: {}", difference.unwrap_or_default());
    got
}

#[test]
fn exec_passes_output_input_and_exit_code() {
    let both = Sleeper::both();

    assert_same_exec(&both, &["web", "echo", "hello", "-x"], None);
    assert_same_exec(&both, &["web", "cat"], Some(b"through a pipe\n"));
    let ended = assert_same_exec(&both, &["web", "sh", "-c", "echo err >&2; exit 7"], None);
    assert_eq!(ended.end, End::Exited(7));
    let killed = assert_same_exec(&both, &["web", "sh", "-c", "kill -9 $$"], None);
    assert_eq!(killed.end, End::Exited(137));
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn exec_stays_in_a_virtual_machine() {
    let krun = Sleeper::new(krun());

    let release = krun.exec(&["web", "uname", "-r"], None);

    assert!(release.stdout().ends_with(".kontain.KVM\n"), "{release:?}");
    krun.finish();
}

#[test]
fn exec_has_the_containers_surroundings_and_its_own_changes() {
    let both = Sleeper::both();

    for args in [
        &["web", "id"][..],
        &["web", "env"],
        &["web", "pwd"],
        &["web", "cat", "/proc/1/comm"],
        &["--user", "1000", "web", "id"],
        &["--user", "1000:1001", "--additional-gids", "7", "web", "id"],
        &["--cwd", "/tmp", "web", "pwd"],
        &["--env", "A=b c", "--env", "TERM=other", "web", "env"],
        &["--cap", "CAP_CHOWN", "web", "sh", "-c", "head -40 /proc/self/status | cat | wc -l"],
    ] {
        assert_same_exec(&both, args, None);
    }
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn exec_takes_a_process_section_from_a_file() {
    let both = Sleeper::both();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("process.json");
    let section = json!({
        "args": ["sh", "-c", "id; pwd; env; exit 3"], "cwd": "/tmp", "env": ["PATH=/bin", "X=1"],
        "user": {"uid": 5, "gid": 6}, "noNewPrivileges": true
    });
    fs::write(&file, section.to_string()).unwrap();

    let ended = assert_same_exec(&both, &["--process", file.to_str().unwrap(), "web"], None);

    assert_eq!(ended.end, End::Exited(3));
    both.into_iter().for_each(Sleeper::finish);
}

#[test]
fn exec_in_the_background_writes_its_pid_and_lives_on() {
    for sleeper in Sleeper::both() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let option = format!("--pid-file={}", file.display());

        let started = sleeper.exec(&["--detach", &option, "web", "sleep", "1000"], None);

        assert!(started.is_success(), "{started:?}");
        let pid: i64 = fs::read_to_string(&file).unwrap().parse().unwrap();
        assert!(sleeper.processes().contains(&pid), "{pid} is not in {:?}", sleeper.processes());
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(String::from_utf8_lossy(&title), "sleep\x001000\x00");
        sleeper.finish();
    }
}

/// What remains of runc's words when time and prefix are gone.
fn words(outcome: &Outcome) -> String {
    let text = outcome.stderr();
    let message = text.split_once("msg=").map_or(text.as_str(), |(_, message)| message);
    message.trim().to_owned()
}

#[test]
fn exec_fails_in_the_words_of_runc_and_leaves_nothing() {
    let both = Sleeper::both();

    for args in [
        &["web", "nosuchprogram"][..],
        &["web", "/no/such/program"],
        &["web", "/etc/passwd"],
        &["nosuchcontainer", "true"],
    ] {
        let [expected, got] = both.each_ref().map(|sleeper| sleeper.exec(args, None));

        assert_eq!(got.end, End::Exited(255), "{got:?}");
        assert_eq!((&got.end, words(&got)), (&expected.end, words(&expected)), "{args:?}");
    }
    for sleeper in both {
        assert_eq!(sleeper.processes().len(), 1);
        let directory = sleeper.runtime.root().join("web");
        let mut names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.any(|name| name.to_string_lossy().starts_with("exec-")));
        sleeper.finish();
    }
}

#[test]
fn exec_obeys_the_containers_seccomp_profile() {
    let profile = |spec: &mut Value| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
        });
    };
    let krun = Sleeper::changed(krun(), profile);

    let refused = krun.exec(&["web", "busybox", "mkdir", "/tmp/made"], None);

    assert!(refused.stderr().contains("No space left on device"), "{refused:?}");
    krun.finish();
}

#[test]
fn a_stopped_container_takes_no_further_program() {
    for sleeper in Sleeper::both() {
        sleeper.runtime.must(["kill", "web", "KILL"]).unwrap();
        sleeper.runtime.wait_for_status("web", "stopped").unwrap();

        let refused = sleeper.exec(&["web", "true"], None);

        assert_eq!(refused.end, End::Exited(255), "{refused:?}");
        assert!(words(&refused).contains("cannot exec in a stopped container"), "{refused:?}");
        sleeper.finish();
    }
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    for sleeper in Sleeper::both() {
        let runtime = &sleeper.runtime;
        runtime.must(["pause", "web"]).unwrap();
        assert_eq!(runtime.status("web").unwrap(), "paused");

        let refused = sleeper.exec(&["web", "true"], None);
        assert!(words(&refused).contains("cannot exec in a paused container"), "{refused:?}");
        let again = runtime.call(["pause", "web"]).unwrap();
        assert_eq!(again.end, End::Exited(1), "{again:?}");

        runtime.must(["resume", "web"]).unwrap();
        assert_eq!(runtime.status("web").unwrap(), "running");
        let again = runtime.call(["resume", "web"]).unwrap();
        assert!(words(&again).contains("container not paused"), "{again:?}");
        assert!(sleeper.exec(&["web", "true"], None).is_success());
        sleeper.finish();
    }
}

#[test]
fn a_program_started_in_a_paused_container_waits() {
    let krun = Sleeper::new(krun());
    krun.runtime.must(["pause", "web"]).unwrap();
    let mut command = krun.runtime.command(["exec", "--ignore-paused", "web", "echo", "late"]);
    let mut running = outcome::start(&mut command, None).unwrap();

    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(running.stdout_so_far().unwrap(), "");
    krun.runtime.must(["resume", "web"]).unwrap();

    let ended = running.finish().unwrap();
    assert_eq!((ended.end, ended.stdout().as_str()), (End::Exited(0), "late\n"));
    krun.finish();
}

#[test]
fn ps_and_list_show_what_runc_shows() {
    for sleeper in Sleeper::both() {
        let runtime = &sleeper.runtime;
        let pid = runtime.state("web").unwrap()["pid"].as_i64().unwrap();

        assert_eq!(sleeper.processes(), [pid]);
        let table = runtime.must(["ps", "web"]).unwrap().stdout();
        let (header, line) = table.split_once('\n').unwrap();
        assert!(header.contains("PID") && line.contains("sleep 1000"), "{table}");
        let narrow = runtime.must(["ps", "web", "-o", "pid,comm"]).unwrap().stdout();
        assert_eq!(
            narrow.split_whitespace().collect::<Vec<_>>(),
            ["PID", "COMMAND", &pid.to_string(), "sleep"]
        );

        let listed = runtime.must(["list", "--format", "json"]).unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed[0]["id"], "web");
        assert_eq!((&listed[0]["pid"], &listed[0]["status"]), (&json!(pid), &json!("running")));
        assert_eq!(runtime.must(["list", "--quiet"]).unwrap().stdout(), "web\n");
        let table = runtime.must(["list"]).unwrap().stdout();
        assert!(table.starts_with("ID          PID         STATUS      BUNDLE"), "{table}");
        sleeper.finish();
    }
}

#[test]
fn a_store_that_is_not_there_lists_as_with_runc() {
    let [expected, got] = [runc(), krun()].map(|runtime| {
        let list = |args: &[&str]| {
            let mut command = Command::new(runtime.program());
            command.args(["--root", "/nonexistent/krun/root", "list"]).args(args);
            outcome::run(&mut command, None).unwrap()
        };
        [list(&["--format", "json"]), list(&["-q"]), list(&[])].map(|listed| listed.stdout())
    });

    assert_eq!(got[..2], expected[..2]);
    // krun has columns of its own behind runc's.
    assert!(got[2].starts_with(expected[2].trim_end()), "{got:?} {expected:?}");
}

#[test]
fn programs_started_at_once_do_not_disturb_each_other() {
    let krun = Sleeper::new(krun());
    let start = |number: usize| {
        let text = number.to_string();
        let mut command = krun.runtime.command(["exec", "web", "echo", &text]);
        outcome::start(&mut command, None).unwrap()
    };

    let running: Vec<_> = (0..8).map(start).collect();

    for (number, running) in running.into_iter().enumerate() {
        assert_eq!(running.finish().unwrap().stdout(), format!("{number}\n"));
    }
    assert!(outcome::eventually(TIME_LIMIT, || krun.processes().len() == 1));
    krun.finish();
}

/// What comes through the next connection: a message, and the process behind the descriptor that
/// comes with it.
fn receive_process(listener: &UnixListener) -> (String, i64) {
    let (stream, _) = listener.accept().expect("somebody connects");
    let mut message = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    let length = received.expect("a message comes").bytes;
    let descriptor = control.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { return None };
        descriptors.next()
    });
    let descriptor = descriptor.expect("a descriptor comes with it");
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
    let information = fs::read_to_string(path);
    let information = information.expect("it is open");
    let pid = information.lines().find_map(|line| line.strip_prefix("Pid:\t"));
    let pid = pid.and_then(|pid| pid.parse().ok()).expect("it is a process's");
    (String::from_utf8_lossy(&message[..length]).into_owned(), pid)
}

#[test]
fn a_socket_receives_descriptors_of_new_processes() {
    // runc has the option since 1.3, which Debian does not have.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let option = format!("--pidfd-socket={}", path.display());
    let listener = UnixListener::bind(&path).unwrap();
    let bundle = Bundle::with_args(&["/bin/sleep", "1000"]).unwrap();
    let runtime = krun();

    let bundle_option = format!("--bundle={}", bundle.path().display());
    let mut create = runtime.command(["create", &bundle_option, &option, "web"]);
    let creating = outcome::start(&mut create, None).unwrap();
    let (kind, pid) = receive_process(&listener);
    assert!(creating.finish().unwrap().is_success());
    assert_eq!(kind, "standard");
    assert_eq!(json!(pid), runtime.state("web").unwrap()["pid"]);

    runtime.must(["start", "web"]).unwrap();
    let mut exec = runtime.command(["exec", &option, "web", "sh", "-c", "read -r line; exit 5"]);
    let running = outcome::start(&mut exec, Some(b"")).unwrap();
    let (kind, pid) = receive_process(&listener);
    assert_eq!(kind, "setns");
    assert_ne!(json!(pid), runtime.state("web").unwrap()["pid"]);
    assert_eq!(running.finish().unwrap().end, End::Exited(5));

    drop(listener);
    let refused = runtime.call(["exec", &option, "web", "true"]).unwrap();
    assert_eq!(refused.end, End::Exited(255), "{refused:?}");
    assert!(refused.stderr().contains("--pidfd-socket"), "{refused:?}");
    runtime.must(["delete", "--force", "web"]).unwrap();
    bundle.footprint.ensure_nothing_is_left().unwrap();
}
