//! The monitor's own seccomp filter says what its tables say: the list in `monitor/filter/src/list/calls.rs` is
//! written from them here, and its program is run on every call.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::{fmt::Write, fs, ops::RangeInclusive, path::Path};

use monitor::{
    seccomp::program::{ARCHITECTURE, Data, Program},
    syscall::table::{self, Policy},
};
use monitor_sys::{
    abi::{CALLS, Call, number, variants},
    kkm, kvm,
    nested::SIOCGIFCONF,
};

/// `SECCOMP_RET_…`.
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const FAIL: u32 = 0x0005_0000;
const ENOSYS: u32 = 38;
const EINVAL: u32 = 22;
const ENOTTY: u32 = 25;
const ENOPROTOOPT: u32 = 92;
const EOPNOTSUPP: u32 = 95;

/// Calls that the gate refuses and that happen all the same: the C library registers its threads' own
/// restartable sequences, the kernel itself has interrupted sleeps go on by the second, and the third is made by
/// the code that a traced program returns through.
const OF_ITS_OWN: [usize; 3] = [number::RSEQ, number::RESTART_SYSCALL, number::URETPROBE];

/// Handled calls that the monitor makes others for, and that no agent can be asked about.
const NEVER_MADE: [usize; 5] =
    [number::FORK, number::VFORK, number::MLOCKALL, number::MUNLOCKALL, number::PKEY_MPROTECT];

/// `PR_SET_MM`, for what the host shows of the process.
const SET_MM: u64 = 35;
/// `SECCOMP_SET_MODE_FILTER`.
const SET_MODE_FILTER: u64 = 1;
/// `personality(2)` that only asks.
const QUERY: u64 = 0xffff_ffff;

/// Levels of socket options are looked for up to here, and options up to there. What is greater is as the greatest.
const LEVELS: u64 = 512;
const OPTIONS: u64 = 512;

/// The selectors of a call whose argument at an index says what it does, and the error of others.
fn selected(number: usize) -> Option<(u32, u32, Vec<u64>)> {
    Some(match number {
        number::IOCTL => {
            let own =
                kvm::REQUESTS.into_iter().chain(kkm::REQUESTS).map(u64::from).chain([SIOCGIFCONF]);
            (1, ENOTTY, variants::ioctls().chain(own).collect())
        }
        number::PRCTL => (0, EINVAL, variants::prctls().chain([SET_MM]).collect()),
        number::KEYCTL => (0, EOPNOTSUPP, variants::keyctls().collect()),
        number::SECCOMP => (0, EINVAL, vec![SET_MODE_FILTER]),
        // Without flags, some of which make memory executable.
        number::PERSONALITY => (0, EINVAL, (0..=0xff).chain([QUERY]).collect()),
        _ => return None,
    })
}

/// Whether the monitor makes a call at all.
fn is_made(call: &Call) -> bool {
    match table::policy(u64::try_from(call.number).expect("a small number")) {
        Some(Policy::Forward(_)) => true,
        Some(Policy::Handle(_)) => !NEVER_MADE.contains(&call.number),
        Some(Policy::Refuse(..)) | None => OF_ITS_OWN.contains(&call.number),
    }
}

fn word(number: u64) -> u32 {
    u32::try_from(number).expect("32 bits")
}

/// Sorted numbers as ranges.
fn ranges(numbers: impl IntoIterator<Item = u64>) -> Vec<RangeInclusive<u32>> {
    let mut numbers: Vec<u32> = numbers.into_iter().map(word).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(number) => {
                *last = *last.start()..=number;
            }
            _ => ranges.push(number..=number),
        }
    }
    ranges
}

fn digits(number: u32) -> String {
    match number >> 16 {
        0 => format!("{number:#x}"),
        high => format!("{high:#x}_{:04x}", number & 0xffff),
    }
}

fn list(ranges: &[RangeInclusive<u32>]) -> String {
    let one = |range: &RangeInclusive<u32>| {
        format!("{}..={}", digits(*range.start()), digits(*range.end()))
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What is refused of each level of socket options.
fn levels() -> Vec<(u64, Vec<RangeInclusive<u32>>)> {
    let is_plain = |level, option| variants::setsockopt(level, option).is_some();
    let known = (0..LEVELS).chain([variants::UNKNOWN_LEVEL]);
    let known = known.filter(|&level| is_plain(level, u64::from(u32::MAX)));
    known.map(|level| (level, ranges((0..OPTIONS).filter(|&o| !is_plain(level, o))))).collect()
}

fn rule(call: &Call) -> String {
    if !is_made(call) {
        return "kill".to_owned();
    }
    if let Some((argument, errno, of)) = selected(call.number) {
        return format!("only({argument}, {errno}, [{}])", list(&ranges(of)));
    }
    if [number::SETSOCKOPT, number::GETSOCKOPT].contains(&call.number) {
        let level = |(level, refused): (u64, Vec<_>)| {
            format!("({}, &[{}])", digits(word(level)), list(&refused))
        };
        let levels: Vec<_> = levels().into_iter().map(level).collect();
        return format!("options([{}])", levels.join(", "));
    }
    "allow".to_owned()
}

/// The list's part of the file, each line no longer than the others of this repository.
fn written() -> String {
    const WIDTH: usize = 100;
    let mut text = "calls! {\n".to_owned();
    for call in CALLS {
        let mut line = format!("    {} {}", call.number, call.name);
        for part in rule(call).split(' ') {
            if line.len() + part.len() >= WIDTH {
                writeln!(text, "{line}").expect("strings grow");
                line = String::from("       ");
            }
            write!(line, " {part}").expect("strings grow");
        }
        writeln!(text, "{line};").expect("strings grow");
    }
    text + "}\n"
}

/// With `UPDATE_DOCS=1` the list is written instead of compared.
#[test]
fn the_list_of_calls_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("filter/src/list/calls.rs");
    let file = fs::read_to_string(&path).unwrap();
    let (above, found) = file.split_once("\ncalls! {\n").unwrap();
    let found = format!("calls! {{\n{found}");
    let expected = written();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, format!("{above}\n{expected}")).unwrap();
    }

    assert!(found == expected, "{} is old: run the test with UPDATE_DOCS=1", path.display());
}

