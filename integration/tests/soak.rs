//! Programs of many threads, each run under `km` again and again: no run hangs, and none differs
//! from what Linux does.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use integration::guests;
use integration::native_and_km::Case;
use integration::outcome::{self, End};
use integration::software;

/// How often each program runs, unless `KRUN_SOAK_RUNS` says another number.
const RUNS: usize = 40;

/// Two runs at a time disturb each other as a busy machine does.
const AT_ONCE: usize = 2;

/// A program of the suites' image, in that image as its root directory.
fn in_image(argv: &[&str]) -> Case {
    let image = software::image().expect("the image is there");
    argv.iter().fold(Case::new(["/usr/sbin/chroot".into(), image.into_os_string()]), Case::arg)
}

fn runs() -> usize {
    match std::env::var("KRUN_SOAK_RUNS") {
        Ok(number) => number.parse().expect("KRUN_SOAK_RUNS is a number"),
        Err(_) => RUNS,
    }
}

/// Runs the case natively once, then `runs()` times under `km`, and panics with all that differ.
fn assert_same_each_time(case: &Case) {
    let runs = runs();
    let native = case.run_natively().expect("it runs natively");
    assert_eq!(native.end, End::Exited(0), "the native run: {native:?}");
    let next = AtomicUsize::new(0);

    let run = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let differs = |number| match case.run_under_km() {
            Ok(km) => outcome::difference(&native, &km).map(|what| format!("{number}: {what}")),
            Err(error) => Some(format!("{number}: {error:#}")),
        };
        numbers.take_while(|&number| number < runs).filter_map(differs).collect::<Vec<_>>()
    };
    let different: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it reports")).collect()
    });

    let count = different.len();
    assert!(different.is_empty(), "{count} of {runs} runs differ\n{}", different.join("\n"));
}

#[test]
fn node_with_workers_under_load_ends_alike_each_time() {
    assert_same_each_time(&in_image(&["/usr/bin/node", "-e", include_str!("soak/workers.js")]));
}

#[test]
fn go_with_all_it_has_at_once_ends_alike_each_time() {
    let program = guests::go("goroutines.go").expect("it compiles");
    assert_same_each_time(&Case::program(&program));
}

#[test]
fn java_with_four_threads_that_collect_garbage_ends_alike_each_time() {
    // So small a heap is collected again and again, beside compilers that start as they like.
    let collector = ["-J-Xmx12m", "-J-XX:+UseParallelGC", "-J-XX:ParallelGCThreads=4"];
    let program = [&["/usr/bin/javap"], &collector[..], &["-c", "java.lang.String"]].concat();
    // Without a procfs in the image, the loader does not know where the program's own libraries are.
    let case = in_image(&program).env("LD_LIBRARY_PATH", "/usr/lib/jvm/default-java/lib");
    assert_same_each_time(&case);
}
