//! What a monitor can do that its guest has taken over. `km` of this build makes any call of the host's that the
//! guest wants, without a check: the host's kernel refuses what no monitor does, and the process ends. Without the
//! filter the same calls reach the kernel.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use monitor_filter::{CALLS, Rule};
use monitor_sys::abi::number;
use tempfile::{NamedTempFile, TempPath};

/// A guest whose words are a call's number and arguments. It prints what the call made by its monitor gives.
const GUEST: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
    long n[7] = {0};
    for (int i = 1; i < count && i < 8; i++)
        n[i - 1] = strtoul(words[i], 0, 0);
    long result = syscall(0x10000000 + n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
    printf("%ld %d\n", result, result < 0 ? errno : 0);
    return 0;
}
"#;

/// Nobody's address and nobody's descriptor: no call does anything with them.
const NOTHING: [u64; 6] = [u64::MAX; 6];
const ENOTTY: i32 = libc::ENOTTY;
const EINVAL: i32 = libc::EINVAL;
const ENOPROTOOPT: i32 = libc::ENOPROTOOPT;

/// km's option.
const UNFILTERED: &[&str] = &["--no-monitor-filter"];

/// Where a filter has the kernel look at an argument, one that the tables have no row for, and the gate's answer.
const ARGUMENTS: [(usize, [u64; 3], i32); 8] = [
    // SIOCETHTOOL and KVM_CREATE_IRQCHIP.
    (number::IOCTL, [u64::MAX, 0x8946, 0], ENOTTY),
    (number::IOCTL, [u64::MAX, 0xae60, 0], ENOTTY),
    // PR_SET_DUMPABLE and PR_SET_SECCOMP.
    (number::PRCTL, [4, 9, 0], EINVAL),
    (number::PRCTL, [22, 9, 0], EINVAL),
    // READ_IMPLIES_EXEC.
    (number::PERSONALITY, [0x40_0000, 0, 0], EINVAL),
    // SECCOMP_SET_MODE_STRICT.
    (number::SECCOMP, [0, 9, 0], EINVAL),
    // IPT_SO_SET_REPLACE and SO_ATTACH_FILTER.
    (number::SETSOCKOPT, [u64::MAX, 0, 64], ENOPROTOOPT),
    (number::SETSOCKOPT, [u64::MAX, 1, 26], ENOPROTOOPT),
];

/// Calls that the list refuses and that would make a further process of the guest's monitor.
const NOT_TRIED: [&str; 2] = ["fork", "vfork"];

/// `PTRACE_TRACEME`, by which the test would trace the monitor; `UFFD_USER_MODE_ONLY`.
const SUCCEEDING: [(usize, u64); 2] = [(number::PTRACE, 0), (number::USERFAULTFD, 1)];

fn guest() -> TempPath {
    let path = NamedTempFile::new().expect("a file in /tmp").into_temp_path();
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-x", "c", "-o"]).arg(&path).arg("-").stdin(Stdio::piped());
    let mut gcc = gcc.spawn().expect("gcc starts");
    let text = gcc.stdin.take().expect("it has a pipe").write_all(GUEST.as_bytes());
    text.expect("gcc reads");
    assert!(gcc.wait().expect("gcc ends").success());
    path
}

/// Has the monitor of a guest make a call.
fn made(options: &[&str], guest: &Path, call: usize, args: &[u64]) -> Output {
    let words = args.iter().map(u64::to_string);
    let mut km = Command::new(env!("CARGO_BIN_EXE_km"));
    km.args(options).arg(guest).arg(call.to_string()).args(words);
    km.output().expect("km starts")
}

/// The call's value, or its error, if it came back.
fn result(output: &Output) -> Option<Result<i64, i32>> {
    let text = String::from_utf8_lossy(&output.stdout);
    let (value, errno) = text.trim_end().split_once(' ')?;
    let (value, errno) = (value.parse().ok()?, errno.parse().ok()?);
    Some(if errno == 0 { Ok(value) } else { Err(errno) })
}

#[test]
fn a_monitor_that_does_what_no_monitor_does_ends() {
    let guest = guest();
    let refused = CALLS.iter().filter(|call| matches!(call.rule, Rule::Kill));
    let mut tried = 0;
    for call in refused.filter(|call| !NOT_TRIED.contains(&call.name)) {
        let number = usize::try_from(call.number).unwrap();

        let unfiltered = made(UNFILTERED, &guest, number, &NOTHING);
        let filtered = made(&[], &guest, number, &NOTHING);

        assert!(result(&unfiltered).is_some(), "{}: {unfiltered:?}", call.name);
        assert_eq!(filtered.status.signal(), Some(libc::SIGSYS), "{}: {filtered:?}", call.name);
        tried += 1;
    }
    assert!(tried > 40, "{tried} calls");
}

#[test]
fn the_attack_succeeds_without_the_filter() {
    let guest = guest();
    for (call, argument) in SUCCEEDING {
        let args = [argument, 0, 0, 0, 0, 0];

        let unfiltered = made(UNFILTERED, &guest, call, &args);
        let filtered = made(&[], &guest, call, &args);

        let value = result(&unfiltered).and_then(Result::ok);
        assert!(value.is_some_and(|value| value >= 0), "{call}: {unfiltered:?}");
        assert_eq!(filtered.status.signal(), Some(libc::SIGSYS), "{call}: {filtered:?}");
    }
}

#[test]
fn arguments_that_have_no_row_are_refused() {
    let guest = guest();
    for (call, args, errno) in ARGUMENTS {
        let unfiltered = made(UNFILTERED, &guest, call, &args);
        let filtered = made(&[], &guest, call, &args);

        assert_eq!(result(&filtered), Some(Err(errno)), "{call} {args:x?}: {filtered:?}");
        let reached = result(&unfiltered);
        assert!(
            reached.is_some_and(|reached| reached != Err(errno) || errno == EINVAL),
            "{unfiltered:?}"
        );
    }
}

#[test]
fn calls_of_newer_kernels_are_not_there() {
    let guest = guest();
    // `setxattrat` and `open_tree_attr` of Linux 6.13 and 6.15.
    for number in [400, 463, 467, 1000] {
        assert_eq!(result(&made(&[], &guest, number, &NOTHING)), Some(Err(libc::ENOSYS)));
    }
}

#[test]
fn children_and_executed_programs_have_the_filter_too() {
    let guest = guest();
    let ptrace = number::PTRACE.to_string();
    let script = format!("({0} {ptrace} 0; echo $?); exec {0} {ptrace} 0", guest.display());
    let run = |options: &[&str]| {
        let mut km = Command::new(env!("CARGO_BIN_EXE_km"));
        km.args(options).args(["/bin/busybox", "sh", "-c", &script]).output().unwrap()
    };

    let (unfiltered, filtered) = (run(UNFILTERED), run(&[]));

    assert_eq!(String::from_utf8_lossy(&unfiltered.stdout), "0 0\n0\n0 0\n");
    assert!(String::from_utf8_lossy(&filtered.stdout).ends_with("159\n"), "{filtered:?}");
    assert_eq!(filtered.status.signal(), Some(libc::SIGSYS), "{filtered:?}");
}
