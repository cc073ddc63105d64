//! `exec --cgroup`: where a further program is among the container's cgroups, and what is refused.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;

use anyhow::{Context as _, Result};
use conformance::failures::put;
use conformance::{Stage, assert_same};
use integration::footprint::CGROUPS;
use integration::outcome::End;
use serde_json::json;

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// Words of runc's, of which one tells what is wrong.
const WORDS: [&str; 6] = [
    "exec failed: ",
    "unable to start container process: error adding pid ",
    "cgroup.procs: no such file or directory",
    " is not a sub cgroup path",
    "unknown controller ",
    "invalid --cgroup argument: ",
];

/// Makes a cgroup below the container's in each hierarchy in which it has one.
fn make_below(stage: &Stage, name: &str) -> Result<()> {
    let own = format!("{}/container", stage.bundle.footprint.cgroup().trim_start_matches('/'));
    for hierarchy in fs::read_dir(CGROUPS)? {
        let hierarchy = hierarchy?;
        let place = hierarchy.path().join(&own);
        if hierarchy.file_type()?.is_dir() && place.exists() {
            fs::create_dir(place.join(name))?;
            // Whoever enters needs some.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(text) = fs::read_to_string(place.join(file)) {
                    fs::write(place.join(name).join(file), text)?;
                }
            }
        }
    }
    Ok(())
}

/// How an exec with these options ends, which of the words it says, and where its program was.
fn seen(stage: &Stage, options: &[&str]) -> Result<(End, Vec<&'static str>, Vec<String>)> {
    let program = ["box", "/bin/cat", "/proc/self/cgroup"];
    let ran = stage.runtime.call([&["exec"], options, &program].concat())?;
    let text = ran.stderr();
    let told = WORDS.into_iter().filter(|words| text.contains(words)).collect();
    let cgroup = stage.bundle.footprint.cgroup();
    let mut places: Vec<_> =
        ran.stdout().lines().map(|line| line.replace(cgroup, "CGROUP")).collect();
    places.sort();
    Ok((ran.end, told, places))
}

const ASKED: &[&[&str]] = &[
    &[],
    &["--cgroup", "/"],
    &["--cgroup", "sub"],
    &["--cgroup", "/sub/"],
    &["--cgroup", ":sub"],
    &["--cgroup", "memory:/", "--cgroup", "cpu,:sub"],
    &["--cgroup", "memory:sub"],
    &["--cgroup", "memory:sub", "--cgroup", "cpu,cpuacct:sub"],
    &["--cgroup", "memory:/"],
    &["--cgroup", "nonexistent"],
    &["--cgroup", "sub/nonexistent"],
    &["--cgroup", "cpu:nonexistent"],
    &["--cgroup", ".."],
    &["--cgroup", "../container/.."],
    &["--cgroup", "memory:.."],
    &["--cgroup", "whaaat:/"],
    &["--cgroup", "sub", "--cgroup", "memory:sub"],
    &["--cgroup", "memory:sub:sub"],
];

#[test]
fn a_program_is_where_its_cgroups_are_said_to_be() {
    assert_same(&SLEEP, |stage| {
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        make_below(stage, "sub")?;
        ASKED.iter().map(|options| Ok((options, seen(stage, options)?))).collect::<Result<Vec<_>>>()
    });
}

#[test]
fn so_it_is_in_a_user_namespace() {
    assert_same(&SLEEP, |stage| {
        let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        stage.bundle.change(|spec| {
            spec["linux"]["uidMappings"] = mapping.clone();
            spec["linux"]["gidMappings"] = mapping;
            put(spec, "/linux/namespaces/-", json!({"type": "user"}));
        })?;
        stage.create("box")?;
        stage.runtime.must(["start", "box"])?;
        make_below(stage, "sub").context("make cgroups")?;
        let asked =
            [&[][..], &["--cgroup", "sub"], &["--cgroup", "memory:sub"], &["--cgroup", "no"]];
        asked.iter().map(|options| seen(stage, options)).collect::<Result<Vec<_>>>()
    });
}
