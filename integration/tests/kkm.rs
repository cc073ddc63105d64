//! The guest programs on `/dev/kkm`, or rather on its double: what Linux answers, `km` must answer there too.
//!
//! The double (`src/bin/kkm-double`) honours the interface's text. So these tests show that `km` agrees with the
//! text; what the module itself does, only a machine that has it can show.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::path::Path;

use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::End;

/// Guests of memory and single calls that answer alike on Linux, on KVM and here. Not among them, and why:
///
/// - `auxv.c` and `vdso_time.c` look at the vDSO and `AT_HWCAP2`, which differ by intent.
/// - `signal_stacks.c` counts how many frames fit on a stack: here they are smaller, being without AVX.
/// - `vfork_actions.c` ignores signals, which ptrace(2) has delivered all the same: most likely the double's doing.
/// - `signal_races.c`, `links_in_paths.c` and `proc_and_closing.c` race for long: under ptrace(2) they do not end within
///   a minute, and have not been seen to end.
/// - `exhaust.c` has not been tried, nor have those about other processes' files, nor Go's programs.
const ONE_THREAD: [&str; 12] = [
    "avx512.c",
    "bad_pointers.c",
    "brk.c",
    "descriptors.c",
    "keys.c",
    "limits.c",
    "mappings.c",
    "mmap_variants.c",
    "ports.c",
    "privileged.c",
    "registers.c",
    "seccomp.c",
];
/// The same, of threads and signals.
const THREADS: [&str; 14] = [
    "compare.c",
    "exit_joined.c",
    "exit_waiting.c",
    "fpe.c",
    "futex_vectors.c",
    "handler_state.c",
    "masks_of_threads.c",
    "robust_killed.c",
    "setxid.c",
    "signals.c",
    "signals_blocking.c",
    "threads.c",
    "timers.c",
    "trap.c",
];
/// The same, of processes and programs.
const PROCESSES: [&str; 7] = [
    "access_ids.c",
    "clone_flags.c",
    "exec_rules.c",
    "execute.c",
    "fork_exec.c",
    "fork_threads.c",
    "job_control.c",
];

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;

/// A glibc guest at a fixed address, on the double.
fn guest(source: &str) -> Case {
    let program = guests::c(source, Link::GlibcStatic).expect("the guest compiles");
    on_double(&program)
}

fn on_double(program: &Path) -> Case {
    Case::program(program).supervised_by(Path::new(env!("CARGO_BIN_EXE_kkm-double")))
}

fn assert_alike(sources: &[&str]) {
    for source in sources {
        guest(source).assert_same_end(End::Exited(0));
    }
}

#[test]
fn memory_and_calls_are_linuxs() {
    assert_alike(&ONE_THREAD);
}

#[test]
fn threads_and_signals_are_linuxs() {
    assert_alike(&THREADS);
}

#[test]
fn processes_and_what_they_execute_are_linuxs() {
    assert_alike(&PROCESSES);
}

#[test]
fn every_kind_of_binary_runs() {
    for link in Link::ALL {
        let program = guests::c("threads.c", link).unwrap();

        on_double(&program).assert_same_end(End::Exited(0));
    }
}

#[test]
fn a_forbidden_access_is_sigsegv_though_the_module_tells_no_kind() {
    let accesses = [
        "null-read",
        "null-write",
        "null-call",
        "wild-write",
        "non-canonical",
        "non-canonical-call",
        "non-canonical-return",
        "kernel-half",
        "kernel-half-call",
        "rodata-write",
        "code-write",
        "data-call",
        "none-read",
        "read-only-write",
        "unmapped-read",
        "privileged",
        "port",
        "stack-overflow",
    ];
    for access in accesses {
        guest("segv.c").arg(access).assert_same_end(End::Killed(SIGSEGV));
    }
}

#[test]
fn an_exceptions_frame_becomes_linuxs_signal() {
    let faults = [("zero", SIGFPE), ("overflow", SIGFPE), ("sse", SIGFPE)];
    let traps = [("ud2", SIGILL), ("int3", SIGTRAP), ("int81", SIGSEGV), ("step", SIGTRAP)];
    for (fault, signal) in faults {
        guest("fpe.c").arg(fault).assert_same_end(End::Killed(signal));
    }
    for (trap, signal) in traps {
        guest("trap.c").arg(trap).assert_same_end(End::Killed(signal));
    }
}

#[test]
fn the_kernels_release_names_the_module() {
    let case = on_double(Path::new("/bin/uname")).arg("-r");

    let both = case.run().unwrap();

    let native = both.native.stdout();
    assert_eq!(both.km.stdout(), format!("{}.kontain.KKM\n", native.trim_end()), "{both:?}");
}
