//! The names under `/proc` by which a process asks for itself.

use monitor_sys::descriptors;

/// Whether `path` names the calling process's program.
pub fn names_executable(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/proc/") else {
        return false;
    };
    let Some(owner) = rest.strip_suffix(b"/exe") else {
        return false;
    };
    let own = std::process::id().to_string();
    owner == b"self" || owner == b"thread-self" || owner == own.as_bytes()
}

/// Whether `path` names one of the monitor's descriptors of the calling process.
/// What such a name would open is harmless all the same: no call of the guest's
/// reaches the device, and the log and the trace are its own.
pub fn names_hidden(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/proc/") else { return false };
    let Ok(rest) = std::str::from_utf8(rest) else { return false };
    let mut parts = rest.rsplit('/');
    let (number, list) = (parts.next(), parts.next());
    let number = number.and_then(|number| number.parse().ok());
    matches!(list, Some("fd" | "fdinfo"))
        && number.is_some_and(descriptors::is_ours)
        && (rest.starts_with("self/")
            || rest.starts_with("thread-self/")
            || rest.starts_with(&format!("{}/", std::process::id())))
}

/// Whether `name`, a directory of procfs, lists the calling process's descriptors.
pub fn is_own_list(name: &str) -> bool {
    let Some(owner) = name.strip_suffix("/fd").or_else(|| name.strip_suffix("/fdinfo")) else {
        return false;
    };
    let own = std::process::id().to_string();
    let mut parts = owner.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_thread), Some("task"), process) => process == Some(&own),
        (process, ..) => process == Some(&own),
    }
}

/// The directory entries but for the monitor's descriptors. `wide` entries are
/// those of `getdents64(2)`, whose names begin a byte later.
pub fn without_hidden(entries: &[u8], wide: bool) -> Vec<u8> {
    const LENGTH_AT: usize = 16;
    let name_at = if wide { 19 } else { 18 };
    let mut shown = Vec::with_capacity(entries.len());
    let mut rest = entries;
    while let Some(length) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let Some((entry, behind)) = rest.split_at_checked(length).filter(|_| length > name_at)
        else {
            break;
        };
        let name = entry[name_at..].split(|&byte| byte == 0).next().unwrap_or_default();
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        if !number.is_some_and(descriptors::is_ours) {
            shown.extend(entry);
        }
        rest = behind;
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use monitor_sys::descriptors;

    use super::{is_own_list, names_executable, without_hidden};

    fn entry(name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 19];
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[16..18].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn the_monitors_descriptors_are_left_out_of_a_list() {
        let hidden = descriptors::hide(File::open("/dev/null").unwrap()).unwrap();
        let number = hidden.as_raw_fd().to_string();

        let all = [entry("."), entry(&number), entry("2")].concat();

        assert_eq!(without_hidden(&all, true), [entry("."), entry("2")].concat());
    }

    #[test]
    fn only_lists_of_its_own_are_looked_at() {
        let own = std::process::id();

        assert!(is_own_list(&format!("/proc/{own}/fd")));
        assert!(is_own_list(&format!("/proc/{own}/task/{own}/fdinfo")));
        assert!(!is_own_list(&format!("/proc/{own}/task")));
        assert!(!is_own_list("/proc/1/fd") || own == 1);
        assert!(!is_own_list("/fd"));
    }

    #[test]
    fn the_process_knows_its_names() {
        let own = format!("/proc/{}/exe", std::process::id());

        assert!(names_executable(own.as_bytes()));
        assert!(names_executable(b"/proc/self/exe"));
        assert!(names_executable(b"/proc/thread-self/exe"));
    }

    #[test]
    fn other_paths_are_other_files() {
        for path in [&b"/proc/1/exe/x"[..], b"/proc/self/fd", b"proc/self/exe", b"/bin/exe", b""] {
            assert!(!names_executable(path), "{}", path.escape_ascii());
        }
    }
}
