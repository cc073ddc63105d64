//! Calls that do not leave the virtual machine: whether they pay is found out while a program runs, so
//! each guest runs with them forced, left to that, and switched off. What Linux answers is the measure.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::io::Write;
use std::process::{Command, Stdio};

use integration::built;
use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::{self, End, Outcome};

/// The status of a monitor that could not go on.
const MONITOR_FAILED: i32 = 125;

/// Runs a guest in all three ways.
#[track_caller]
fn same_in_all_ways(source: &str, arguments: &[&str]) {
    let program = guests::c(source, Link::GlibcStatic).expect("the guest compiles");
    for way in ["on", "auto", "off"] {
        let case = Case::program(&program).exitless(way);
        let case = arguments.iter().fold(case, Case::arg);
        case.assert_same_end(End::Exited(0));
    }
}

#[test]
fn signals_in_the_middle_of_a_call_change_nothing_and_all_arrive() {
    same_in_all_ways("exitless_signals.c", &[]);
}

#[test]
fn each_call_is_made_once() {
    same_in_all_ways("exitless_once.c", &[]);
}

#[test]
fn a_child_that_borrows_memory_learns_of_its_signals_as_on_linux() {
    same_in_all_ways("vfork_actions.c", &[]);
}

#[test]
fn a_programs_first_calls_do_what_they_do_on_linux() {
    for calls in ["heap", "thread-pointer", "clear-at-exit", "lists", "random", "limits"] {
        same_in_all_ways("first_calls.c", &[calls]);
    }
}

#[test]
fn what_first_calls_have_set_is_known_to_others() {
    for calls in ["killed", "limits-by-others"] {
        same_in_all_ways("first_calls.c", &[calls]);
    }
}

#[test]
fn paths_are_read_where_and_while_linux_can_read_them() {
    same_in_all_ways("exitless_paths.c", &[]);
    same_in_all_ways("exitless_paths.c", &["advice"]);
}

#[test]
fn pipes_sockets_and_fifos_wait_and_break_as_on_linux() {
    same_in_all_ways("exitless_channels.c", &[]);
}

#[test]
fn rights_that_were_given_up_are_used_by_nobody() {
    same_in_all_ways("exitless_rights.c", &[]);
}

#[test]
fn a_forged_call_passes_the_programs_own_filter() {
    same_in_all_ways("exitless_forged.c", &["calls"]);
}

#[test]
fn a_program_that_overwrites_its_gates_memory_harms_only_itself() {
    let program = guests::c("exitless_forged.c", Link::GlibcStatic).expect("the guest compiles");
    for _ in 0..10 {
        let outcome = Case::program(&program).exitless("on").arg("all").run_under_km().unwrap();

        assert_ne!(outcome.end, End::Exited(MONITOR_FAILED), "{outcome:?}");
    }
    let outcome = told(&[], &["--exitless=on"], &[&program.to_string_lossy(), "all"]);
    assert_ne!(outcome.end, End::Exited(MONITOR_FAILED), "{outcome:?}");
}

#[test]
fn what_is_forged_of_a_programs_first_calls_is_no_more_than_its_own_calls() {
    let program = guests::c("exitless_forged.c", Link::GlibcStatic).expect("the guest compiles");

    let outcome = Case::program(&program).exitless("auto").arg("first").run_under_km().unwrap();

    assert_eq!(outcome.end, End::Exited(0), "{outcome:?}");
    assert_eq!(outcome.stdout(), "it goes on\n", "{outcome:?}");
}

#[test]
fn a_small_programs_first_calls_stay_in_the_guest() {
    let program = guests::c("start_names.c", Link::GlibcStatic).expect("the guest compiles");

    let outcome = told(&[], &[], &[&program.to_string_lossy()]);

    let text = String::from_utf8_lossy(&outcome.stderr);
    // Where `syscall` leads to another level, all of them leave.
    let is_above = text.contains(" 0 answered in the gate");
    let left =
        |call: &str| text.lines().any(|line| line.ends_with(call) && line.contains(" left "));
    for call in ["arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64"] {
        assert!(is_above || !left(call), "{call}: {text}");
    }
}

