//! What dockerd does with containers of its own accord, or to many, or when something of it ends: by
//! krun as by runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use integration::built;
use integration::dockerd::{Dockerd, IMAGE, RUNTIMES};
use integration::outcome::{self, End, Outcome, TIME_LIMIT};

fn start() -> Dockerd {
    Dockerd::start(&built::krun().expect("krun is built"), &[]).expect("dockerd starts")
}

/// `docker run -d` under this name.
#[track_caller]
fn run(docker: &Dockerd, runtime: &str, name: &str, options: &[&str], program: &[&str]) {
    let args = ["run", "-d", "--network", "none", "--runtime", runtime, "--name", name];
    let started = docker
        .call([&args[..], options, &[IMAGE], program].concat())
        .expect("the client can be run");
    assert!(started.is_success(), "{started:?}\n{}", docker.log());
}

fn inspect(docker: &Dockerd, name: &str, format: &str) -> String {
    let format = format!("{{{{{format}}}}}");
    docker
        .call(["inspect", "--format", &format, name])
        .expect("the client can be run")
        .stdout()
        .trim()
        .to_owned()
}

#[track_caller]
fn wait_until(docker: &Dockerd, name: &str, format: &str, value: &str) {
    let reached = outcome::eventually(TIME_LIMIT, || inspect(docker, name, format) == value);
    assert!(reached, "{name}: {format} is {}\n{}", inspect(docker, name, format), docker.log());
}

/// Until the program has said that it is ready.
#[track_caller]
fn wait_until_ready(docker: &Dockerd, name: &str) {
    let said = || docker.call(["logs", name]).expect("the client can be run").stdout();
    assert!(outcome::eventually(TIME_LIMIT, || said() == "ready\n"), "{name}: {}", docker.log());
}

#[track_caller]
fn remove(docker: &Dockerd, name: &str) {
    docker.call(["rm", "--force", name]).expect("the client can be run");
    docker.ensure_nothing_is_left().expect("nothing is left");
}

fn exec(docker: &Dockerd, name: &str, program: &[&str]) -> Outcome {
    docker.call([&["exec", name], program].concat()).expect("the client can be run")
}

#[test]
fn a_container_that_fails_is_started_again_as_often_as_was_asked() {
    let docker = start();
    for runtime in RUNTIMES {
        run(&docker, runtime, "web", &["--restart", "on-failure:2"], &["sh", "-c", "exit 3"]);
        wait_until(&docker, "web", ".RestartCount", "2");
        wait_until(&docker, "web", ".State.Status", "exited");
        assert_eq!(inspect(&docker, "web", ".State.ExitCode"), "3", "{runtime}");
        remove(&docker, "web");
    }
}

#[test]
fn a_container_that_shall_always_run_is_started_again_until_it_is_stopped() {
    let docker = start();
    for runtime in RUNTIMES {
        run(&docker, runtime, "web", &["--restart", "always"], &["true"]);
        let again = || inspect(&docker, "web", ".RestartCount").parse().is_ok_and(|n: u32| n > 1);
        assert!(outcome::eventually(TIME_LIMIT, again), "{runtime}: {}", docker.log());
        assert!(docker.call(["stop", "web"]).unwrap().is_success(), "{runtime}");
        assert_eq!(inspect(&docker, "web", ".State.Status"), "exited", "{runtime}");
        remove(&docker, "web");
    }
}

/// Types this into a client that is attached to a container's terminal.
fn type_into(docker: &Dockerd, name: &str, text: &str) -> Outcome {
    let host = docker.host();
    let attach = format!("docker --host {host} attach --detach-keys x,y {name}");
    let mut typed = Command::new("script");
    typed.env("DOCKER_CONFIG", "/nonexistent");
    typed.args(["--quiet", "--return", "--command", &attach, "/dev/null"]);
    outcome::run(&mut typed, Some(text.as_bytes())).expect("script can be started")
}

