//! Where Linux mapped its vDSO into the monitor, with the pages of variables in
//! front of it: read-only memory of the kernel's, which the guest gets to see.

use std::{fs, io::Read, os::fd::AsFd};

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::{auxiliary, guest_memory::PAGE};

/// The monitor's own list of mappings is shorter, in bytes.
const MAPS_LEN: usize = 16 << 10;

/// The vDSO and its variables, as they lie in the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostVdso {
    /// The first page of variables.
    pub(crate) start: u64,
    /// The pages' number of bytes.
    pub(crate) len: u64,
    /// Where the vDSO's ELF header lies behind `start`, in bytes.
    pub(crate) image: u64,
}

impl HostVdso {
    /// The one of a process of which the rest is known from another one.
    ///
    /// It is the same in all processes, but for where it is.
    pub fn known(len: u64, image: u64) -> Option<Self> {
        let start = auxiliary::value(libc::AT_SYSINFO_EHDR).checked_sub(image)?;
        let whole = [start, len, image].iter().all(|number| number.is_multiple_of(PAGE));
        (start != 0 && image < len && whole).then_some(Self { start, len, image })
    }

    /// Finds it, or `None` where Linux gave none or a true `/proc` is missing.
    ///
    /// The variables' place is told by `/proc/self/maps` only. An image could
    /// have a forged file there, hence the question which filesystem it is on.
    pub fn find() -> Option<Self> {
        let image = auxiliary::value(libc::AT_SYSINFO_EHDR);
        let mut maps = fs::File::open("/proc/self/maps").ok()?;
        let proc = fstatfs(maps.as_fd()).ok()?.filesystem_type() == PROC_SUPER_MAGIC;
        if !proc {
            return None;
        }
        let mut text = String::with_capacity(MAPS_LEN);
        maps.read_to_string(&mut text).ok()?;
        Self::from_maps(&text, image)
    }

    /// The number of bytes, in whole pages.
    pub fn len(self) -> u64 {
        self.len
    }

    /// Whether there is nothing to map; never, for one that was found.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where the vDSO's ELF header lies from the first page, in bytes.
    pub fn image(self) -> u64 {
        self.image
    }

    fn from_maps(maps: &str, image: u64) -> Option<Self> {
        let mut ranges = maps.lines().filter(|line| line.contains("[v")).filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let ours = rest.ends_with("[vdso]") || rest.contains("[vvar");
            let parse = |number| u64::from_str_radix(number, 16).ok();
            ours.then_some((parse(start)?, parse(end)?))
        });
        let (start, mut end) = ranges.next()?;
        for (next, next_end) in ranges {
            if next != end {
                return None;
            }
            end = next_end;
        }
        let inside = (start..end).contains(&image) && image.is_multiple_of(PAGE);
        inside.then(|| Self { start, len: end - start, image: image - start })
    }
}

#[cfg(test)]
mod tests {
    use super::HostVdso;

    const MAPS: &str = "\
5555-5556 r-xp 00000000 00:00 0 /km
7ffff7fc1000-7ffff7fc5000 r--p 00000000 00:00 0 [vvar]
7ffff7fc5000-7ffff7fc7000 r--p 00000000 00:00 0 [vvar_vclock]
7ffff7fc7000-7ffff7fc9000 r-xp 00000000 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
";

    #[test]
    fn the_variables_in_front_of_the_vdso_belong_to_it() {
        let found = HostVdso::from_maps(MAPS, 0x7fff_f7fc_7000).unwrap();

        assert_eq!((found.start, found.len, found.image), (0x7fff_f7fc_1000, 0x8000, 0x6000));
    }

    #[test]
    fn a_vdso_with_something_between_it_and_its_variables_is_not_used() {
        let torn = MAPS.replace("7ffff7fc7000-", "7ffff7fc8000-");

        assert_eq!(HostVdso::from_maps(&torn, 0x7fff_f7fc_8000), None);
    }

    #[test]
    fn one_that_is_known_is_the_one_that_is_found() {
        let found = HostVdso::find().unwrap();

        assert_eq!(HostVdso::known(found.len, found.image), Some(found));
        assert_eq!(HostVdso::known(found.image, found.image), None);
        assert_eq!(HostVdso::known(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn without_one_there_is_none() {
        assert_eq!(HostVdso::from_maps("", 0), None);
        assert_eq!(HostVdso::from_maps(MAPS, 0), None);
    }
}
