//! `docker run --runtime krun` on a real dockerd, against `--runtime runc` on the same one, in virtual
//! machines and natively.
//!
//! Every test has a daemon of its own, and after every container nothing may be left.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration::built;
use integration::dockerd::{self, Dockerd, IMAGE, RUNTIMES};
use integration::guests::{self, Link};
use integration::outcome::{self, End, Outcome, TIME_LIMIT};

fn start() -> Dockerd {
    start_with(&[]).expect("dockerd starts")
}

/// A daemon whose image has these guest programs in `/bin`.
fn start_with(sources: &[&str]) -> Result<Dockerd> {
    let build = |source| guests::c(source, Link::GlibcStatic);
    let programs: Vec<_> =
        sources.iter().map(|&source| Ok((source, build(source)?))).collect::<Result<_>>()?;
    Dockerd::start(&built::krun()?, &programs)
}

/// Starts a container that sleeps, does this to it, and returns how `docker run` ended.
fn while_it_sleeps(docker: &Dockerd, runtime: &str, deed: &[&str]) -> Result<Outcome> {
    let args = dockerd::run_args(runtime, &["--name", "sleeper", IMAGE, "sleep", "1000"]);
    let running = outcome::start(&mut docker.docker(args), None)?;
    let state = ["inspect", "--format", "{{.State.Running}}", "sleeper"];
    let started = outcome::eventually(TIME_LIMIT, || {
        docker.call(state).is_ok_and(|outcome| outcome.stdout().trim() == "true")
    });
    ensure!(started, "the container does not start: {}", docker.log());
    let done = docker.call(deed)?;
    ensure!(done.is_success(), "{deed:?}: {done:?}");
    let outcome = running.finish()?;
    docker.ensure_nothing_is_left().context("after the container")?;
    Ok(outcome)
}

