//! Unmodified programs of this machine, and small ones in several languages, run natively and
//! under `km`: output, errors and end must be equal.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::End;
use integration::rootfs::BUSYBOX;

/// A file that may be executed.
fn script(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
fn busybox_echo_prints_its_arguments() {
    Case::new([BUSYBOX, "echo", "hello", "two words", ""]).assert_same_end(End::Exited(0));
}

#[test]
fn busybox_ls_lists_the_root_directory() {
    Case::new([BUSYBOX, "ls", "-l", "/bin/", "/etc", "/usr"]).assert_same_end(End::Exited(0));
}

#[test]
fn busybox_cat_copies_a_pipe_of_a_megabyte() {
    let bytes: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();

    Case::new([BUSYBOX, "cat"]).stdin(bytes).assert_same_end(End::Exited(0));
}

#[test]
fn busybox_sh_counts_to_a_hundred_thousand() {
    let count = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo $i; exit 7";

    Case::new([BUSYBOX, "sh", "-c", count]).assert_same_end(End::Exited(7));
}

#[test]
fn busybox_sh_reads_its_input_line_by_line() {
    let read = "while read -r word rest; do echo \"$rest $word\"; done";

    Case::new([BUSYBOX, "sh", "-c", read])
        .stdin("one two three\nfour five\n".repeat(500))
        .assert_same_end(End::Exited(0));
}

#[test]
fn true_and_false_return_their_status() {
    Case::new(["/bin/true"]).assert_same_end(End::Exited(0));
    Case::new(["/bin/false"]).assert_same_end(End::Exited(1));
}

#[test]
fn every_exit_status_is_passed_on() {
    for status in [0, 1, 2, 77, 126, 127, 128, 137, 255] {
        Case::new([BUSYBOX, "sh", "-c", &format!("exit {status}")])
            .assert_same_end(End::Exited(status));
    }
}

#[test]
fn ls_walks_all_of_usr_share() {
    let case = Case::new(["/bin/ls", "-lR", "/usr/share"]);
    let both = case.run().unwrap();

    // Someone may be installing a package.
    let still = both.native == case.run_natively().unwrap();

    assert!(both.native == both.km || !still, "{both:?}");
    assert!(both.native.stdout.len() > 100_000, "{both:?}");
}

#[test]
fn perl_sorts_formats_and_dies() {
    let program = "my %h = map { $_ => $_ ** 2 } 1..2000; \
                   printf '%s=%d ', $_, $h{$_} for sort keys %h; die \"enough\\n\"";

    Case::new(["/usr/bin/perl", "-e", program]).assert_same_end(End::Exited(255));
}

#[test]
fn python_imports_its_compiled_modules() {
    let program = "import json, hashlib, ssl, re, sys, zlib, datetime\n\
                   print(json.dumps({'sum': hashlib.sha256(b'x' * 100000).hexdigest()}))\n\
                   print(ssl.OPENSSL_VERSION, re.sub('a+', 'b', 'caat'), zlib.crc32(b'krun'))\n\
                   sys.exit(3)";

    Case::new(["/usr/bin/python3", "-c", program]).assert_same_end(End::Exited(3));
}

#[test]
fn python_reports_an_uncaught_exception() {
    Case::new(["/usr/bin/python3", "-c", "print(1, flush=True); {}['missing']"])
        .assert_same_end(End::Exited(1));
}

#[test]
fn a_go_program_runs_goroutines_and_collects_garbage() {
    let hello = guests::go("hello.go").unwrap();

    Case::program(&hello).assert_same_end(End::Exited(0));
    Case::program(&hello).arg("four").assert_same_end(End::Exited(4));
}

#[test]
fn a_cpp_program_throws_and_catches() {
    for link in [Link::GlibcStatic, Link::GlibcStaticPie, Link::GlibcDynamic] {
        Case::program(&guests::c("throw.cc", link).unwrap()).assert_same_end(End::Exited(42));
    }
}

#[test]
fn a_cpp_program_that_catches_nothing_aborts() {
    let throw = guests::c("throw.cc", Link::GlibcDynamic).unwrap();

    Case::program(&throw).arg("uncaught").assert_same_end(End::Killed(6));
}

#[test]
fn each_case_of_the_benchmarks_runs_once() {
    let dir = tempfile::tempdir().unwrap();
    let micro = dir.path().join("micro");
    guests::c_text(include_str!("../examples/bench/micro.c"), &micro).unwrap();

    Case::program(&micro).arg("--once").dir(dir.path()).assert_same_end(End::Exited(0));
}

#[test]
fn a_script_runs_its_interpreter_with_one_argument() {
    let dir = tempfile::tempdir().unwrap();
    let inner = script(dir.path(), "inner", "#!/bin/busybox sh -e x\necho never\n").unwrap();
    let plain = script(dir.path(), "plain", "#! /bin/sh\necho \"$0\" \"$@\"; exit 5\n").unwrap();
    let perl = script(dir.path(), "perl", "#!/usr/bin/perl -l\nprint for @ARGV\n").unwrap();

    Case::program(&plain).arg("a b").arg("").assert_same_end(End::Exited(5));
    Case::program(&perl).arg("one").arg("two").assert_same_end(End::Exited(0));
    Case::program(&inner).assert_same();
}

#[test]
fn a_script_may_be_the_interpreter_of_a_script() {
    let dir = tempfile::tempdir().unwrap();
    let first = script(dir.path(), "first", "#!/bin/sh\necho \"$@\"\n").unwrap();
    let text = format!("#!{} option\n", first.display());
    let second = script(dir.path(), "second", &text).unwrap();

    Case::program(&second).arg("last").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_is_found_from_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "here", "#!/bin/sh\npwd; echo \"$0\"\n").unwrap();

    Case::new(["./here"]).dir(dir.path()).assert_same_end(End::Exited(0));
}

#[test]
fn the_longest_argument_and_many_arguments_arrive() {
    let sizes = "echo ${#1} ${#2} $#";
    let longest = "x".repeat(128 * 1024 - 1);

    Case::new([BUSYBOX, "sh", "-c", sizes, "sh", &longest, ""]).assert_same_end(End::Exited(0));
    let many = (0..40_000).map(|i| format!("{i:020}"));
    Case::new([BUSYBOX, "sh", "-c", sizes, "sh"].map(String::from).into_iter().chain(many))
        .assert_same_end(End::Exited(0));
}

#[test]
fn a_large_environment_arrives_in_order() {
    let mut case = Case::new([BUSYBOX, "env"]);
    for i in 0..2000 {
        case = case.env(format!("NAME_{i}"), "v".repeat(i % 300));
    }

    case.env("LAST", "x".repeat(100_000)).assert_same_end(End::Exited(0));
}
