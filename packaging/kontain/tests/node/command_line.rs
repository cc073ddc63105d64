//! The program itself: what it prints, and with which code it ends.

use std::fs::OpenOptions;
use std::process::{Command, Output};

use anyhow::Result;
use kontain::Engine;
use serde_json::Value;

use crate::place::{CONFIG_TOML, DAEMON_JSON, Node, wish, wish_default};

fn kontain(node: &Node, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
    Ok(command.args(args).arg("--root").arg(node.path("/")).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_dry_run_shows_a_diff_and_changes_nothing() {
    let node = Node::with(DAEMON_JSON, "{\n  \"a\": 1\n}\n").unwrap();
    let before = node.all().unwrap();

    let output = kontain(&node, &["install", "docker", "--dry-run"]).unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(node.all().unwrap(), before);
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn codes_say_what_happened() {
    let node = Node::with(DAEMON_JSON, "{\"a\": 1}").unwrap();
    let code = |args: &[&str]| kontain(&node, args).unwrap().status.code().unwrap();

    let install = code(&["install", "docker", "--default"]);
    let again = code(&["install", "docker"]);
    let other_name = code(&["install", "docker", "--name", "other"]);
    let uninstall = code(&["uninstall", "docker"]);
    let once_more = code(&["uninstall", "docker"]);
    let nonsense = code(&["install", "nosuchengine"]);

    assert_eq!([install, again, other_name, uninstall, once_more, nonsense], [0, 0, 3, 0, 0, 2]);
    assert_eq!(node.read(DAEMON_JSON).unwrap(), "{\"a\": 1}");
}

#[test]
fn what_is_done_is_done_whoever_hears_of_it() {
    let node = Node::with(DAEMON_JSON, "{\"a\": 1}").unwrap();
    let before = node.all().unwrap();
    let full = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.args(args).arg("--root").arg(node.path("/")).stdout(full).output().unwrap()
    };

    let dry_run = full(&["install", "docker", "--dry-run"]);
    assert_eq!(node.all().unwrap(), before);
    let install = full(&["install", "docker"]);
    assert!(node.read(DAEMON_JSON).unwrap().contains("krun"));
    let refused = full(&["install", "docker", "--name", "other", "--json"]);
    let uninstall = full(&["uninstall", "docker", "--json"]);

    let codes = [&dry_run, &install, &refused, &uninstall].map(|output| output.status.code());
    assert_eq!(codes, [Some(5), Some(0), Some(3), Some(0)]);
    for output in [install, uninstall] {
        let said = text(&output.stderr);
        assert!(said.contains("kontain: done; standard output cannot"), "{said}");
    }
    assert!(text(&refused.stderr).contains("kontain uninstall docker"), "{refused:?}");
    assert_eq!(node.all().unwrap(), before);
}

#[test]
fn programs_are_told_in_json() {
    let node = Node::with(DAEMON_JSON, "{\"runtimes\": 7}").unwrap();

    let refused = kontain(&node, &["install", "docker", "--json"]).unwrap();
    node.write(DAEMON_JSON, "{}").unwrap();
    let done = kontain(&node, &["install", "docker", "--json"]).unwrap();

    let refused_answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(refused_answer["error"]["kind"], "refused");
    assert_eq!(refused_answer["error"]["field"], "runtimes");
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["changed"], &done["entries"][0]), (&true.into(), &"runtimes.krun".into()));
}

#[test]
fn a_default_that_was_wished_for_stays() {
    let node = Node::new().unwrap();

    node.install(Engine::Docker, &wish_default()).unwrap();
    let again = node.install(Engine::Docker, &wish()).unwrap();

    assert!(!again.is_needed());
    assert!(node.read(DAEMON_JSON).unwrap().contains("\"default-runtime\": \"krun\""));
    node.uninstall(Engine::Docker).unwrap();
    assert!(!node.path("/etc").exists() && !node.path("/var").exists());
}