#[test]
fn a_client_attaches_and_leaves_and_comes_back() {
    let docker = start();
    let script =
        "echo ready; while read word; do test $word = end && exit 7; echo got $word; done; exit 1";
    for runtime in RUNTIMES {
        run(&docker, runtime, "web", &["-it"], &["sh", "-c", script]);
        let says = |text: &str| {
            let said = || docker.call(["logs", "web"]).is_ok_and(|log| log.stdout().contains(text));
            assert!(outcome::eventually(TIME_LIMIT, said), "{runtime}: {}", docker.log());
        };
        says("ready");
        for word in ["one", "two"] {
            let left = type_into(&docker, "web", &format!("{word}\nxy"));
            assert!(left.stdout().contains("read escape sequence"), "{runtime}: {left:?}");
            says(&format!("got {word}"));
            assert_eq!(inspect(&docker, "web", ".State.Status"), "running", "{runtime}");
        }
        assert_eq!(type_into(&docker, "web", "end\n").end, End::Exited(7), "{runtime}");
        remove(&docker, "web");
    }
}

#[test]
fn files_are_copied_in_and_out() {
    let docker = start();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("in")).unwrap();
    fs::write(path("in/file"), "of the host\n").unwrap();
    fs::set_permissions(path("in/file"), fs::Permissions::from_mode(0o640)).unwrap();
    let stories = RUNTIMES.map(|runtime| {
        run(&docker, runtime, "web", &["--tmpfs", "/tmp"], &["sleep", "1000"]);
        let copy = |from: &str, to: &str| docker.call(["cp", from, to]).unwrap().end;
        let mut ends = vec![copy(&path("in"), "web:/data/in")];
        let look = "cat /data/in/file; busybox stat -c %a:%u /data/in/file; \
                    echo of the container > /data/in/new; busybox ln -s new /data/in/link";
        let seen = exec(&docker, "web", &["sh", "-c", look]).stdout();
        let out = path(runtime);
        ends.push(copy("web:/data/in", &out));
        ends.push(copy("web:/data/none", &out));
        ends.push(copy(&path("none"), "web:/data"));
        docker.call(["kill", "web"]).unwrap();
        // A stopped container has its files, too.
        ends.push(copy("web:/data/in/new", &path(&format!("{runtime}/late"))));
        remove(&docker, "web");
        let read = |name: &str| fs::read_to_string(path(&format!("{runtime}/{name}"))).unwrap();
        (ends, seen, ["file", "new", "link", "late"].map(read))
    });

    assert!(stories.iter().all(|story| *story == stories[0]), "{stories:#?}\n{}", docker.log());
    assert_eq!(stories[0].1, "of the host\n640:0\n");
    let written = "of the container\n";
    assert_eq!(stories[0].2, ["of the host\n", written, written, written]);
}

#[test]
fn a_container_is_as_healthy_as_its_check_says() {
    let docker = start();
    for runtime in RUNTIMES {
        let check =
            ["--health-cmd", "cat /tmp/well", "--health-interval", "1s", "--health-retries", "1"];
        run(&docker, runtime, "web", &check, &["sleep", "1000"]);
        wait_until(&docker, "web", ".State.Health.Status", "unhealthy");
        assert!(exec(&docker, "web", &["touch", "/tmp/well"]).is_success());
        wait_until(&docker, "web", ".State.Health.Status", "healthy");
        remove(&docker, "web");
    }
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    let docker = start();
    docker.assert_same(&["--init", IMAGE, "sh", "-c", "cat /proc/1/comm; exit 5"], None);
    for runtime in RUNTIMES {
        let program = ["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"];
        run(&docker, runtime, "web", &["--init"], &program);
        wait_until_ready(&docker, "web");
        assert!(docker.call(["stop", "--time", "60", "web"]).unwrap().is_success());
        assert_eq!(inspect(&docker, "web", ".State.ExitCode"), "9", "{runtime}");
        remove(&docker, "web");
    }
}