#[test]
fn output_and_exit_status_are_the_programs() {
    let docker = start();

    docker.assert_same(&[IMAGE, "echo", "hello", "two words"], None);
    docker.assert_same(&[IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3"], None);
    docker.assert_same(&[IMAGE, "ls", "/", "/dev"], None);
    docker.assert_same(&[IMAGE, "ls", "-l", "/bin"], None);
    let failed = docker.assert_same(&[IMAGE, "false"], None);
    assert_eq!(failed.end, End::Exited(1));
}

#[test]
fn the_kernel_release_shows_the_virtual_machine() {
    let docker = start();
    let host = docker.run("runc", &[IMAGE, "uname", "-r"], None).unwrap().stdout();

    let guest = docker.run("krun", &[IMAGE, "uname", "-r"], None).unwrap().stdout();
    let native = docker.run("krun-native", &[IMAGE, "uname", "-r"], None).unwrap().stdout();

    assert_eq!(native, host, "{}", docker.log());
    assert_eq!(guest, format!("{}.kontain.KVM\n", host.trim_end()), "{}", docker.log());
}

#[test]
fn a_program_that_is_not_there_is_127() {
    let docker = start();

    let by_path = docker.assert_same(&[IMAGE, "/no/such/program"], None);
    let by_name = docker.assert_same(&[IMAGE, "nosuchprogram"], None);

    assert_eq!((by_path.end, by_name.end), (End::Exited(127), End::Exited(127)));
    assert!(by_path.stderr().contains("/no/such/program: no such file"), "{by_path:?}");
    assert!(by_name.stderr().contains("\"nosuchprogram\": executable file not"), "{by_name:?}");
}

#[test]
fn a_program_that_may_not_be_executed_is_126() {
    let docker = start();

    let file = docker.assert_same(&[IMAGE, "/etc/passwd"], None);
    let directory = docker.assert_same(&[IMAGE, "/bin"], None);

    assert_eq!((file.end, directory.end), (End::Exited(126), End::Exited(126)));
    assert!(file.stderr().contains("\"/etc/passwd\": permission denied"), "{file:?}");
}

#[test]
fn a_killed_container_is_137() {
    let docker = start();

    let [expected, got, native] =
        RUNTIMES.map(|runtime| while_it_sleeps(&docker, runtime, &["kill", "sleeper"]).unwrap());

    assert_eq!(expected.end, End::Exited(137));
    assert_eq!((got.end, native.end), (expected.end, expected.end), "{got:?} {native:?}");
}

#[test]
fn a_container_that_ignores_sigterm_is_stopped_by_force() {
    let docker = start();

    let [expected, got, native] = RUNTIMES.map(|runtime| {
        while_it_sleeps(&docker, runtime, &["stop", "--time", "1", "sleeper"]).unwrap()
    });

    assert_eq!((got.end, native.end), (expected.end, expected.end), "{got:?} {native:?}");
}

#[test]
fn a_running_container_is_removed_by_force() {
    let docker = start();

    let [expected, got, native] = RUNTIMES
        .map(|runtime| while_it_sleeps(&docker, runtime, &["rm", "--force", "sleeper"]).unwrap());

    assert_eq!((got.end, native.end), (expected.end, expected.end), "{got:?} {native:?}");
}

#[test]
fn a_program_that_a_fault_kills_is_128_and_the_signal() {
    let docker = start_with(&["segv.c", "fpe.c"]).unwrap();

    let segv = docker.assert_same(&[IMAGE, "segv.c", "null-read"], None);
    let fpe = docker.assert_same(&[IMAGE, "fpe.c", "zero"], None);

    assert_eq!((segv.end, fpe.end), (End::Exited(139), End::Exited(136)));
}

#[test]
fn standard_input_is_piped_through() {
    let docker = start();
    let bytes: Vec<u8> = (0..1_u32 << 16).flat_map(u32::to_le_bytes).collect();

    docker.assert_same(&["-i", IMAGE, "cat"], Some(&bytes));
    docker.assert_same(&["-i", IMAGE, "sh", "-c", "read -r a; echo \"<$a>\""], Some(b"line\n"));
    docker.assert_same(&[IMAGE, "cat"], Some(b"not interactive: nobody reads this"));
}

#[test]
fn a_terminal_is_a_terminal() {
    let docker = start();

    docker.assert_same(&["-t", IMAGE, "tty"], None);
    docker.assert_same(&["-t", IMAGE, "sh", "-c", "echo out; echo err >&2; stty size"], None);
    docker.assert_same(&["-t", IMAGE, "ls", "-l", "/dev/console"], None);
}

#[test]
fn a_line_typed_at_a_terminal_arrives() {
    let docker = start();
    let answers = RUNTIMES.map(|runtime| {
        let shell = format!(
            "DOCKER_CONFIG=/nonexistent docker --host {} run --rm --network none --runtime {runtime} \
             -it {IMAGE} sh -c 'read -r line; echo \"got <$line>\"; exit 4'",
            docker.host()
        );
        let mut typed = Command::new("script");
        typed.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
        outcome::run(&mut typed, Some(b"typed by hand\n")).unwrap()
    });

    for answer in &answers {
        assert_eq!(answer.end, End::Exited(4), "{answer:?}");
        assert!(answer.stdout().contains("got <typed by hand>"), "{answer:?}");
    }
}

#[test]
fn user_environment_directory_and_host_name_arrive() {
    let docker = start();
    let user = ["-u", "65534:65534", IMAGE, "id"];
    // One variable at a time: dockerd itself hands several over in a random order.
    let env = |variable| ["--hostname", "box", "-e", variable, IMAGE, "env"];

    docker.assert_same(&user, None);
    docker.assert_same(&env("ONE=1"), None);
    docker.assert_same(&env("TWO=a b"), None);
    docker.assert_same(&["-w", "/data/new", IMAGE, "pwd"], None);
    docker.assert_same(&["--hostname", "box", IMAGE, "uname", "-n"], None);
}

#[test]
fn an_unprivileged_user_runs_in_a_virtual_machine_too() {
    let docker = start();

    let args = ["-u", "1000", "--cap-drop", "ALL", IMAGE, "uname", "-r"];
    let guest = docker.run("krun", &args, None).unwrap();

    assert!(guest.stdout().ends_with(".kontain.KVM\n"), "{guest:?}\n{}", docker.log());
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let docker = start();

    let refused = docker.assert_same(&["--read-only", IMAGE, "touch", "/data/file"], None);

    assert_eq!(refused.end, End::Exited(1));
    docker.assert_same(&["--read-only", "--tmpfs", "/tmp", IMAGE, "touch", "/tmp/file"], None);
}

#[test]
fn a_volume_is_read_and_written() {
    let docker = start();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), "from the host\n").unwrap();
    let volume = format!("{}:/data", dir.path().display());

    docker.assert_same(&["-v", &volume, IMAGE, "cat", "/data/in"], None);
    let write = "echo from the guest > /data/out";
    docker.run("krun", &["-v", &volume, IMAGE, "sh", "-c", write], None).unwrap();

    let written = fs::read_to_string(dir.path().join("out")).unwrap_or_default();
    assert_eq!(written, "from the guest\n", "{}", docker.log());
}

