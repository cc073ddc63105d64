//! What a process says of itself where the host's answer would be the monitor's.

/// `struct utsname` of the system call: six strings of 65 bytes.
const FIELD: usize = 65;
/// Which of them is the release.
const RELEASE: usize = 2;
/// How many there are.
const FIELDS: usize = 6;

/// The bytes of `uname(2)`, with `suffix` behind the kernel's release, as much
/// of it as fits.
pub fn uname(suffix: Option<&str>) -> Vec<u8> {
    let host = rustix::system::uname();
    let fields = [
        host.sysname().to_bytes(),
        host.nodename().to_bytes(),
        host.release().to_bytes(),
        host.version().to_bytes(),
        host.machine().to_bytes(),
        host.domainname().to_bytes(),
    ];
    let mut bytes = vec![0; FIELD * FIELDS];
    for (at, field) in fields.into_iter().enumerate() {
        let mut text = field.to_vec();
        if at == RELEASE
            && let Some(suffix) = suffix
        {
            text.extend(b".kontain.");
            text.extend(suffix.as_bytes());
        }
        text.truncate(FIELD - 1);
        bytes[at * FIELD..at * FIELD + text.len()].copy_from_slice(&text);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::uname;

    fn release(bytes: &[u8]) -> String {
        let field = &bytes[130..195];
        let end = field.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8(field[..end].to_vec()).unwrap()
    }

    #[test]
    fn the_suffix_stands_behind_the_release() {
        let plain = release(&uname(None));

        assert_eq!(release(&uname(Some("NAME"))), format!("{plain}.kontain.NAME"));
    }

    #[test]
    fn a_long_suffix_leaves_room_for_the_nul() {
        let bytes = uname(Some(&"x".repeat(100)));

        assert_eq!((bytes.len(), release(&bytes).len()), (390, 64));
    }
}
