//! The state of a container, wherever it is told: by `state`, by `list`, to hooks, and in the file below
//! `--root`. At each moment of its life with runc's beside it: the first three field by field; the file, which is
//! each runtime's own, by the process that it names.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use conformance::{Stage, assert_same, is_time};
use integration::outcome;
use integration::runtime::Runtime;
use serde_json::{Value, json};

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// What krun tells beyond runc.
const OWN: [&str; 2] = ["mode", "rule"];

/// Annotations that mean something to somebody, or look as if they did.
fn annotations() -> Value {
    json!({
        "org.example/name": "value",
        "io.kontain.krun.mode": "native",
        "io.kontain.unknown": "1",
        "run.oci.handler": "krun",
        "org.opencontainers.image.ref.name": "",
        "com.example.json": "{\"a\": [1, \"\\u0000\"]}",
        "a key ☃": "two\nlines\t\"and\" signs é <&>",
    })
}

/// A state document without what differs between two containers, which is checked instead.
fn compared(stage: &Stage, mut document: Value) -> Result<Value> {
    let members = document.as_object_mut().context("it is an object")?;
    for name in OWN {
        members.shift_remove(name);
    }
    let created = members.get("created").and_then(Value::as_str).unwrap_or_default();
    ensure!(is_time(created), "created: {created:?}");
    members.insert("created".into(), json!("a time"));
    let version = members.get("ociVersion").and_then(Value::as_str).unwrap_or_default();
    ensure!(version.starts_with("1."), "ociVersion: {version:?}");
    members.insert("ociVersion".into(), json!("a version"));
    let pid = members.get("pid").and_then(Value::as_i64).context("pid is a number")?;
    ensure!(pid == 0 || Path::new("/proc").join(pid.to_string()).exists(), "{pid} is nobody");
    members.insert("pid".into(), json!(if pid == 0 { "none" } else { "a process" }));
    let text = document.to_string().replace(&*stage.bundle.path().to_string_lossy(), "BUNDLE");
    // Names in the order they were written in.
    let value: Value = serde_json::from_str(&text)?;
    let names: Vec<_> = value.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
    Ok(json!({"names": names, "state": value}))
}

fn states(stage: &Stage) -> Result<[Value; 2]> {
    let listed = stage.runtime.must(["list", "--format", "json"])?;
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout)?;
    let [listed] = <[Value; 1]>::try_from(listed).ok().context("one container")?;
    Ok([compared(stage, stage.runtime.state("box")?)?, compared(stage, listed)?])
}

#[test]
fn state_and_list_say_what_runcs_say_at_each_moment() {
    assert_same(&SLEEP, |stage| {
        stage.bundle.change(|spec| spec["annotations"] = annotations())?;
        let mut seen = Vec::new();
        for command in [
            &["create"][..],
            &["pause", "box"],
            &["resume", "box"],
            &["start", "box"],
            &["pause", "box"],
            &["resume", "box"],
            &["kill", "box", "KILL"],
        ] {
            match command {
                ["create"] => stage.create("box")?,
                command => drop(stage.runtime.must(command)?),
            }
            if command.contains(&"kill") {
                stage.runtime.wait_for_status("box", "stopped")?;
            }
            seen.push(states(stage)?);
        }
        Ok(seen)
    });
}

#[test]
fn a_container_without_annotations_has_the_same_fields_too() {
    assert_same(&SLEEP, |stage| {
        stage.create("box")?;
        states(stage)
    });
}

/// Hooks of all points that run on the host, each of which notes what it is told.
fn noting_hooks(directory: &Path) -> Value {
    let points = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let hook = |point: &str| {
        let script = format!("/bin/busybox cat > {}/{point}", directory.display());
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
    };
    points.iter().map(|point| ((*point).to_owned(), hook(point))).collect()
}

/// What a hook was told, without what differs between two containers or is known to part krun from runc.
fn told(stage: &Stage, point: &str, mut document: Value) -> Result<Value> {
    let version = document["ociVersion"].as_str().unwrap_or_default();
    ensure!(version.starts_with("1."), "{point}: {document}");
    document["ociVersion"] = json!("a version");
    ensure!(document["bundle"] == json!(stage.bundle.path()), "{point}: {document}");
    document["bundle"] = json!("BUNDLE");
    // Of a process that is gone there is no number.
    if let Some(pid) = document.get("pid").and_then(Value::as_u64) {
        document["pid"] = match pid {
            0 => json!("none"),
            1 => json!("the first of its namespace"),
            _ => json!("a process"),
        };
    }
    // runc 1.1 calls poststart hooks within `create`, before the program runs: the container is created for
    // them. The specification has them called when the program has been started, and then it is running.
    if point == "poststart" {
        let status = document["status"].as_str().unwrap_or_default();
        ensure!(["created", "running"].contains(&status), "{point}: {document}");
        document["status"] = json!("created or running");
    }
    Ok(document)
}

