//! Calls that do not leave the virtual machine: whether they pay is found out while a program runs, so
//! each guest runs with them forced, left to that, and switched off. What Linux answers is the measure.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use integration::guests::{self, Link};
use integration::native_and_km::Case;
use integration::outcome::End;

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
}
