//! `status`, `stat` and `statm` of `/proc/<pid>`: sizes of memory and numbers of threads without
//! what is the monitor's. `proc_pid_status(5)` and its neighbours say what the fields are.

use std::os::unix::fs::FileExt;

use super::{
    neighbour::{Subject, Viewer},
    proc_list::guests_threads,
    proc_view::{Line, lines},
};
use monitor_sys::guest_memory::{GUEST_END, PAGE};

/// Which of the files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Name: value` lines, sizes in kB.
    Status,
    /// One line of words: sizes in bytes, what is resident in pages.
    Stat,
    /// One line of words, in pages.
    Statm,
}

/// What is the guest's of a process, in bytes, and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    /// All mappings.
    size: u64,
    /// The ones for code.
    code: u64,
    /// Private ones that can be written, but for the stack.
    data: u64,
    stack: u64,
    monitor: Resident,
}

/// Pages of a monitor's, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Resident {
    anonymous: u64,
    of_files: u64,
    swapped: u64,
}

/// The content of one of a guest's files as it should be, with its heap's start, if that is known. What may not be
/// looked at, or has no subject, is left as it is but for addresses.
pub fn of_guest(
    viewer: &Viewer<'_>,
    form: Form,
    subject: Option<Subject<'_>>,
    content: &[u8],
    heap: u64,
) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let threads = subject.and_then(threads);
    let memory = subject.and_then(|subject| {
        let maps = subject.read("maps").ok()?;
        let mut memory = sizes(&maps);
        memory.monitor = resident(subject, &maps);
        Some(memory)
    });
    let shown = match form {
        Form::Status if viewer.own_filter => without_a_filter(&status(&text, memory, threads)),
        Form::Status => status(&text, memory, threads),
        Form::Stat => stat(&text, memory, threads, heap),
        Form::Statm => memory.map_or_else(|| text.to_string(), |memory| statm(&text, memory)),
    };
    shown.into_bytes()
}

/// How many threads a process has that are the guest's. Those that are not come and go meanwhile: the
/// guest's are counted, not the others subtracted.
fn threads(subject: Subject<'_>) -> Option<u64> {
    u64::try_from(guests_threads(subject)?.len()).ok()
}

fn sizes(maps: &[u8]) -> Memory {
    let mut memory = Memory::default();
    for Line { range: [start, end], is_guests, text } in lines(maps) {
        let size = end - start;
        let may = text.split(' ').nth(1).unwrap_or_default();
        let is = |at: usize, letter| may.chars().nth(at) == Some(letter);
        if !is_guests {
            continue;
        }
        memory.size += size;
        if text.trim_end().ends_with("[stack]") {
            memory.stack += size;
        } else if is(1, 'w') {
            memory.data += if is(3, 'p') { size } else { 0 };
        } else if is(2, 'x') {
            memory.code += size;
        }
    }
    memory
}

/// Looks at the page tables of the monitor's mappings (`/proc/<pid>/pagemap`).
fn resident(subject: Subject<'_>, maps: &[u8]) -> Resident {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;
    let mut resident = Resident::default();
    let Ok(pages) = subject.open("pagemap") else { return resident };
    for Line { range: [start, end], is_guests, text } in lines(maps) {
        if is_guests || text.contains(" ---p ") || text.contains("[vsyscall]") {
            continue;
        }
        let is_anonymous = text.contains("p 00000000 00:00 0");
        let Ok(count) = usize::try_from((end - start) / PAGE) else { continue };
        let mut words = vec![0; count * 8];
        let len = pages.read_at(&mut words, start / PAGE * 8).unwrap_or(0);
        for word in words[..len].chunks_exact(8).filter_map(|word| word.try_into().ok()) {
            let word = u64::from_le_bytes(word);
            match (word & PRESENT != 0, word & SWAPPED != 0, word & OF_FILE != 0) {
                // Linux calls a page of zeros that was only read a file's, and does not count it.
                (true, _, true) if is_anonymous => {}
                (true, _, true) => resident.of_files += PAGE,
                (true, _, false) => resident.anonymous += PAGE,
                (false, true, _) => resident.swapped += PAGE,
                (false, false, _) => {}
            }
        }
    }
    resident
}

