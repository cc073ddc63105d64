//! The guest programs, each of which asks one question: what Linux answers, `km` must answer.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::End;
use integration::rootfs;

/// Signals, by Linux's numbers.
const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGTERM: i32 = 15;

/// A glibc guest at a fixed address.
fn guest(source: &str) -> Case {
    let program = guests::c(source, Link::GlibcStatic).expect("the guest compiles");
    Case::program(&program)
}

#[test]
fn every_kind_of_binary_finds_on_its_stack_what_linux_puts_there() {
    for link in Link::ALL {
        let auxv = guests::c("auxv.c", link).unwrap();

        Case::program(&auxv).arg("one").arg("two words").arg("").assert_same_end(End::Exited(0));
    }
}

#[test]
fn a_program_without_arguments_and_environment_starts() {
    guest("auxv.c").assert_same_end(End::Exited(0));
}

#[test]
fn the_widest_vector_registers_survive_system_calls() {
    guest("avx512.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_system_call_keeps_registers_and_red_zone() {
    guest("registers.c").assert_same_end(End::Exited(0));
}

#[test]
fn false_pointers_and_numbers_get_linuxs_errno() {
    guest("bad_pointers.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_call_that_does_not_exist_is_enosys_and_told_once() {
    let both = guest("unknown_call.c").run().unwrap();

    let same = both.km.end == both.native.end && both.km.stdout == both.native.stdout;
    assert!(same, "{both:?}");
    assert_eq!(both.km.stderr().matches("9999").count(), 1, "{:?}", both.km);
}

#[test]
fn the_vdso_tells_the_kernels_time() {
    for link in [Link::GlibcStatic, Link::GlibcDynamic, Link::MuslStatic] {
        let time = guests::c("vdso_time.c", link).unwrap();

        Case::program(&time).assert_same_end(End::Exited(0));
    }
}

#[test]
fn a_personality_is_told_and_inherited() {
    guest("personality.c").assert_same_end(End::Exited(0));
}

#[test]
fn the_heaps_end_moves_as_on_linux() {
    guest("brk.c").assert_same_end(End::Exited(0));
}

#[test]
fn anonymous_mappings_behave_as_on_linux() {
    guest("mmap_variants.c").assert_same_end(End::Exited(0));
}

#[test]
fn memory_written_in_order_is_what_it_is_on_linux() {
    for way in ["auto", "on", "off"] {
        guest("huge_pages.c").exitless(way).assert_same_end(End::Exited(0));
    }
}

#[test]
fn file_mappings_behave_as_on_linux() {
    let dir = tempfile::tempdir().unwrap();

    guest("mmap_file.c").arg(dir.path().join("file")).assert_same_end(End::Exited(0));
}

#[test]
fn a_page_past_the_end_of_a_mapped_file_is_sigbus() {
    let dir = tempfile::tempdir().unwrap();

    guest("mmap_file.c")
        .arg(dir.path().join("file"))
        .arg("past the end")
        .assert_same_end(End::Killed(SIGBUS));
}

#[test]
fn a_hundred_megabytes_are_written_and_read_back() {
    // Not in memory, as /tmp may be.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();

    guest("files100m.c").arg(dir.path().join("file")).assert_same_end(End::Exited(0));
}

#[test]
fn every_forbidden_access_is_sigsegv() {
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
    ];
    for access in accesses {
        guest("segv.c").arg(access).assert_same_end(End::Killed(SIGSEGV));
    }
}

#[test]
fn a_stack_that_overflows_is_sigsegv() {
    guest("segv.c").arg("stack-overflow").assert_same_end(End::Killed(SIGSEGV));
}

#[test]
fn every_arithmetic_fault_is_sigfpe() {
    for fault in ["zero", "overflow", "sse", "x87"] {
        guest("fpe.c").arg(fault).assert_same_end(End::Killed(SIGFPE));
    }
}

#[test]
fn other_faulting_instructions_get_linuxs_signal() {
    let traps = [
        ("ud2", SIGILL),
        ("int3", SIGTRAP),
        ("icebp", SIGTRAP),
        ("int81", SIGSEGV),
        ("step", SIGTRAP),
        ("align", SIGBUS),
    ];
    for (trap, signal) in traps {
        guest("trap.c").arg(trap).assert_same_end(End::Killed(signal));
    }
}

#[test]
fn abort_ends_a_program_with_sigabrt() {
    for link in [Link::GlibcDynamic, Link::MuslStatic] {
        let abort = guests::c("abort.c", link).unwrap();

        Case::program(&abort).assert_same_end(End::Killed(SIGABRT));
    }
}

#[test]
fn a_program_that_signals_itself_ends_by_that_signal() {
    for signal in [SIGTERM, SIGKILL, SIGSEGV] {
        guest("abort.c").arg(signal.to_string()).assert_same_end(End::Killed(signal));
    }
}

#[test]
fn arguments_that_an_operation_does_not_use_may_be_rubbish() {
    for link in [Link::GlibcStatic, Link::GlibcDynamic] {
        let program = guests::c("unused_arguments.c", link).unwrap();

        Case::program(&program).assert_same_end(End::Exited(0));
    }
}

#[test]
fn setuid_reaches_every_thread() {
    for link in [Link::GlibcStatic, Link::GlibcDynamic, Link::MuslStatic] {
        let program = guests::c("setxid.c", link).unwrap();

        Case::program(&program).assert_same_end(End::Exited(0));
    }
}

#[test]
fn a_handler_begins_with_a_fresh_floating_point_state() {
    guest("handler_state.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_starts_with_its_descriptors_and_no_others() {
    guest("start_bare.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_programs_own_seccomp_filters_act_on_its_calls() {
    guest("seccomp.c").assert_same_end(End::Exited(0));
}

#[test]
fn asynchronous_input_and_output_behaves_as_on_linux() {
    let dir = tempfile::tempdir().unwrap();

    guest("aio.c").arg(dir.path().join("file")).assert_same_end(End::Exited(0));
}

#[test]
fn a_program_can_lock_all_of_its_memory() {
    guest("mlockall.c").assert_same_end(End::Exited(0));
}

#[test]
fn sealed_memory_keeps_its_map() {
    guest("mseal.c").assert_same_end(End::Exited(0));
}

#[test]
fn descriptors_stay_what_they_are_after_children_were_spawned() {
    guest("spawned_descriptors.c").assert_same_end(End::Exited(0));
}

#[test]
fn access_is_asked_for_the_real_user() {
    guest("access_ids.c").assert_same_end(End::Exited(0));
}

#[test]
fn several_futexes_can_be_waited_for_and_moved() {
    guest("futex_vectors.c").assert_same_end(End::Exited(0));
}

#[test]
fn robust_locks_are_released_however_their_owner_ends() {
    guest("robust_killed.c").assert_same_end(End::Exited(0));
}

#[test]
fn sizes_and_threads_are_told_without_the_monitors() {
    for link in [Link::GlibcStatic, Link::GlibcDynamic] {
        let own_size = guests::c("own_size.c", link).unwrap();

        Case::program(&own_size).assert_same_end(End::Exited(0));
    }
}

#[test]
fn nobody_runs_on_when_a_thread_ends_the_process() {
    guest("exit_joined.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_message_queue_tells_of_its_first_message() {
    guest("mq_notify.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_finds_the_addresses_of_all_interfaces() {
    guest("interfaces.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_child_has_its_programs_name_as_soon_as_it_has_started() {
    guest("start_names.c").assert_same_end(End::Exited(0));
}

#[test]
fn calls_of_emulated_code_become_signals() {
    guest("user_dispatch.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_can_keep_keys() {
    guest("keys.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_reaches_its_own_memory_by_the_calls_for_others() {
    guest("own_memory.c").assert_same_end(End::Exited(0));
}

#[test]
fn processes_can_be_compared_but_for_what_is_the_monitors() {
    guest("compare.c").assert_same_end(End::Exited(0));
}

#[test]
fn threads_share_memory_and_wait_for_each_other() {
    for link in [Link::GlibcStatic, Link::MuslStatic] {
        let threads = guests::c("threads.c", link).unwrap();

        Case::program(&threads).assert_same_end(End::Exited(0));
    }
}

#[test]
fn handlers_leave_the_program_undisturbed() {
    guest("signals.c").assert_same_end(End::Exited(0));
}

#[test]
fn children_are_made_and_waited_for_as_on_linux() {
    guest("fork_exec.c").assert_same_end(End::Exited(0));
}

#[test]
fn clone_makes_of_each_flag_what_linux_makes_of_it() {
    guest("clone_flags.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_file_ends_when_the_program_lets_go_of_it_as_its_standard_error() {
    guest("standard_error.c").assert_same_end(End::Exited(0));
}

#[test]
fn processes_get_namespaces_as_on_linux() {
    guest("namespaces.c").assert_same_end(End::Exited(0));
}

#[test]
fn what_is_closed_is_closed_and_threads_count_also_behind_a_look_at_proc() {
    guest("proc_and_closing.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_program_for_which_no_machine_could_be_made_is_not_executed() {
    let unshare = |fork: &'static [&str]| {
        let command = [&[rootfs::BUSYBOX, "unshare", "-p"], fork, &[rootfs::BUSYBOX, "echo", "hi"]];
        Case::new(command.concat()).run().unwrap()
    };

    let both = unshare(&["-f"]);
    assert_eq!(
        (both.native.stdout(), both.km.stdout()),
        ("hi\n".into(), "hi\n".into()),
        "{both:?}"
    );
    let both = unshare(&[]);
    assert_eq!(both.native.stdout(), "hi\n", "{both:?}");
    // KVM needs a thread for it from Linux 6.14 on.
    let is_refused = both.km.stderr().contains("Cannot allocate memory");
    assert!(
        both.km.stdout() == "hi\n" || is_refused && both.km.end == End::Exited(126),
        "{both:?}"
    );
}

#[test]
fn files_of_proc_open_by_their_path_alone() {
    guest("opened_by_path.c").assert_same_end(End::Exited(0));
}

#[test]
fn limits_act_on_the_program_and_on_nothing_else() {
    guest("limits.c").assert_same_end(End::Exited(0));
}

#[test]
fn every_mapping_call_does_what_it_does_on_linux() {
    for link in [Link::GlibcStatic, Link::GlibcDynamic] {
        let mappings = guests::c("mappings.c", link).unwrap();

        Case::program(&mappings).assert_same_end(End::Exited(0));
    }
}

#[test]
fn execve_refuses_and_resets_what_linux_does() {
    guest("exec_rules.c").assert_same_end(End::Exited(0));
}

#[test]
fn memory_is_executable_just_while_the_program_says_so() {
    guest("execute.c").assert_same_end(End::Exited(0));
}

#[test]
fn what_threads_block_is_blocked_and_what_comes_meanwhile_is_not_lost() {
    guest("masks_of_threads.c").assert_same_end(End::Exited(0));
}

#[test]
fn signals_from_outside_disturb_neither_faults_nor_returns() {
    guest("signal_races.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_port_is_sigsegv_at_the_instruction() {
    guest("ports.c").assert_same_end(End::Exited(0));
}

#[test]
fn instructions_of_the_kernels_are_signals_and_change_nothing() {
    guest("privileged.c").assert_same_end(End::Exited(0));
}

#[test]
fn signals_end_the_calls_that_wait_and_none_is_lost() {
    for calls in ["first", "second", "third"] {
        guest("signals_blocking.c").arg("7692").arg(calls).assert_same_end(End::Exited(0));
    }
}

#[test]
fn parents_learn_of_stops_continuations_and_ends() {
    guest("job_control.c").assert_same_end(End::Exited(0));
}

#[test]
fn handlers_nest_jump_and_overflow_as_on_linux() {
    guest("signal_stacks.c").assert_same_end(End::Exited(0));
}

#[test]
fn threads_come_and_go_by_the_thousand() {
    guest("thread_churn.c").assert_same_end(End::Exited(0));
}

#[test]
fn threads_fork_while_others_allocate_and_map() {
    guest("fork_threads.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_thread_executes_a_program_and_the_others_are_gone() {
    guest("exec_threads.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_process_ends_whatever_its_threads_wait_for() {
    guest("exit_waiting.c").assert_same_end(End::Exited(0));
}

#[test]
fn timers_reach_those_they_are_for() {
    guest("timers.c").assert_same_end(End::Exited(0));
}

#[test]
fn children_are_made_while_signals_arrive() {
    guest("spawn_signals.c").assert_same_end(End::Exited(0));
}

#[test]
fn all_descriptors_that_the_limit_allows_are_the_programs() {
    guest("descriptor_limit.c").assert_same_end(End::Exited(0));
}

#[test]
fn a_list_of_threads_is_that_of_the_programs() {
    let both = guest("listed_threads.c").run().unwrap();

    assert_eq!(both.native.stdout(), "wrong: 0\n", "{both:?}");
    assert_eq!(both.km.stdout(), both.native.stdout(), "{both:?}");
}

#[test]
fn proc_shows_a_program_itself_and_its_neighbours() {
    guest("neighbour.c").assert_same_end(End::Exited(0));
}
