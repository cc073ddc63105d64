//! containerd by `ctr`, and podman: the same story by runc and by krun, with virtual machines and natively.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::containerd::Containerd;
use integration::outcome::{self, End, Outcome, TIME_LIMIT};
use integration::podman::{IMAGE, Podman};
use integration::runtime::RUNTIMES;

/// What users see of an outcome; standard error has the runtime's name in it.
fn seen(outcome: &Outcome) -> (End, String) {
    (outcome.end, outcome.stdout())
}

#[test]
fn ctr_runs_programs() {
    let containerd = Containerd::start().unwrap();

    for (options, program) in [
        (&["--rm"][..], "echo out; echo err >&2; exit 3"),
        (&["--rm", "--user", "5:6", "--cwd", "/tmp", "--env", "A=b"], "id; pwd; env"),
        (&["--rm", "--read-only"], "touch /x"),
        (&["--rm", "--memory-limit", "67108864", "--cpus", "0.5"], "cat /proc/self/cgroup | wc -l"),
        (&["--rm", "--seccomp"], "ls /"),
    ] {
        let [expected, got, native] = RUNTIMES.map(|runtime| {
            containerd.run(runtime, options, "one", &["sh", "-c", program]).unwrap()
        });

        for (how, got) in [("krun", got), ("natively", native)] {
            let difference = outcome::difference(&expected, &got).unwrap_or_default();
            assert!(difference.is_empty(), "{how}: {program}: {difference}\n{}", containerd.log());
        }
    }
    let release = |name| containerd.run(name, &["--rm"], "one", &["uname", "-r"]).unwrap().stdout();
    assert_releases(RUNTIMES.map(release));
    containerd.ensure_nothing_is_left().unwrap();
}

/// What each of the runtimes shows as the kernel's release.
#[track_caller]
fn assert_releases([host, guest, native]: [String; 3]) {
    assert_eq!(guest, format!("{}.kontain.KVM\n", host.trim_end()));
    assert_eq!(native, host);
}

/// The state of the only task, as `ctr` shows it.
fn task_state(containerd: &Containerd) -> String {
    let listed = containerd.call(["task", "list"]).expect("ctr answers").stdout();
    let line = listed.lines().nth(1).unwrap_or_default();
    line.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn ctr_leads_a_task_through_its_life() {
    let containerd = Containerd::start().unwrap();
    let stories = RUNTIMES.map(|runtime| {
        let mut story = Vec::new();
        let call = |args: &[&str]| containerd.call(args).unwrap();
        let exec = |name, program: &[&str]| {
            call(&[&["task", "exec", "--exec-id", name, "web"], program].concat())
        };
        let started = containerd.run(runtime, &["--detach"], "web", &["sleep", "1000"]).unwrap();
        story.push((started.end, task_state(&containerd)));
        story.push(seen(&exec("e1", &["sh", "-c", "echo inside; exit 4"])));
        story.push(seen(&exec("e2", &["nosuchprogram"])));
        story.push((call(&["task", "pause", "web"]).end, task_state(&containerd)));
        story.push((call(&["task", "resume", "web"]).end, task_state(&containerd)));
        let metrics = call(&["task", "metrics", "web"]);
        story.push((metrics.end, metrics.stdout().contains("pids").to_string()));
        story.push(seen(&call(&["task", "kill", "--signal", "TERM", "web"])));
        story.push((End::Exited(0), task_state(&containerd)));
        story.push(seen(&call(&["task", "kill", "--signal", "KILL", "web"])));
        let stopped = outcome::eventually(TIME_LIMIT, || task_state(&containerd) == "STOPPED");
        story.push((call(&["task", "delete", "web"]).end, stopped.to_string()));
        story.push(seen(&call(&["container", "delete", "web"])));
        story
    });

    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", containerd.log());
    assert_eq!(stories[0][1], (End::Exited(4), "inside\n".to_owned()));
    containerd.ensure_nothing_is_left().unwrap();
}

/// Runs with runc, then with krun, both ways, which must be seen to do the same.
#[track_caller]
fn assert_same_run(podman: &Podman, args: &[&str], stdin: Option<&[u8]>) -> Outcome {
    let [expected, got, native] = RUNTIMES.map(|runtime| {
        podman.run(runtime, &[&["--rm"], args].concat(), stdin).expect("podman can be run")
    });
    for got in [&got, &native] {
        assert_eq!(seen(got), seen(&expected), "{args:?}\nrunc: {expected:?}\nkrun: {got:?}");
    }
    got
}

#[test]
fn podman_runs_programs() {
    let podman = Podman::new().unwrap();

    assert_same_run(&podman, &[IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3"], None);
    assert_same_run(&podman, &["-i", IMAGE, "cat"], Some(b"through a pipe\n"));
    assert_same_run(&podman, &["-t", IMAGE, "tty"], None);
    assert_same_run(
        &podman,
        &["-u", "5:6", "-w", "/tmp", "-e", "A=b", IMAGE, "sh", "-c", "id; pwd; echo $A"],
        None,
    );
    assert_same_run(
        &podman,
        &["--memory", "64m", "--pids-limit", "20", IMAGE, "echo", "enough"],
        None,
    );
    let missing = assert_same_run(&podman, &[IMAGE, "nosuchprogram"], None);
    assert_eq!(missing.end, End::Exited(127), "{missing:?}");
    let args = ["--rm", IMAGE, "uname", "-r"];
    assert_releases(RUNTIMES.map(|name| podman.run(name, &args, None).unwrap().stdout()));
    podman.ensure_nothing_is_left().unwrap();
}

#[test]
fn podman_fills_a_tmpfs_with_what_the_image_has_there() {
    let podman = Podman::new().unwrap();
    let script = "cat /data/file; ls -ld /data /data/more; echo new > /data/new; cat /data/new";

    let copied = assert_same_run(&podman, &["--tmpfs", "/data", IMAGE, "sh", "-c", script], None);
    assert!(copied.stdout().starts_with("of the image\n"), "{copied:?}");
    let read_only = "touch /tmp/x && ls /tmp; touch /x";
    assert_same_run(&podman, &["--read-only", IMAGE, "sh", "-c", read_only], None);
    podman.ensure_nothing_is_left().unwrap();
}

#[test]
fn podman_leads_a_container_through_its_life() {
    let podman = Podman::new().unwrap();
    let stories = RUNTIMES.map(|runtime| {
        let call = |args: &[&str]| seen(&podman.call(runtime, args, None).unwrap());
        let state =
            || call(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web"]);
        let started = podman.run(runtime, &["-d", "--name", "web", IMAGE, "sleep", "1000"], None);
        let mut story = vec![(started.unwrap().end, String::new()), state()];
        story.push(call(&["exec", "web", "sh", "-c", "echo inside; exit 4"]));
        story.push(call(&["exec", "-u", "5:6", "-w", "/tmp", "web", "sh", "-c", "id; pwd"]));
        story.push(call(&["exec", "web", "nosuchprogram"]));
        story.extend([call(&["pause", "web"]), state(), call(&["unpause", "web"]), state()]);
        story.push(call(&["top", "web", "args"]));
        story.extend([call(&["stop", "--time", "1", "web"]), state()]);
        story.extend([call(&["start", "web"]), state()]);
        story.extend([call(&["kill", "web"]), call(&["wait", "web"]), state()]);
        story.push((call(&["rm", "--force", "web"]).0, String::new()));
        story
    });

    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}");
    assert_eq!(stories[0][2], (End::Exited(4), "inside\n".to_owned()));
    podman.ensure_nothing_is_left().unwrap();
}