#[test]
fn a_container_can_join_the_namespaces_of_another() {
    let docker = start();
    for runtime in RUNTIMES {
        run(&docker, runtime, "web", &["--ipc", "shareable"], &["sleep", "1000"]);
        let first = |path: &str| exec(&docker, "web", &["busybox", "readlink", path]).stdout();
        let expected =
            ["net", "pid", "ipc"].map(|kind| first(&format!("/proc/1/ns/{kind}"))).concat();

        let links =
            "for i in net pid ipc; do busybox readlink /proc/self/ns/$i; done; cat /proc/1/comm";
        let joined = docker.call([
            "run",
            "--rm",
            "--runtime",
            runtime,
            "--network",
            "container:web",
            "--pid",
            "container:web",
            "--ipc",
            "container:web",
            IMAGE,
            "sh",
            "-c",
            links,
        ]);
        assert_eq!(joined.unwrap().stdout(), expected + "sleep\n", "{runtime}: {}", docker.log());
        remove(&docker, "web");
    }
}

#[test]
fn containers_outlive_their_daemon_if_they_shall() {
    let mut docker = Dockerd::start_with_live_restore(&built::krun().unwrap()).unwrap();
    for runtime in RUNTIMES {
        run(
            &docker,
            runtime,
            runtime,
            &[],
            &["sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done"],
        );
    }

    for name in RUNTIMES {
        wait_until_ready(&docker, name);
    }
    docker.restart().unwrap();

    for runtime in RUNTIMES {
        assert_eq!(inspect(&docker, runtime, ".State.Status"), "running", "{runtime}");
        let answer = exec(&docker, runtime, &["echo", "still here"]);
        assert_eq!(answer.stdout(), "still here\n", "{answer:?}\n{}", docker.log());
        assert!(docker.call(["stop", "--time", "60", runtime]).unwrap().is_success());
        assert_eq!(inspect(&docker, runtime, ".State.ExitCode"), "4", "{runtime}");
        docker.call(["rm", "--force", runtime]).unwrap();
    }
    docker.ensure_nothing_is_left().unwrap();
}

#[test]
fn a_container_whose_shim_is_killed_is_cleaned_up() {
    let docker = start();
    for runtime in RUNTIMES {
        run(&docker, runtime, "web", &[], &["sleep", "1000"]);
        let first: i32 = inspect(&docker, "web", ".State.Pid").parse().unwrap();
        let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        let name = fs::read_to_string(format!("/proc/{shim}/comm")).unwrap();
        assert!(name.starts_with("containerd-shim"), "{name}");

        assert!(
            Command::new("/bin/busybox").args(["kill", "-9", shim]).status().unwrap().success()
        );

        wait_until(&docker, "web", ".State.Running", "false");
        remove(&docker, "web");
    }
}

#[test]
fn fifty_containers_run_at_once() {
    let docker = &start();
    for runtime in RUNTIMES {
        run_fifty(docker, runtime);
    }
}

fn run_fifty(docker: &Dockerd, runtime: &str) {
    let names: Vec<_> = (0..50).map(|number| format!("web{number}")).collect();
    thread::scope(|scope| {
        for some in names.chunks(13) {
            scope.spawn(move || {
                for name in some {
                    run(docker, runtime, name, &[], &["sleep", "1000"]);
                }
            });
        }
    });

    let running =
        docker.call(["ps", "--quiet"]).expect("the client can be run").stdout().lines().count();
    let some = names.iter().step_by(7);
    let answers = some.filter(|name| exec(docker, name, &["echo", "hello"]).stdout() == "hello\n");
    assert_eq!((running, answers.count()), (50, 8), "{runtime}: {}", docker.log());

    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for deed in [&["kill"][..], &["rm", "--force"]] {
        let done = docker.call([deed, &names].concat()).expect("the client can be run");
        assert_eq!(done.end, End::Exited(0), "{done:?}");
    }
    docker.ensure_nothing_is_left().expect("nothing is left");
}