/// A file of `Name:\tvalue unit` lines.
fn status(text: &str, memory: Option<Memory>, threads: Option<u64>) -> String {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok())
    };
    let kib = |name: &str| number(name).unwrap_or(0) * 1024;
    let value = |name: &str| -> Option<u64> {
        if name == "Threads" {
            return threads.map(|count| count.max(1));
        }
        let memory = memory?;
        let Resident { anonymous, of_files, swapped } = memory.monitor;
        let monitors_size = kib("VmSize").saturating_sub(memory.size);
        Some(match name {
            "VmPeak" => kib(name).saturating_sub(monitors_size).max(memory.size) / 1024,
            "VmSize" => memory.size / 1024,
            "VmHWM" | "VmRSS" => kib(name).saturating_sub(anonymous + of_files) / 1024,
            "RssAnon" => kib(name).saturating_sub(anonymous) / 1024,
            "RssFile" => kib(name).saturating_sub(of_files) / 1024,
            // Of a monitor in a tmpfs.
            "RssShmem" => kib(name).saturating_sub(of_files.saturating_sub(kib("RssFile"))) / 1024,
            "VmData" => memory.data / 1024,
            "VmStk" => memory.stack / 1024,
            "VmLib" => memory.code.saturating_sub(kib("VmExe")) / 1024,
            "VmSwap" => kib(name).saturating_sub(swapped) / 1024,
            _ => return None,
        })
    };
    let line = |line: &str| {
        let Some((name, shown)) =
            line.split_once(':').and_then(|(name, _)| Some((name, value(name)?)))
        else {
            return line.to_owned();
        };
        if name == "Threads" {
            format!("{name}:\t{shown}\n")
        } else {
            format!("{name}:\t{shown:8} kB\n")
        }
    };
    text.split_inclusive('\n').map(line).collect()
}

