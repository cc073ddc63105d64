//! Without the host's root: podman and the runtime itself as an ordinary user's, and user namespaces.
//! krun against runc.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use integration::bundle::Bundle;
use integration::ordinary_user::{AS_HIM, ID, IMAGE, Kvm, OrdinaryUser};
use integration::outcome::{self, End, Outcome};
use integration::runtime::Runtime;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

/// What users see of an outcome; standard error has the runtime's name in it.
fn seen(outcome: &Outcome) -> (End, String) {
    (outcome.end, outcome.stdout())
}

fn user() -> OrdinaryUser {
    OrdinaryUser::new(Kvm::Permitted).expect("a user can be made")
}

fn podman_user() -> OrdinaryUser {
    let user = user();
    user.import().expect("podman imports an image");
    user
}

/// `podman run` by runc and by krun, which must be seen to do the same.
#[track_caller]
fn assert_same_run(user: &OrdinaryUser, options: &[&str], program: &[&str]) -> Outcome {
    let run = ["run", "--rm", "--network", "none"];
    let args = [&run[..], options, &[IMAGE], program].concat();
    let [expected, got] =
        ["runc", "krun"].map(|runtime| user.podman(runtime, &args).expect("podman runs"));
    assert_eq!(seen(&got), seen(&expected), "{args:?}\nrunc: {expected:?}\nkrun: {got:?}");
    got
}

#[test]
fn podman_of_an_ordinary_user_runs_programs() {
    let user = podman_user();
    let shared = user.home().join("shared");
    fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, Some(ID), Some(ID)).unwrap();
    let volume = format!("{}:/data", shared.display());
    let look = "id; cat /proc/self/uid_map /proc/self/cgroup; ls /sys/fs/cgroup; exit 3";

    let looked = assert_same_run(&user, &[], &["sh", "-c", look]);
    assert_eq!(looked.end, End::Exited(3), "{looked:?}");
    assert_same_run(&user, &["-t", "-u", "5:6", "-w", "/tmp"], &["sh", "-c", "tty; id; pwd"]);
    let write = "echo new >/data/file && ls -ln /data/file | head -c 30";
    let written = assert_same_run(&user, &["-v", &volume], &["sh", "-c", write]);
    assert!(written.is_success(), "{written:?}");
    assert_same_run(&user, &["--userns=keep-id"], &["sh", "-c", "id; cat /proc/self/gid_map"]);
    assert_same_run(&user, &["--userns=nomap"], &["id"]);
    let ranges = ["--uidmap", "0:1:100", "--uidmap", "100:200:5", "--gidmap", "0:1:100"];
    assert_same_run(&user, &ranges, &["cat", "/proc/self/uid_map"]);
    let tmp = "touch /x; touch /tmp/y /run/z && echo both";
    assert_same_run(&user, &["--read-only", "--tmpfs", "/data"], &["sh", "-c", tmp]);
    assert_same_run(&user, &["--pid", "host", "--cgroupns", "host"], &["cat", "/proc/self/cgroup"]);
    assert_same_run(&user, &["--memory", "64m", "--pids-limit", "20"], &["true"]);
    let missing = assert_same_run(&user, &[], &["nosuchprogram"]);
    assert_eq!(missing.end, End::Exited(127), "{missing:?}");

    let alone = ["run", "--rm", "--network", "none", "--cgroups=disabled", IMAGE, "uname", "-r"];
    let guest = user.podman("krun", &alone).unwrap();
    assert!(guest.stdout().ends_with(".kontain.KVM\n"), "{guest:?}");
}

#[test]
fn podman_of_an_ordinary_user_leads_a_container_through_its_life() {
    let user = podman_user();
    let stories = ["runc", "krun"].map(|runtime| {
        let call = |args: &[&str]| seen(&user.podman(runtime, args).unwrap());
        let state =
            || call(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web"]);
        let program = "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.1; done";
        let run = ["run", "-d", "--name", "web", "--network", "none", IMAGE, "sh", "-c", program];
        let mut story = vec![(call(&run).0, String::new()), state()];
        story.push(call(&["exec", "web", "sh", "-c", "echo inside; exit 4"]));
        story.push(call(&["exec", "-t", "-u", "5:6", "web", "sh", "-c", "tty; id"]));
        story.push(call(&["exec", "web", "nosuchprogram"]));
        story.extend([call(&["stop", "--time", "60", "web"]), state(), call(&["logs", "web"])]);
        story.extend([call(&["start", "web"]), state()]);
        story.extend([call(&["kill", "web"]), call(&["wait", "web"]), state()]);
        story.push((call(&["rm", "--force", "web"]).0, String::new()));
        story
    });

    assert_eq!(stories[1], stories[0]);
    assert_eq!(stories[0][5].0, End::Exited(0));
    assert_eq!(stories[0][6].1, "exited 6\n");
}

/// Says one word to each of so many callers, at a port of the loopback interface.
fn greet_callers(count: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for caller in listener.incoming().take(count).flatten() {
            // Whoever does not listen is found out by what he prints.
            _ = (&caller).write_all(b"hello\n");
        }
    });
    port
}

