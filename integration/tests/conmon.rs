//! conmon drives krun, with virtual machines and natively, as it drives runc: pipes and terminals, logs,
//! exit files, attached clients.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::bundle::Bundle;
use integration::conmon::Conmon;
use integration::runtime::Runtime;
use serde_json::{Value, json};

/// Has conmon create a container of a shell with this script.
fn create(runtime: Runtime, script: &str, options: &[&str], change: impl Fn(&mut Value)) -> Conmon {
    let mut bundle = Bundle::with_args(&["/bin/sh", "-c", script]).expect("a bundle can be made");
    bundle.change(change).expect("it can be changed");
    Conmon::create(runtime, bundle, options).expect("conmon can be started")
}

/// Tells a story by runc and by krun, both ways, which must be the same.
#[track_caller]
fn assert_same_story(tell: impl Fn(Runtime) -> Vec<String>) -> Vec<String> {
    let [expected, got, native] = Runtime::all().expect("runc, and a built krun").map(tell);
    assert_eq!(got, expected);
    assert_eq!(native, expected, "natively");
    got
}

/// Calls a verb that must succeed.
#[track_caller]
fn must(container: &Conmon, args: &[&str]) {
    let done = container.call(args).expect("the runtime can be started");
    assert!(done.is_success(), "{args:?}: {done:?}");
}

/// What there is to tell of a container that has ended.
#[track_caller]
fn end(container: Conmon) -> [String; 3] {
    let told = [container.exit().expect("it ends"), container.log(), {
        let state = container.call(&["state"]).expect("the runtime can be started").stdout;
        serde_json::from_slice::<Value>(&state).expect("a state")["status"].to_string()
    }];
    container.finish().expect("nothing is left");
    told
}

#[test]
fn pipes_are_logged_and_the_end_is_told() {
    let story = assert_same_story(|runtime| {
        let script = "echo out; sleep 0.5; echo err >&2; sleep 0.5; busybox printf partial; exit 3";
        let container = create(runtime, script, &[], |_| {});
        // The pid file is written in the caller's PID namespace.
        let pid = container.pid().expect("a pid");
        let report: Value = serde_json::from_str(&container.report()).expect("a report");
        let mut story = vec![(report["data"] == pid).to_string(), container.log()];
        must(&container, &["start"]);
        story.extend(end(container));
        story
    });

    assert_eq!(story[..3], ["true", "", "3"]);
    assert_eq!(story[3], "stdout F out\nstderr F err\nstdout P partial\n");
}

#[test]
fn a_signal_that_kills_is_told_as_a_shell_does() {
    let story = assert_same_story(|runtime| {
        let container = create(runtime, "sleep 1000", &[], |_| {});
        must(&container, &["start"]);
        let killed = container.kill("KILL").expect("the runtime can be started");
        assert!(killed.is_success(), "{killed:?}");
        end(container).into()
    });

    assert_eq!(story[0], "137");
}

#[test]
fn a_client_can_attach_to_pipes() {
    let story = assert_same_story(|runtime| {
        let script = "read word; echo got $word; read other; echo and $other >&2; exit 5";
        let container = create(runtime, script, &["--stdin"], |_| {});
        let client = container.attach().expect("conmon listens");
        must(&container, &["start"]);
        client.write("first\n").expect("conmon reads");
        let mut story = vec![client.read_until("first\n").expect("an answer")];
        client.write("second\n").expect("conmon reads");
        story.push(client.read_until("second\n").expect("an answer"));
        story.extend(end(container));
        story
    });

    assert_eq!(story[..3], ["got first\n", "and second\n", "5"]);
}

#[test]
fn a_client_can_attach_to_a_terminal() {
    let story = assert_same_story(|runtime| {
        // A shell that the signal reaches just before it reads would run its trap when it has read.
        let script = "trap 'changed=1' WINCH; tty; stty size; echo ready; \
                      while [ -z \"$changed\" ]; do sleep 0.1; done; stty size; \
                      while [ -z \"$word\" ]; do read word; done; echo got $word; exit 6";
        let terminal = |spec: &mut Value| {
            spec["process"]["terminal"] = json!(true);
            let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"]});
            spec["mounts"].as_array_mut().expect("mounts").push(pts);
        };
        let container = create(runtime, script, &["--terminal", "--stdin"], terminal);
        let client = container.attach().expect("conmon listens");
        must(&container, &["start"]);
        let mut story = vec![client.read_until("ready\r\n").expect("a terminal")];
        container.resize(33, 44).expect("conmon reads");
        story.push(client.read_until("33 44\r\n").expect("the terminal's new size"));
        client.write("word\n").expect("conmon reads");
        story.push(client.read_until("got word\r\n").expect("an answer"));
        story.extend(end(container));
        story
    });

    assert!(story[0].starts_with("/dev/"), "{story:?}");
    assert_eq!(story[3], "6");
}

#[test]
fn conmon_learns_that_memory_has_run_out() {
    let story = assert_same_story(|runtime| {
        let limit = |spec: &mut Value| {
            spec["linux"]["resources"]["memory"] = json!({"limit": 33_554_432});
        };
        let script = "exec head -c 100000000 /dev/zero | busybox tail";
        let container = create(runtime, script, &[], limit);
        must(&container, &["start"]);
        let exit = container.exit().expect("it ends");
        let told = container.was_out_of_memory().to_string();
        container.finish().expect("nothing is left");
        vec![exit, told]
    });

    assert_eq!(story[1], "true");
}

#[test]
fn conmon_passes_on_why_a_container_could_not_be_made() {
    let story = assert_same_story(|runtime| {
        let missing = |spec: &mut Value| spec["process"]["args"] = json!(["/bin/nosuchprogram"]);
        let container = create(runtime, "", &[], missing);
        let report = container.report();
        // What comes before is for people, and names a time.
        vec![report.split("exec: ").nth(1).unwrap_or(&report).to_owned()]
    });

    assert!(story[0].contains("no such file or directory"), "{story:?}");
}