/// The lines about seccomp filters of a thread with one filter less. A kernel that does not count them (before
/// Linux 5.9) is believed.
fn without_a_filter(text: &str) -> String {
    const COUNT: &str = "Seccomp_filters:\t";
    let count = text.lines().find_map(|line| line.strip_prefix(COUNT)?.parse::<u64>().ok());
    let Some(shown) = count.and_then(|count| count.checked_sub(1)) else { return text.to_owned() };
    let line = |line: &str| match line {
        _ if line.starts_with(COUNT) => format!("{COUNT}{shown}\n"),
        "Seccomp:\t2\n" if shown == 0 => "Seccomp:\t0\n".to_owned(),
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// `number (name) word word …`, where the name can hold anything. The heap that the kernel knows is the monitor's.
fn stat(text: &str, memory: Option<Memory>, threads: Option<u64>, heap: u64) -> String {
    const THIRD: usize = 3;
    const ADDRESSES: [usize; 12] = [26, 27, 28, 29, 30, 45, 46, 47, 48, 49, 50, 51];
    const HEAP: usize = 47;
    const THREADS: usize = 20;
    const SIZE: usize = 23;
    const RESIDENT: usize = 24;
    let Some((name, words)) = text.rsplit_once(") ") else { return text.to_owned() };
    let mut words: Vec<String> = words.trim_end().split(' ').map(str::to_owned).collect();
    let mut change = |word: usize, new: &dyn Fn(u64) -> u64| {
        if let Some(word) = words.get_mut(word - THIRD)
            && let Ok(old) = word.parse()
        {
            *word = new(old).to_string();
        }
    };
    for word in ADDRESSES {
        let known = if word == HEAP { heap } else { 0 };
        change(word, &|address| if address < GUEST_END { address } else { known });
    }
    change(THREADS, &|count| threads.unwrap_or(count).max(1));
    if let Some(memory) = memory {
        change(SIZE, &|_| memory.size);
        let Resident { anonymous, of_files, .. } = memory.monitor;
        change(RESIDENT, &|pages| pages.saturating_sub((anonymous + of_files) / PAGE));
    }
    format!("{name}) {}\n", words.join(" "))
}

/// `size resident shared text lib data dt`.
fn statm(text: &str, memory: Memory) -> String {
    let words: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [_, resident, shared, code, rest @ ..] = words.as_slice() else { return text.to_owned() };
    let Resident { anonymous, of_files, .. } = memory.monitor;
    let mut shown = vec![
        memory.size / PAGE,
        resident.saturating_sub((anonymous + of_files) / PAGE),
        shared.saturating_sub(of_files / PAGE),
        *code,
    ];
    shown.extend(rest);
    if let Some(data) = shown.get_mut(5) {
        *data = (memory.data + memory.stack) / PAGE;
    }
    let shown: Vec<String> = shown.iter().map(u64::to_string).collect();
    format!("{}\n", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{Memory, Resident, sizes, stat, statm, status, without_a_filter};

    const MEMORY: Memory = Memory {
        size: 80 << 10,
        code: 24 << 10,
        data: 16 << 10,
        stack: 8 << 10,
        monitor: Resident { anonymous: 4 << 10, of_files: 8 << 10, swapped: 0 },
    };

    #[test]
    fn a_status_tells_the_guests_sizes() {
        let text = "Name:\tVmSize: 7\nVmPeak:\t     200 kB\nVmSize:\t     100 kB\nVmRSS:\t      40 kB\n\
                    RssAnon:\t      20 kB\nVmExe:\t       4 kB\nVmLib:\t      99 kB\nThreads:\t2\n";

        assert_eq!(
            status(text, Some(MEMORY), Some(1)),
            "Name:\tVmSize: 7\nVmPeak:\t     180 kB\nVmSize:\t      80 kB\nVmRSS:\t      28 kB\n\
             RssAnon:\t      16 kB\nVmExe:\t       4 kB\nVmLib:\t      20 kB\nThreads:\t1\n"
        );
        assert_eq!(status(text, None, Some(1)), text.replace("Threads:\t2", "Threads:\t1"));
    }

    #[test]
    fn the_monitors_own_filter_is_not_counted() {
        let text = |mode, count| {
            format!("Name:\tx\nSeccomp:\t{mode}\nSeccomp_filters:\t{count}\nCpus:\t2\n")
        };

        assert_eq!(without_a_filter(&text(2, 1)), text(0, 0));
        assert_eq!(without_a_filter(&text(2, 3)), text(2, 2));
        assert_eq!(without_a_filter(&text(0, 0)), text(0, 0));
        assert_eq!(without_a_filter("Seccomp:\t2\n"), "Seccomp:\t2\n");
    }

    #[test]
    fn a_name_in_a_stat_can_hold_anything() {
        let words = |threads: u64, size: u64, resident: u64| {
            let between = "0 ".repeat(16);
            format!("7 (a) R 1 (b) S {between}{threads} 0 9 {size} {resident} 1 2\n")
        };

        assert_eq!(stat(&words(3, 102_400, 10), Some(MEMORY), Some(2), 0), words(2, 81_920, 7));
        assert_eq!(stat(&words(3, 102_400, 10), None, Some(2), 0), words(2, 102_400, 10));
        assert_eq!(stat("", Some(MEMORY), Some(1), 0), "");
    }

    #[test]
    fn a_stat_tells_no_address_behind_the_guests_memory() {
        let text = |heap: u64, stack: u64| {
            let between = "0 ".repeat(25);
            let behind = "0 ".repeat(18);
            format!("7 (a) {between}{stack} {behind}{heap} 4 5\n")
        };

        let shown = stat(&text(0x5555_0000_0000, 0x7ffe_0000_0000), None, None, 0x4000);

        assert_eq!(shown.split(' ').nth(19), Some("1"), "of threads there is one at least");
        let threads = |text: String| {
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words[19] = "1".to_owned();
            words.join(" ")
        };
        assert_eq!(shown, threads(text(0x4000, 0)));
        assert_eq!(stat(&text(0x4000, 0x5000), None, None, 9), threads(text(0x4000, 0x5000)));
    }

    #[test]
    fn a_statm_tells_the_guests_pages() {
        assert_eq!(statm("25 10 6 1 0 9 0\n", MEMORY), "20 7 4 1 0 6 0\n");
        assert_eq!(statm("25", MEMORY), "25");
    }

    #[test]
    fn sizes_are_those_of_the_guests_mappings() {
        let maps = b"\
4000000000-4000001000 r-xp 00000000 fe:00 7                              /bin/true
4000001000-4000003000 rw-p 00000000 00:00 0 
4000003000-4000004000 rw-s 00000000 00:00 0 
4000010000-4000018000 rw-p 00000000 00:00 0                              [stack]
7f296c479000-7f296c47b000 r-xp 00000000 00:00 0                          [vdso]
7f296d000000-7f296d100000 rw-p 00000000 00:00 0 
";
        let shown = Memory {
            size: 14 << 12,
            code: 3 << 12,
            data: 2 << 12,
            stack: 8 << 12,
            ..Memory::default()
        };

        assert_eq!(sizes(maps), shown);
    }
}
