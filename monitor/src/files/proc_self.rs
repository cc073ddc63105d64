//! The names under `/proc` by which a process asks for itself.

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

#[cfg(test)]
mod tests {
    use super::names_executable;

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
