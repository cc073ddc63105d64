//! Users in a user namespace.

use std::fs;

/// The number that stands for users who have none in this user namespace.
pub fn nobody() -> u32 {
    const USUAL: u32 = 65534;
    let number = fs::read_to_string("/proc/sys/kernel/overflowuid");
    number.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL)
}

/// Whether users of this process are not those of the whole host.
pub fn is_in_user_namespace() -> bool {
    // A kernel without user namespaces has no such file.
    let map = fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}