#[test]
fn what_others_have_changed_meanwhile_stays() {
    let node = Node::with(DAEMON_JSON, "{\n  \"a\": 1\n}\n").unwrap();
    node.install(Engine::Docker, &wish_default()).unwrap();
    let edited = node.read(DAEMON_JSON).unwrap().replace("\"a\": 1", "\"a\": 2");
    node.write(DAEMON_JSON, edited).unwrap();

    let again = node.install(Engine::Docker, &wish_default()).unwrap();
    let taken_away = node.uninstall(Engine::Docker).unwrap();

    assert!(!again.is_needed() && !taken_away.is_exact);
    assert_eq!(node.read(DAEMON_JSON).unwrap(), "{\n  \"a\": 2\n}\n");
}

/// An engine, its file, what somebody replaces in it, with what, and what is said of that.
type Edit = (Engine, &'static str, &'static str, &'static str, &'static str);

/// Somebody makes krun the default.
const DEFAULTS: [Edit; 4] = [
    (
        Engine::Docker,
        DAEMON_JSON,
        "\"a\": 1",
        "\"default-runtime\": \"krun\"",
        "t-runtime: it is krun",
    ),
    (Engine::Containerd, CONFIG_TOML, "# here\n", CRI_DEFAULT, "default_runtime_name: it is krun"),
    (Engine::Podman, PODMAN, "[engine.runtimes]", PODMAN_DEFAULT, "engine.runtime: it is krun"),
    (Engine::Crio, CRIO, "# Made", CRIO_DEFAULT, "runtime.default_runtime: it is krun"),
];
const CRI_DEFAULT: &str =
    "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"krun\"\n";
const PODMAN_DEFAULT: &str = "[engine]\nruntime = \"krun\"\n[engine.runtimes]";
const CRIO_DEFAULT: &str = "crio.runtime.default_runtime = \"krun\"\n# Made";

/// Somebody adds to kontain's entry.
const ADDITIONS: [Edit; 4] = [
    (Engine::Docker, DAEMON_JSON, "\"path\"", "\"runtimeArgs\": [],\n\"path\"", CHANGED),
    (Engine::Containerd, CONFIG_TOML, "BinaryName", "Root = \"/r\"\nBinaryName", CHANGED),
    (Engine::Podman, PODMAN, "/krun\"]", "/krun\", \"/x\"]", CHANGED),
    (Engine::Crio, CRIO, "runtime_root", "monitor_path = \"/m\"\nruntime_root", CHANGED),
];
const CHANGED: &str = "runtimes.krun: somebody has changed it";

const PODMAN: &str = "/etc/containers/containers.conf.d/50-kontain.conf";
const CRIO: &str = "/etc/crio/crio.conf.d/50-kontain.conf";

#[test]
fn what_would_still_name_krun_is_refused() {
    for (engine, file, old, new, reason) in DEFAULTS.into_iter().chain(ADDITIONS) {
        let node = Node::with(DAEMON_JSON, "{\n  \"a\": 1\n}\n").unwrap();
        node.write(CONFIG_TOML, "version = 2\n# here\n[a]\n").unwrap();
        node.install(engine, &wish()).unwrap();
        let installed = node.read(file).unwrap();
        let edited = installed.replacen(old, new, 1);
        assert_ne!(edited, installed, "{old}");
        node.write(file, edited).unwrap();
        let before = node.all().unwrap();

        let error = node.uninstall(engine).unwrap_err();

        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert_eq!(node.all().unwrap(), before);
        node.write(file, installed).unwrap();
        assert!(node.uninstall(engine).unwrap().is_exact);
    }
}