#[test]
fn what_c_libraries_block_for_a_moment_stays_in_the_guest() {
    same_in_all_ways("masks_of_threads.c", &[]);
    let program = guests::c("thread_churn.c", Link::GlibcStatic).expect("the guest compiles");

    let outcome = told(&[], &[], &[&program.to_string_lossy(), "100", "1"]);

    let text = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.end, End::Exited(0), "{text}");
    // The program's children tell, too, of less. Where `syscall` leads to another level, all calls leave; else those
    // about the first thread that is started.
    let left = |call: &str| {
        let lines = text.lines().filter(|line| line.ends_with(call) && line.contains(" left "));
        lines
            .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u32>().ok())
            .max()
            .unwrap_or(0)
    };
    let is_above = left("set_tid_address") > 0;
    for call in ["rt_sigprocmask", "set_robust_list"] {
        assert!(is_above || left(call) < 20, "{call}: {text}");
    }
    assert!(left("clone3") >= 100, "{text}");
}

/// Runs `argv` under `km --stats`, itself started by `with`.
fn told(with: &[&str], options: &[&str], argv: &[&str]) -> Outcome {
    let km = built::km().expect("km is built");
    let mut command = Command::new(with.first().copied().unwrap_or("env"));
    command.args(with.iter().skip(1)).arg(km).arg("--stats").args(options).args(argv);
    outcome::run(&mut command, None).expect("km runs")
}

/// The processes that told what became of their calls, and what they say of the helper.
fn tellers(outcome: &Outcome) -> Vec<(String, String)> {
    let lines = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let told = lines.lines().filter_map(|line| {
        let (number, said) = line.strip_prefix("km: ")?.split_once(": ")?;
        Some((number.to_owned(), said.strip_prefix("helper: ")?.to_owned()))
    });
    told.collect()
}

#[test]
fn each_process_of_a_tree_tells_what_became_of_its_calls() {
    let script = "echo $$; (echo in a child; exit 3) & wait $!; echo $?";
    let outcome = told(&[], &["--exitless=on"], &["/bin/sh", "-c", script]);

    let own = outcome.stdout().lines().next().unwrap_or_default().to_owned();
    let tellers = tellers(&outcome);
    assert_eq!(tellers.len(), 2, "{outcome:?}");
    assert_ne!(tellers[0].0, own, "the child ends first");
    assert_eq!(tellers[1].0, own);
    assert!(tellers.iter().all(|(_, said)| said.starts_with("forced; an exit takes ")));
    assert!(
        String::from_utf8_lossy(&outcome.stderr)
            .contains("left         0 helped         0 declined  clone")
    );
}

/// The end of a shell that exits with 3 and tells `words` what became of its calls.
fn end_with(words: impl Into<Stdio>) -> End {
    let km = built::km().expect("km is built");
    let mut command = Command::new("/bin/sh");
    // Files beyond 512 bytes have SIGXFSZ raised.
    command.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]).arg(km).arg("--stats");
    command.args(["/bin/sh", "-c", "cd /; exit 3"]).stdin(Stdio::null());
    let status = command.stderr(words).status().expect("km runs");
    End::from(status)
}

#[test]
fn what_is_told_changes_no_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(end_with(writer), End::Exited(3), "nobody reads it");

    let (_reader, mut writer) = std::io::pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'.'; size]).unwrap();
    assert_eq!(end_with(writer), End::Exited(3), "nobody reads on");

    let mut long = tempfile::tempfile().unwrap();
    long.write_all(&[b'.'; 1024]).unwrap();
    assert_eq!(end_with(long), End::Exited(3), "it may not be longer");
}

#[test]
fn a_program_that_dies_tells_too() {
    let program = guests::c("segv.c", Link::GlibcStatic).expect("the guest compiles");
    let outcome = told(&[], &[], &[&program.to_string_lossy()]);

    assert_eq!(tellers(&outcome).len(), 1, "{outcome:?}");
}

#[test]
fn why_nobody_makes_the_calls_is_told() {
    let copy = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=2000", "status=none"];
    for (with, options, why) in [
        (&[][..], &["--exitless=off"][..], "off: it was asked for;"),
        (&["taskset", "-c", "0"], &[], "not used: one processor is allowed;"),
        (
            &[],
            &["--strace", "--exitless=on"],
            "not used: each call has to be seen where it is made;",
        ),
    ] {
        let outcome = told(with, options, &copy);
        let tellers = tellers(&outcome);
        assert_eq!(tellers.len(), 1, "{outcome:?}");
        assert!(tellers[0].1.starts_with(why), "{why}: {tellers:?}");
    }
    let silent = Case::new(copy).run_under_km().expect("km runs");
    assert_eq!(String::from_utf8_lossy(&silent.stderr), "", "it was not asked for");
}
