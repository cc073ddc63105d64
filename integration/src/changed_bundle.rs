//! Containers of one change to the usual bundle, which runc and krun must make alike.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::outcome::{self, Outcome};
use crate::runtime::Runtime;

/// What a container with this change prints and how it ends, without what differs between any two.
pub fn run(runtime: &Runtime, script: &str, change: impl Fn(&mut Value, &Path)) -> Outcome {
    let mut bundle = Bundle::with_args(&["sh", "-c", script]).expect("a bundle can be made");
    let directory = bundle.path().to_owned();
    bundle.change(|spec| change(spec, &directory)).expect("the test can be prepared");
    let arguments = ["run".as_ref(), "--bundle".as_ref(), directory.as_os_str(), "web".as_ref()];
    let mut outcome = runtime.call(arguments).expect("the test can be prepared");
    let cgroup = bundle.footprint.cgroup().to_owned();
    let words =
        [(directory.to_str().expect("its name is text"), "BUNDLE"), (cgroup.as_str(), "CGROUP")];
    let mut text = outcome.stdout();
    for (word, name) in words {
        text = text.replace(word, name);
    }
    outcome.stdout = text.into_bytes();
    bundle.footprint.ensure_nothing_is_left().expect("nothing is left");
    outcome
}

/// Demands that a container with this change prints and ends the same with both.
#[track_caller]
pub fn assert_same(script: &str, change: impl Fn(&mut Value, &Path)) {
    assert_same_but_for(script, str::to_owned, change);
}

/// Demands the same of what is left of the output, line by line.
#[track_caller]
pub fn assert_same_but_for(
    script: &str,
    left: impl Fn(&str) -> String,
    change: impl Fn(&mut Value, &Path),
) {
    let runtimes =
        [Runtime::runc().expect("runc is installed"), Runtime::krun().expect("krun is built")];
    let [expected, got] = runtimes.map(|runtime| {
        let mut outcome = run(&runtime, script, &change);
        let lines: Vec<_> = outcome.stdout().lines().map(&left).collect();
        outcome.stdout = lines.join("\n").into_bytes();
        outcome
    });
    assert!(expected.is_success(), "{expected:?}");
    let difference = outcome::difference(&expected, &got);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

/// Adds a mount to the bundle's.
pub fn add_mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().expect("it is a list").push(mount);
}

/// A tmpfs on the host whose mounts propagate, until it is dropped.
#[derive(Debug)]
pub struct SharedMount<'a>(&'a Path);

impl<'a> SharedMount<'a> {
    /// Makes it, with a file, a link to that, and another tmpfs below.
    pub fn make(path: &'a Path) -> Self {
        fs::create_dir_all(path).expect("the test can be prepared");
        let place = path.to_str().expect("its name is text");
        must(&["mount", "-t", "tmpfs", "tmpfs", place]);
        must(&["mount", "--make-shared", place]);
        fs::write(path.join("file"), "text\n").expect("the test can be prepared");
        std::os::unix::fs::symlink("file", path.join("link")).expect("the test can be prepared");
        fs::create_dir(path.join("below")).expect("the test can be prepared");
        must(&[
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            path.join("below").to_str().expect("its name is text"),
        ]);
        Self(path)
    }
}

impl Drop for SharedMount<'_> {
    fn drop(&mut self) {
        must(&["umount", "--recursive", self.0.to_str().expect("its name is text")]);
    }
}

/// What a command of the host's prints, which must succeed.
#[track_caller]
pub fn must(words: &[&str]) -> String {
    let outcome = outcome::run(Command::new(words[0]).args(&words[1..]), None)
        .expect("the test can be prepared");
    assert!(outcome.is_success(), "{words:?}: {outcome:?}");
    outcome.stdout()
}
