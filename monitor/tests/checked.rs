//! A build of `km` that checks itself: the standard library ends a debug build that closes a descriptor twice.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::Command;

/// Subshells fork, pipes and programs close and pass on descriptors, and `km` is another's child and parent.
const SCRIPT: &str = "(exit 3); echo $?; echo kept | (cat; (exit 4)); echo $?; busybox true & wait; echo $(echo out)";

#[test]
fn a_forked_child_closes_what_it_inherits_once() {
    const { assert!(cfg!(debug_assertions), "only a debug build looks") };

    let km =
        Command::new(env!("CARGO_BIN_EXE_km")).args(["/bin/busybox", "sh", "-c", SCRIPT]).output();

    let output = km.expect("the monitor starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert_eq!((out.as_ref(), err.as_ref()), ("3\nkept\n4\nout\n", ""), "{}", output.status);
}