fn filter() -> Program {
    Program::decode(monitor_filter::PROGRAM).expect("the kernel takes it")
}

fn answer(filter: &Program, number: usize, args: [u64; 6]) -> u32 {
    filter.run(&Data::new(u32::try_from(number).expect("a small number"), 0, args))
}

#[test]
fn what_the_gate_refuses_ends_a_monitor_that_does_it() {
    let filter = filter();
    for call in CALLS {
        let number = u32::try_from(call.number).unwrap();
        let constant = filter.run_on_number(number);
        let expected = match (is_made(call), selected(call.number)) {
            (false, _) => Some(KILL),
            (true, Some(_)) => None,
            (true, None) if call.name.ends_with("sockopt") => None,
            (true, None) => Some(ALLOW),
        };
        // Linux runs no program for a call that is always allowed.
        assert_eq!(constant, expected, "{}", call.name);
    }
    for name in ["ptrace", "bpf", "io_uring_setup", "userfaultfd", "kexec_load", "init_module"] {
        let call = CALLS.iter().find(|call| call.name == name).unwrap();
        assert_eq!(answer(&filter, call.number, [0; 6]), KILL, "{name}");
    }
}

#[test]
fn numbers_without_a_row_are_those_of_newer_kernels() {
    let filter = filter();
    for number in [336, 400, 423, 463, 1000, 0x4000_0000, 0x4000_0010, 0xffff_ffff] {
        assert_eq!(filter.run_on_number(number), Some(FAIL | ENOSYS), "{number:#x}");
    }
}

#[test]
fn selectors_are_those_that_have_a_row() {
    let filter = filter();
    for call in CALLS {
        let Some((argument, errno, of)) = selected(call.number) else { continue };
        let near = of.iter().flat_map(|&one| [one.wrapping_sub(1), one, one + 1]);
        for value in near.chain([0, 0x8946, 0xae60, u64::from(u32::MAX)]) {
            let mut args = [u64::MAX; 6];
            // The kernel takes them as 32-bit numbers.
            let low = value & 0xffff_ffff;
            args[usize::try_from(argument).unwrap()] = low | 7 << 32;
            let expected = if of.contains(&low) { ALLOW } else { FAIL | errno };
            assert_eq!(answer(&filter, call.number, args), expected, "{} {value:#x}", call.name);
        }
    }
}

#[test]
fn socket_options_are_those_without_pointers() {
    let filter = filter();
    for level in (0..LEVELS).chain([variants::UNKNOWN_LEVEL, u64::from(u32::MAX)]) {
        for option in (0..OPTIONS).chain([1 << 20, u64::from(u32::MAX)]) {
            let is_plain = variants::setsockopt(level, option).is_some();
            let expected = if is_plain { ALLOW } else { FAIL | ENOPROTOOPT };
            for number in [number::SETSOCKOPT, number::GETSOCKOPT] {
                let found = answer(&filter, number, [3, level, option, 0, 0, 0]);
                assert_eq!(found, expected, "level {level} option {option}");
            }
        }
    }
}

#[test]
fn other_architectures_end_the_monitor() {
    let (instructions, _) = monitor_filter::PROGRAM.as_chunks::<8>();
    let operand = |at: usize| instructions[at][4..].to_vec();

    // Load the architecture. If it is not x86-64's, go to where it ends.
    assert_eq!(instructions[0], [0x20, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(instructions[1][..2], [0x15, 0], "is it equal?");
    assert_eq!(operand(1), ARCHITECTURE.to_ne_bytes());
    let otherwise = 2 + usize::from(instructions[1][3]);
    assert_eq!(instructions[otherwise][..2], [6, 0], "a return");
    assert_eq!(operand(otherwise), KILL.to_ne_bytes());
}

/// Each start of a container loads it, which takes Linux 0.2 microseconds an instruction.
#[test]
fn the_program_is_short() {
    let instructions = monitor_filter::PROGRAM.len() / 8;
    assert!(instructions < 300, "{instructions}");
}