#[test]
fn podman_of_an_ordinary_user_publishes_ports_by_slirp4netns() {
    let user = podman_user();
    let callers = 2;
    let port = greet_callers(callers);
    let stories = ["runc", "krun"].map(|runtime| {
        let call = |args: &[&str]| seen(&user.podman(runtime, args).unwrap());
        let network = ["--network", "slirp4netns:allow_host_loopback=true"];
        let publish = ["-p", "127.0.0.1::80", IMAGE, "sh", "-c"];
        let serve = "echo a page >/tmp/page; exec busybox httpd -f -p 80 -h /tmp";
        let run = [&["run", "-d", "--name", "web"], &network[..], &publish, &[serve]].concat();
        let mut story = vec![(call(&run).0, String::new())];
        let (_, address) = call(&["port", "web", "80"]);
        let url = format!("http://{}/page", address.trim());
        let fetch = || user.call(["busybox", "wget", "-q", "-O-", &url]).unwrap();
        outcome::eventually(outcome::TIME_LIMIT, || fetch().is_success());
        story.push(seen(&fetch()));
        let look = "busybox ip -4 address show tap0 | grep inet; busybox ip route; cat /proc/net/dev | cut -d: -f1";
        story.push(call(&["exec", "web", "sh", "-c", look]));
        let outside = format!("busybox nc 10.0.2.2 {port} </dev/null");
        story.push(call(&["exec", "web", "sh", "-c", &outside]));
        story.push((call(&["rm", "--force", "--time", "0", "web"]).0, String::new()));
        story
    });

    assert_eq!(stories[1], stories[0]);
    assert_eq!(stories[0][1], (End::Exited(0), "a page\n".to_owned()), "{stories:?}");
    assert!(stories[0][2].1.contains("10.0.2.100/24"), "{stories:?}");
    assert_eq!(stories[0][3].1, "hello\n", "{stories:?}");
}

/// A bundle of the user's own, as `spec --rootless` begins it.
fn own_bundle(user: &OrdinaryUser, change: impl FnOnce(&mut Value)) -> String {
    let directory = user.home().join("bundle");
    if !directory.exists() {
        fs::create_dir(&directory).expect("root makes directories");
        user.make_rootfs(&directory.join("rootfs")).expect("and a root file system");
    }
    let config = directory.join("config.json");
    drop(fs::remove_file(&config));
    std::os::unix::fs::chown(&directory, Some(ID), Some(ID)).expect("root gives things away");
    let path = directory.to_str().expect("a path of letters").to_owned();
    let spec = user.call([&user.runtime("krun"), "spec", "--rootless", "--bundle", &path]);
    assert!(spec.as_ref().is_ok_and(Outcome::is_success), "{spec:?}");
    let text = fs::read(&config).expect("there is one");
    let mut document: Value = serde_json::from_slice(&text).expect("it is JSON");
    document["process"]["terminal"] = json!(false);
    change(&mut document);
    fs::write(&config, document.to_string()).expect("root writes everywhere");
    path
}

fn program(document: &mut Value, script: &str) {
    document["process"]["args"] = json!(["sh", "-c", script]);
}

#[test]
fn an_ordinary_user_leads_a_bundle_through_its_life() {
    let user = user();
    let bundle = own_bundle(&user, |document| program(document, "id; sleep 1000"));
    let stories = ["runc", "krun"].map(|name| {
        let runtime = user.runtime(name);
        let call = |args: &[&str]| {
            seen(&user.call([&[runtime.as_str()], args].concat()).expect("it can be called"))
        };
        let status = || {
            let state: Value = serde_json::from_str(&call(&["state", "web"]).1).unwrap_or_default();
            (End::Exited(0), state["status"].to_string())
        };
        let mut story = vec![call(&["create", "--bundle", &bundle, "web"]), status()];
        story
            .push((End::Exited(0), user.runtime_dir().join(name).join("web").exists().to_string()));
        story.extend([call(&["exec", "web", "id"]), call(&["start", "web"]), status()]);
        story.push(call(&["exec", "--cwd", "/tmp", "web", "sh", "-c", "pwd; exit 5"]));
        story.extend([call(&["pause", "web"]), call(&["kill", "web", "KILL"])]);
        outcome::eventually(outcome::TIME_LIMIT, || status().1.contains("stopped"));
        story.extend([status(), call(&["delete", "web"]), call(&["state", "web"])]);
        story
    });

    assert_eq!(stories[1], stories[0]);
    assert_eq!(stories[0][6], (End::Exited(5), "/tmp\n".to_owned()));
}