#[test]
fn an_entry_that_was_changed_is_not_forgotten() {
    let node = Node::new().unwrap();
    node.install(Engine::Docker, &wish()).unwrap();
    let path = "\"path\": \"/opt/kontain/bin/krun\"";
    let edited =
        node.read(DAEMON_JSON).unwrap().replace(path, &format!("{path}, \"runtimeArgs\": []"));
    node.write(DAEMON_JSON, edited).unwrap();

    node.install(Engine::Docker, &wish_default()).unwrap();
    let untouched = node.uninstall(Engine::Docker);
    let text = node.read(DAEMON_JSON).unwrap();
    node.write(DAEMON_JSON, format!("{text}\n")).unwrap();
    let error = node.uninstall(Engine::Docker).unwrap_err().to_string();

    assert!(untouched.is_err(), "{untouched:?}");
    assert!(error.contains("runtimes.krun: somebody has changed it"), "{error}");
}

#[test]
fn flags_of_dockerds_that_contradict_are_refused() {
    let unit = "/usr/lib/systemd/system/docker.service";
    let sysconfig = "/etc/sysconfig/docker";
    let cases = [
        (
            unit,
            "[Service]\nExecStart=/usr/bin/dockerd \\\n  --default-runtime=runc\n",
            "--default-runtime: it is runc",
        ),
        (
            sysconfig,
            "# none\nOPTIONS=\"--default-runtime nvidia\"\n",
            "--default-runtime: it is nvidia",
        ),
        (sysconfig, "OPTIONS='--add-runtime krun=/x'\n", "--add-runtime: it is krun=/x"),
        (unit, "[Service]\nExecStart=/x --config-file /etc/d.json\n", "say --config /etc/d.json"),
        ("/etc/docker-runtimes.d/krun", "#!/bin/sh\n", "given this runtime by a flag"),
        ("/var/snap/docker/x", "", "docker is snap's"),
    ];
    for (path, content, reason) in cases {
        let node = Node::with(path, content).unwrap();

        let error = node.install(Engine::Docker, &wish_default()).unwrap_err().to_string();

        assert!(error.contains(reason) && error.contains(path.trim_end_matches("/x")), "{error}");
    }
    let node = Node::with(unit, "[Service]\nExecStart=/x --default-runtime=runc\n").unwrap();
    node.write(
        "/etc/systemd/system/docker.service.d/a.conf",
        "[Service]\nExecStart=\nExecStart=/x\n",
    )
    .unwrap();
    node.install(Engine::Docker, &wish_default()).unwrap();
}

#[test]
fn pods_are_counted_for_each_instance() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontain"));
        command.arg("max-pods").args(args).output().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let types = directory.path().join("types.json");
    let network = "{\"MaximumNetworkInterfaces\": 3, \"Ipv4AddressesPerInterface\": 20}";
    let one = format!("{{\"InstanceType\": \"m8i.large\", \"NetworkInfo\": {network}}}");
    std::fs::write(&types, format!("{{\"InstanceTypes\": [{one}]}}")).unwrap();
    let types = types.to_str().unwrap();

    let by_numbers = run(&["--enis", "3", "--ips-per-eni", "10"]);
    let by_file = run(&["--instance-types", types, "--json"]);
    let codes = [
        &[][..],
        &["--enis", "3"],
        &["--enis", "3", "--ips-per-eni", "0"],
        &["--instance-types", "/nosuchfile"],
    ];
    let codes = codes.map(|args| run(args).status.code());

    assert!(text(&by_numbers.stdout).trim_start().starts_with("29 "), "{by_numbers:?}");
    let answer: Value = serde_json::from_slice(&by_file.stdout).unwrap();
    assert_eq!((&answer[0]["instance"], &answer[0]["max_pods"]), (&"m8i.large".into(), &59.into()));
    assert_eq!(codes, [Some(2), Some(2), Some(3), Some(5)]);
}

#[test]
fn programs_are_told_in_json_why_nothing_was_found() {
    let absent = "/nonexistent/of-kontain";
    for args in [
        &["check", "--json", "--root", absent][..],
        &["collect", "--json", "--root", absent],
        &["max-pods", "--json", "--instance-types", absent],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kontain")).args(args).output().unwrap();

        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(5), "{args:?}");
        assert_eq!(answer["error"]["kind"], "system", "{args:?}: {answer}");
        assert_eq!(answer["error"]["file"], absent, "{args:?}: {answer}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}