#[test]
fn hooks_are_told_what_runcs_are_told() {
    assert_same(&SLEEP, |stage| {
        let noted = stage.bundle.path().join("noted");
        fs::create_dir(&noted)?;
        stage.bundle.change(|spec| {
            spec["annotations"] = annotations();
            spec["hooks"] = noting_hooks(&noted);
        })?;
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        stage.runtime.must(["delete", "--force", "box"])?;

        let mut seen = BTreeMap::new();
        for entry in fs::read_dir(&noted)? {
            let entry = entry?;
            let point = entry.file_name().to_string_lossy().into_owned();
            let state: Value = serde_json::from_slice(&fs::read(entry.path())?)?;
            let state = told(stage, &point, state)?;
            seen.insert(point, state);
        }
        ensure!(seen.len() == 5, "hooks of some points were not called: {seen:?}");
        Ok(seen)
    });
}

#[test]
fn an_annotation_does_not_choose_how_a_program_runs() {
    let mut stage = Stage::new(Runtime::krun().unwrap(), &["/bin/uname", "-r"]).unwrap();
    stage.bundle.change(|spec| spec["annotations"] = annotations()).unwrap();

    let ran = stage.with_bundle(&["run"], &["box"]).unwrap();

    assert!(ran.stdout().ends_with(".kontain.KVM\n"), "{ran:?}");
    stage.finish().unwrap();
}

/// What the file below `--root` says of process and cgroups: runc's names for it are others.
fn on_disk(stage: &Stage, names: [&str; 2]) -> Result<(i64, u64)> {
    let file = fs::read(stage.runtime.root().join("box/state.json"))?;
    let file: Value = serde_json::from_slice(&file)?;
    ensure!(file["id"] == "box" && is_time(file["created"].as_str().unwrap_or_default()), "{file}");
    let number = |pointer: &str| file.pointer(pointer).and_then(Value::as_u64).context("a number");
    let start = number(names[1])?;
    Ok((i64::try_from(number(names[0])?)?, start))
}

#[test]
fn the_file_names_the_process_by_number_and_start_time_as_runcs_does() {
    for (runtime, names) in [
        (Runtime::runc(), ["/init_process_pid", "/init_process_start"]),
        (Runtime::krun(), ["/process/pid", "/process/startTime"]),
        (Runtime::krun_natively(), ["/process/pid", "/process/startTime"]),
    ] {
        let stage = Stage::new(runtime.unwrap(), &SLEEP).unwrap();
        stage.create("box").unwrap();
        let (pid, start) = on_disk(&stage, names).unwrap();

        assert_eq!(stage.runtime.state("box").unwrap()["pid"], pid);
        let fields = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let field = fields.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19));
        assert_eq!(field.map(str::to_owned), Some(start.to_string()));
        stage.finish().unwrap();
    }
}

#[test]
fn whoever_reads_while_the_container_changes_reads_a_whole_state() {
    for runtime in [Runtime::krun(), Runtime::krun_natively()] {
        let stage = Stage::new(runtime.unwrap(), &SLEEP).unwrap();
        for _ in 0..10 {
            let path = stage.bundle.path().to_string_lossy().into_owned();
            let mut create = stage.runtime.command(["create", "--bundle", &path, "box"]);
            let creating = outcome::start(&mut create, None).unwrap();
            for _ in 0..10 {
                let told = stage.runtime.call(["state", "box"]).unwrap();
                let is_whole = serde_json::from_slice::<Value>(&told.stdout).is_ok();
                let is_early = told.stderr().contains("container does not exist");
                assert!(is_whole != is_early, "{told:?}");
                let listed = stage.runtime.must(["list", "--format", "json"]).unwrap();
                assert!(serde_json::from_slice::<Value>(&listed.stdout).is_ok(), "{listed:?}");
            }
            assert!(creating.finish().unwrap().is_success());
            stage.runtime.must(["delete", "--force", "box"]).unwrap();
        }
        stage.finish().unwrap();
    }
}
