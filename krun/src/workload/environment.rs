//! The workload's environment, as runc makes it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// How much of `passwd` is read: the file is the image's, and may be endless.
const LARGEST_PASSWD: u64 = 1 << 20;

/// The bundle's variables in their order; of a name given twice the last value counts.
///
/// `HOME` is taken from `passwd` if it is missing or empty, and is `/` for a user who is
/// not in there.
pub(super) fn prepare(variables: &[String], uid: u32, passwd: &Path) -> Vec<String> {
    let mut prepared: Vec<String> = Vec::with_capacity(variables.len() + 1);
    for variable in variables {
        let same_name = |other: &String| name_of(other) == name_of(variable);
        match prepared.iter().position(same_name) {
            Some(position) => prepared[position].clone_from(variable),
            None => prepared.push(variable.clone()),
        }
    }
    prepared.retain(|variable| variable != "HOME=");
    if value_of(&prepared, "HOME").is_none() {
        // Not getpwuid(3): in a static binary it loads libraries, and here they would be
        // the container's.
        let home = read_beginning(passwd).ok().and_then(|text| home_of(&text, uid));
        prepared.push(format!("HOME={}", home.as_deref().unwrap_or("/")));
    }
    prepared
}

fn read_beginning(path: &Path) -> io::Result<String> {
    // A pipe of this name must not block us.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_PASSWD).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of `name`.
pub(super) fn value_of<'a>(variables: &'a [String], name: &str) -> Option<&'a str> {
    variables.iter().find_map(|variable| match variable.split_once('=') {
        Some((found, value)) if found == name => Some(value),
        _ => None,
    })
}

fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

fn home_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields.as_slice() {
            [_, _, id, _, _, home, ..] if id.parse() == Ok(uid) && !home.is_empty() => {
                Some((*home).to_owned())
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::prepare;

    fn variables(list: &[&str]) -> Vec<String> {
        list.iter().map(|&variable| variable.to_owned()).collect()
    }

    #[test]
    fn the_last_value_of_a_name_counts_at_the_place_of_the_first() {
        let given = variables(&["A=1", "HOME=/h", "A=2", "B=x=y"]);

        let prepared = prepare(&given, 0, Path::new("/nonexistent"));

        assert_eq!(prepared, ["A=2", "HOME=/h", "B=x=y"]);
    }

    #[test]
    fn a_missing_or_empty_home_comes_from_passwd() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/sh\nbroken\nu:x:7:7::/home/u:\n").unwrap();

        for (given, uid, expected) in [
            (variables(&[]), 0, "HOME=/root"),
            (variables(&["HOME="]), 7, "HOME=/home/u"),
            (variables(&[]), 8, "HOME=/"),
        ] {
            assert_eq!(prepare(&given, uid, &passwd), [expected]);
        }
    }
}
