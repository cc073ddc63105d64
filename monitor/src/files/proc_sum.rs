//! `smaps_rollup` of `/proc/<pid>`: the sums of what `smaps` tells of each mapping, without the monitor's mappings. See
//! `proc_pid_smaps(5)`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::proc_view::{NAME_AT, range_of};

/// What is summed up.
#[derive(Debug, Default)]
struct Sums {
    range: Option<[u64; 2]>,
    /// Kilobytes by name, as in `Rss`.
    by_name: BTreeMap<String, u64>,
}

/// One mapping's part.
#[derive(Debug, Default)]
struct Mapping {
    is_of_shared_memory: bool,
    resident: u64,
    proportional: u64,
    anonymous: u64,
}

/// The sums of `mappings`, the guest's part of `smaps`, under the names that the kernel's own file has.
pub fn of_guest(kernels: &[u8], mappings: &[u8]) -> Vec<u8> {
    let sums = sum(&String::from_utf8_lossy(mappings));
    let [start, end] = sums.range.unwrap_or_default();
    let head = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0");
    let mut shown = format!("{head:<NAME_AT$}[rollup]\n");
    for line in String::from_utf8_lossy(kernels).lines().skip(1) {
        let Some((name, _)) = line.split_once(':') else { continue };
        let kilobytes = sums.by_name.get(name).copied().unwrap_or_default();
        let name = format!("{name}:");
        // Writing to a string does not fail.
        _ = writeln!(shown, "{name:<16}{kilobytes:>8} kB");
    }
    shown.into_bytes()
}

fn sum(text: &str) -> Sums {
    let mut sums = Sums::default();
    let mut mapping = Mapping::default();
    for line in text.lines() {
        if let Some([start, end]) = range_of(line.as_bytes()) {
            sums.add(&std::mem::take(&mut mapping));
            let [first, last] = sums.range.unwrap_or([start, end]);
            sums.range = Some([first.min(start), last.max(end)]);
            let name = line.get(NAME_AT..).unwrap_or_default();
            let shared = ["/memfd:", "/dev/shm/", "/dev/zero (deleted)", "/SYSV"];
            mapping.is_of_shared_memory = shared.iter().any(|prefix| name.starts_with(prefix));
        } else if let Some((name, rest)) = line.split_once(':')
            && let Some(kilobytes) = rest.trim().strip_suffix(" kB").and_then(|n| n.parse().ok())
        {
            *sums.by_name.entry(name.to_owned()).or_default() += kilobytes;
            match name {
                "Rss" => mapping.resident = kilobytes,
                "Pss" => mapping.proportional = kilobytes,
                "Anonymous" => mapping.anonymous = kilobytes,
                _ => {}
            }
        }
    }
    sums.add(&mapping);
    sums
}

impl Sums {
    /// What only the sum has: the proportional size by what is there. A mapping that has several is split as what is
    /// resident of it is.
    fn add(&mut self, mapping: &Mapping) {
        let Mapping { is_of_shared_memory, resident, proportional, anonymous } = *mapping;
        let of_memory = (proportional * anonymous.min(resident)).checked_div(resident).unwrap_or(0);
        let rest = if is_of_shared_memory { "Pss_Shmem" } else { "Pss_File" };
        *self.by_name.entry("Pss_Anon".to_owned()).or_default() += of_memory;
        *self.by_name.entry(rest.to_owned()).or_default() += proportional - of_memory;
    }
}

#[cfg(test)]
mod tests {
    use super::of_guest;

    #[test]
    fn sums_are_those_of_the_given_mappings_under_the_kernels_names() {
        let mappings = b"\
4000000000-4000004000 rw-p 00000000 fe:00 7                              /bin/true
Size:                 16 kB
Rss:                  16 kB
Pss:                   8 kB
Anonymous:             4 kB
VmFlags: rd wr
4000008000-400000a000 rw-s 00000000 00:01 7                              /memfd:a (deleted)
Rss:                   4 kB
Pss:                   4 kB
Anonymous:             0 kB
";
        let kernels = "\
5626eaf22000-7fff44da4000 ---p 00000000 00:00 0                          [rollup]
Rss:                1752 kB
Pss:                 268 kB
Pss_Anon:            112 kB
Pss_File:            156 kB
Pss_Shmem:             9 kB
KSM:                   3 kB
";

        let shown = String::from_utf8(of_guest(kernels.as_bytes(), mappings)).unwrap();

        assert_eq!(
            shown,
            "\
4000000000-400000a000 ---p 00000000 00:00 0                              [rollup]
Rss:                  20 kB
Pss:                  12 kB
Pss_Anon:              2 kB
Pss_File:              6 kB
Pss_Shmem:             4 kB
KSM:                   0 kB
"
        );
    }

    #[test]
    fn nothing_mapped_is_nothing() {
        let shown = of_guest(b"head\nRss: 4 kB\n", b"");

        assert!(
            String::from_utf8(shown).unwrap().ends_with("[rollup]\nRss:                   0 kB\n")
        );
    }
}
