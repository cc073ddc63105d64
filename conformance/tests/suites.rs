//! The quick part of other people's suites: see `conformance::suites`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use conformance::suites::{self, Choice, Scope, Suite};

/// All of it passes, but for what `known-gaps.toml` says.
#[track_caller]
fn assert_as_known(suite: Suite) {
    let choice = Choice { suites: vec![suite], only: None, scope: Scope::Quick, resume: false };
    let report = suites::run(choice).expect("the suite can be run");
    report.judge().expect("krun passes what runc passes, or known-gaps.toml says why not");
}

#[test]
fn the_oci_runtime_tools() {
    assert_as_known(Suite::RuntimeTools);
}

#[test]
fn the_tests_of_runc() {
    assert_as_known(Suite::Runc);
}

#[test]
fn the_tests_of_crun() {
    assert_as_known(Suite::Crun);
}

#[test]
fn the_tests_of_podman() {
    assert_as_known(Suite::Podman);
}
