//! Other people's programs, by krun as by runc: one test for each script in
//! `integration/software/suites`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::software;

/// Makes of each name of a test, and its suite's name, a test.
macro_rules! suites {
    ($($test:ident $suite:literal;)*) => {
        const SUITES: &[&str] = &[$($suite),*];
        $(
            #[test]
            fn $test() {
                match software::compare($suite) {
                    Ok(counts) => println!("{counts}"),
                    // The message alone, without anyhow's quotes and backtrace.
                    Err(error) => panic!("{error:#}"),
                }
            }
        )*
    };
}

suites! {
    go "go";
    java "java";
    shell "shell";
    sqlite "sqlite";
    git "git";
    bash "bash";
    cargo "cargo";
    musl "musl";
    gcc_make "gcc-make";
    redis "redis";
    postgres "postgres";
    nginx "nginx";
    stress_ng "stress-ng";
    ruby "ruby";
    perl "perl";
    php "php";
    python_os "python-os";
    python_multiprocessing "python-multiprocessing";
    python_network "python-network";
    python_process "python-process";
    node_processes "node-processes";
}

#[test]
fn every_suite_has_a_test_and_every_test_a_suite() {
    let mut tested = SUITES.to_vec();
    tested.sort_unstable();

    assert_eq!(tested, software::suites().unwrap());
}

#[test]
fn known_failures_are_well_formed() {
    software::check_known_failures().unwrap();
}