#[test]
fn an_ordinary_users_bundle_gets_what_he_may_have() {
    let user = user();
    let run = |name: &str, path: &str, bundle: &str| {
        let runtime = user.runtime(name);
        let mut command = user.command(path, [&runtime, "run", "--bundle", bundle, "web"]).unwrap();
        outcome::run(&mut command, None).unwrap()
    };
    let look = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id; exit 3";
    let ranges = json!([{"containerID": 0, "hostID": ID, "size": 1},
        {"containerID": 1, "hostID": 4_710_000, "size": 10},
        {"containerID": 20, "hostID": 4_710_020, "size": 1}]);
    let usual = "/usr/bin:/bin:/usr/sbin:/sbin";

    for (maps, limits) in [(None, Value::Null), (Some(ranges), Value::Null), (None, json!(9))] {
        let bundle = own_bundle(&user, |document| {
            program(document, look);
            for kind in ["uidMappings", "gidMappings"] {
                document["linux"][kind] = maps.clone().unwrap_or(document["linux"][kind].take());
            }
            document["linux"]["resources"]["pids"] = json!({"limit": limits});
        });
        let [expected, got] = ["runc", "krun"].map(|name| run(name, usual, &bundle));

        assert_eq!(seen(&got), seen(&expected), "runc: {expected:?}\nkrun: {got:?}");
        if maps.is_some() {
            let without = run("krun", "/nowhere", &bundle);
            assert!(without.stderr().contains("newuidmap"), "{without:?}");
        }
    }
}

#[test]
fn what_an_ordinary_user_binds_on_dev_is_left_as_it_is() {
    let user = user();
    let devices = user.home().join("devices");
    fs::create_dir(&devices).unwrap();
    let null = devices.join("null");
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, &null, FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
    std::os::unix::fs::chown(&devices, Some(ID), Some(ID)).unwrap();
    for (options, expected) in [(["bind", "ro"], "null\n"), (["bind", "rw"], "null\nadded\n")] {
        let bundle = own_bundle(&user, |document| {
            program(document, "ls /dev; touch /dev/new && rm /dev/new && echo added");
            let mounts = document["mounts"].as_array_mut().expect("there are mounts");
            mounts.retain(|one| !one["destination"].as_str().unwrap_or("").starts_with("/dev"));
            mounts.push(json!({
                "destination": "/dev", "type": "bind", "source": devices, "options": options
            }));
        });
        for name in ["runc", "krun"] {
            let runtime = user.runtime(name);
            let ran = user.call([&runtime, "run", "--bundle", &bundle, "web"]).unwrap();

            assert_eq!(ran.stdout(), expected, "{name} {options:?} {ran:?}");
            let held = fs::read_dir(&devices).unwrap().count();
            assert_eq!(held, 1, "{name} {options:?}");
        }
    }
}

/// A cgroup of version 2 that is a user's own, until this is dropped.
struct OwnCgroup<'a>(&'a OrdinaryUser, String);

impl<'a> OwnCgroup<'a> {
    fn make(user: &'a OrdinaryUser) -> Self {
        let name = format!("krun-user-{}", std::process::id());
        let script = "mkdir -p $1/shell && chown -R user:user $1 && ls $1/cgroup.procs";
        let made = user.on_version_2(script, [format!("/sys/fs/cgroup/{name}")]);
        assert!(made.as_ref().is_ok_and(Outcome::is_success), "{made:?}");
        Self(user, name)
    }
}

impl Drop for OwnCgroup<'_> {
    fn drop(&mut self) {
        // A directory that is left is empty.
        let path = format!("/sys/fs/cgroup/{}", self.1);
        drop(self.0.on_version_2("find $1 -depth -type d -exec rmdir {} +", [path]));
    }
}