#[test]
fn limits_that_a_program_does_not_reach_do_not_matter() {
    let docker = start();

    let limits = ["-m", "64m", "--pids-limit", "20", "--cpus", "1", IMAGE, "echo", "enough"];
    docker.assert_same(&limits, None);
    docker.assert_same(&["--ulimit", "nofile=64:64", IMAGE, "echo", "enough"], None);
}

#[test]
fn containers_of_all_runtimes_run_side_by_side() {
    let docker = start();
    let program = [IMAGE, "echo", "container"];
    let args = RUNTIMES.map(|runtime| dockerd::run_args(runtime, &program));

    let start =
        |i: usize| outcome::start(docker.docker(&args[i % 3]).arg(i.to_string()), None).unwrap();
    let running: Vec<_> = (0..6).map(start).collect();
    let outcomes: Vec<_> = running.into_iter().map(|one| one.finish().unwrap()).collect();

    for (i, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.stdout(), format!("container {i}\n"), "{outcome:?}\n{}", docker.log());
    }
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_detached_container_keeps_its_log_and_its_exit_code() {
    let docker = start();
    let stories = RUNTIMES.map(|runtime| {
        let detach = ["-d", "--name", runtime, "--network", "none", "--runtime", runtime];
        let program = [IMAGE, "sh", "-c", "echo logged; exit 9"];
        let run = [&["run"], &detach[..], &program[..]].concat();
        docker.call(run).unwrap();
        let code = docker.call(["wait", runtime]).unwrap().stdout();
        let log = docker.call(["logs", runtime]).unwrap().stdout();
        docker.call(["rm", runtime]).unwrap();
        (code, log)
    });

    assert_eq!(stories[0], ("9\n".to_owned(), "logged\n".to_owned()), "{}", docker.log());
    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_seccomp_profile_holds_for_the_containers_program() {
    let docker = start();
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("profile.json");
    let rule = r#"{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}"#;
    let document = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    fs::write(&profile, document).unwrap();
    let option = format!("seccomp={}", profile.display());

    let arguments = ["--security-opt", &option, IMAGE, "busybox", "mkdir", "/tmp/made"];
    let refused = docker.assert_same(&arguments, None);
    let allowed = docker.assert_same(&[IMAGE, "busybox", "mkdir", "/tmp/made"], None);

    assert_eq!((refused.end, allowed.end), (End::Exited(1), End::Exited(0)));
    assert!(refused.stderr().contains("No space left on device"), "{refused:?}");
}

#[test]
fn a_shell_starts_programs_in_virtual_machines_of_their_own() {
    let docker = start();

    docker.assert_same(&[IMAGE, "sh", "-c", "echo a | cat; ls / | wc -l; (exit 4)"], None);
    let script = "uname -r | grep -c kontain; echo $(uname -r) | grep -c kontain";
    let guest = docker.run("krun", &[IMAGE, "sh", "-c", script], None).unwrap();

    assert_eq!(guest.stdout(), "1\n1\n", "{guest:?}");
}

#[test]
fn docker_exec_starts_further_programs_in_the_container() {
    let docker = start();
    let stories = RUNTIMES.map(|runtime| {
        let args = ["run", "-d", "--network", "none", "--runtime", runtime, "--name", runtime];
        docker.call([&args[..], &[IMAGE, "sleep", "1000"]].concat()).unwrap();
        let exec = |options: &[&str], program: &[&str]| {
            let args = [&["exec"], options, &[runtime], program].concat();
            let outcome = docker.call(args).unwrap();
            (outcome.end, outcome.stdout())
        };
        let story = [
            exec(&[], &["echo", "hello"]),
            exec(&[], &["sh", "-c", "exit 6"]),
            exec(&["-u", "1000:7"], &["id"]),
            exec(&["-w", "/tmp"], &["pwd"]),
            exec(&["-e", "A=b"], &["sh", "-c", "echo $A"]),
            exec(&["-t"], &["sh", "-c", "tty; stty size"]),
            exec(&[], &["nosuchprogram"]),
            exec(&[], &["/etc/passwd"]),
            exec(&["-d"], &["sleep", "1000"]),
            exec(&[], &["sh", "-c", "set -- /proc/[0-9]*; echo $#"]),
        ];
        docker.call(["rm", "--force", runtime]).unwrap();
        story
    });

    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn docker_top_pause_and_stats_show_what_they_show_with_runc() {
    let docker = start();
    let stories = RUNTIMES.map(|runtime| {
        let args = ["run", "-d", "--network", "none", "--runtime", runtime, "--name", "web"];
        docker.call([&args[..], &[IMAGE, "sleep", "1000"]].concat()).unwrap();
        let top = docker.call(["top", "web", "-o", "pid,args"]).unwrap().stdout();
        let top: Vec<_> = top.lines().filter_map(|line| line.split_once(' ')).collect();
        let top: Vec<_> = top.into_iter().map(|(_, args)| args.trim().to_owned()).collect();
        let paused = docker.call(["pause", "web"]).unwrap().end;
        let state = ["inspect", "--format", "{{.State.Status}}", "web"];
        let state = docker.call(state).unwrap().stdout();
        let unpaused = docker.call(["unpause", "web"]).unwrap().end;
        let args = ["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "web"];
        let usage = docker.call(args).unwrap().stdout();
        let (tasks, memory) = usage.split_once(' ').unwrap();
        assert_ne!(tasks, "0", "{usage}");
        assert!(!memory.starts_with("0B"), "the guest's memory counts: {usage}");
        docker.call(["rm", "--force", "web"]).unwrap();
        (top, paused, state, unpaused)
    });

    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    assert_eq!(stories[0].0[1..], ["sleep 1000"]);
    assert_eq!(stories[0].2, "paused\n");
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_container_has_the_rights_it_is_given() {
    let docker = start();
    let look = ["busybox", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/self/status"];
    for options in [
        &[][..],
        &["--cap-drop", "ALL", "--cap-add", "CHOWN", "-u", "7"],
        &["--cap-drop", "NET_RAW", "--cap-add", "SYS_TIME", "--security-opt", "no-new-privileges"],
    ] {
        docker.assert_same(&[options, &[IMAGE], &look].concat(), None);
    }
}

#[test]
fn docker_update_changes_the_limits_of_a_running_container() {
    let docker = start();
    let stories = RUNTIMES.map(|runtime| {
        let args = ["run", "-d", "--network", "none", "--runtime", runtime, "--name", runtime];
        docker.call([&args[..], &[IMAGE, "sleep", "1000"]].concat()).unwrap();
        let limits = ["--memory", "48m", "--memory-swap", "48m", "--pids-limit", "33"];
        let updated = docker.call([&["update"], &limits[..], &[runtime]].concat()).unwrap();
        let files = "cd /sys/fs/cgroup; cat pids/pids.max memory/memory.limit_in_bytes";
        let or_version_2 = format!("{files} || cat pids.max memory.max");
        let held = docker.call(["exec", runtime, "sh", "-c", &or_version_2]).unwrap();
        docker.call(["rm", "--force", runtime]).unwrap();
        (updated.end, held.stdout())
    });

    assert_eq!(stories[0], (End::Exited(0), "33\n50331648\n".to_owned()), "{}", docker.log());
    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn memory_that_runs_out_is_reported() {
    let docker = start();
    let stories = RUNTIMES.map(|runtime| {
        let fill = "x=$(busybox dd if=/dev/zero bs=1M count=64 2>/dev/null | busybox tr '\\0' x)";
        let limits = ["-m", "32m", "--memory-swap", "32m", "--network", "none"];
        let run = ["run", "-d", "--runtime", runtime, "--name", runtime];
        let program = [IMAGE, "sh", "-c", fill];
        docker.call([&run[..], &limits[..], &program[..]].concat()).unwrap();
        let code = docker.call(["wait", runtime]).unwrap().stdout();
        let format = "{{.State.OOMKilled}}";
        let killed = docker.call(["inspect", "--format", format, runtime]).unwrap().stdout();
        docker.call(["rm", "--force", runtime]).unwrap();
        (code, killed)
    });

    assert_eq!(stories[0], ("137\n".to_owned(), "true\n".to_owned()), "{}", docker.log());
    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    docker.ensure_nothing_is_left().unwrap();
}