/// As runc does, and not as libcontainer, which leaves a process where it is.
#[test]
fn on_version_2_an_ordinary_user_is_refused_the_cgroups_that_he_cannot_have() {
    let user = user();
    let own = OwnCgroup::make(&user);
    let nowhere = Value::Null;
    let pages = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2_097_152}]});
    let enter = format!("echo 0 >/sys/fs/cgroup/{}/shell/cgroup.procs; {AS_HIM}", own.1);
    let below = json!(format!("/{}/web", own.1));

    for (script, place, limits, expected) in [
        (AS_HIM, &nowhere, json!({}), None),
        (AS_HIM, &nowhere, pages, Some("rootless needs no limits + no cgrouppath")),
        (AS_HIM, &json!("/not-his"), json!({}), Some("make cgroup")),
        (AS_HIM, &below, json!({}), Some("enter cgroup")),
        (&enter, &below, json!({}), None),
    ] {
        let bundle = own_bundle(&user, |document| {
            program(document, "cat /proc/self/cgroup");
            document["linux"]["cgroupsPath"] = place.clone();
            document["linux"]["resources"] = limits.clone();
        });
        let [runc, krun] = ["runc", "krun"].map(|name| {
            let runtime = user.runtime(name);
            user.on_version_2(script, [&runtime, "run", "--bundle", &bundle, "web"]).unwrap()
        });

        assert_eq!(seen(&krun), seen(&runc), "{place} {limits}: {krun:?}");
        let words = expected.unwrap_or_default();
        assert_eq!(krun.is_success(), expected.is_none(), "{krun:?}");
        assert!(krun.stderr().contains(words), "{krun:?}");
    }
}

#[test]
fn who_may_not_open_kvm_is_told() {
    let user = OrdinaryUser::new(Kvm::Forbidden).unwrap();
    let bundle = own_bundle(&user, |document| program(document, "true"));

    let outcome = user.call([&user.runtime("krun"), "run", "--bundle", &bundle, "web"]).unwrap();

    assert_eq!(outcome.end, End::Exited(1), "{outcome:?}");
    assert!(outcome.stderr().contains("/dev/kvm may not be opened by this user"), "{outcome:?}");
    assert!(!user.runtime_dir().join("krun/web").exists());
}

#[test]
fn root_needs_no_tool_for_several_ranges() {
    let mut bundle = Bundle::with_args(&["sh", "-c", "cat /proc/self/uid_map; id"]).unwrap();
    let change = |spec: &mut Value| {
        let ranges = json!([{"containerID": 0, "hostID": 4_710_000, "size": 10},
            {"containerID": 20, "hostID": 4_710_020, "size": 1}]);
        spec["linux"]["uidMappings"] = ranges.clone();
        spec["linux"]["gidMappings"] = ranges;
        let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.push(json!({"type": "user"}));
    };
    bundle.change(change).unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.path(), open_to_all).unwrap();
    let call = ["run", "--bundle", bundle.path().to_str().unwrap(), "web"];

    let expected = Runtime::runc().unwrap().call(call).unwrap();
    let krun = Runtime::krun().unwrap();
    let got = outcome::run(krun.command(call).env("PATH", Path::new("/nowhere")), None).unwrap();

    assert!(expected.is_success(), "{expected:?}");
    assert_eq!(seen(&got), seen(&expected), "{got:?}");
    bundle.footprint.ensure_nothing_is_left().unwrap();
}

#[test]
fn dockerd_maps_the_users_of_its_containers() {
    let user = user();
    user.start_dockerd().unwrap();
    let stories = ["runc", "krun", "krun-native"].map(|runtime| {
        let call = |args: &[&str]| seen(&user.docker(args).unwrap());
        let run = ["run", "--network", "none", "--runtime", runtime];
        let limits = ["--memory", "64m", "--pids-limit", "30", "--cpus", "0.5"];
        let ready = "trap 'exit 6' TERM; while :; do sleep 0.1; done";
        let web = [&run[..], &limits, &["-d", "--name", "web", IMAGE, "sh", "-c", ready]].concat();
        let mut story = vec![(call(&web).0, String::new())];
        let look = "id; cat /proc/self/uid_map; echo x >/w; ls -ln /w | head -c 30; exit 4";
        story.push(call(&["exec", "web", "sh", "-c", look]));
        story.push(call(&["exec", "-u", "5:6", "web", "id"]));
        let id = call(&["inspect", "--format", "{{.Id}}", "web"]).1;
        let limit = format!("memory/docker/{}/memory.limit_in_bytes", id.trim());
        let limit = fs::read_to_string(Path::new("/sys/fs/cgroup").join(limit));
        story.push((End::Exited(0), limit.unwrap_or_default()));
        story.extend([call(&["stop", "web"]), call(&["rm", "web"])]);
        let tight = ["--rm", "--read-only", "--tmpfs", "/x", "-u", "7", "--cap-drop", "ALL"];
        let touch = "id; touch /x/a && ls -lnd /x | head -c 30";
        story.push(call(&[&run[..], &tight, &[IMAGE, "sh", "-c", touch]].concat()));
        story
    });

    assert_eq!(stories[1], stories[0]);
    assert_eq!(stories[2], stories[0], "natively");
    assert_eq!(stories[0][1].0, End::Exited(4), "{:?}", stories[0]);
}
