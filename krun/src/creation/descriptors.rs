//! Descriptors the caller passes to the program: `--preserve-fds` and systemd's `LISTEN_FDS`.

use std::env;
use std::path::Path;
use std::process;

use super::CreateError;

/// The first descriptor behind standard input, output and error.
const FIRST: u32 = 3;

/// Demands that the `count` descriptors to be preserved are open.
///
/// A number that is free would be taken by the next file krun opens.
pub(crate) fn demand_open(count: u16) -> Result<(), CreateError> {
    for descriptor in FIRST..FIRST + u32::from(count) {
        if Path::new("/proc/self/fd").join(descriptor.to_string()).symlink_metadata().is_err() {
            return Err(CreateError::Preserve { descriptor, count });
        }
    }
    Ok(())
}

/// `variables`, and those of socket activation if it was meant for krun.
///
/// libcontainer keeps the descriptors open, but puts the variables into a copy of the
/// environment that we do not use.
pub(super) fn with_listen_variables(variables: &[String]) -> Vec<String> {
    let mut variables = variables.to_vec();
    let count = env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<u16>().ok());
    let is_meant = env::var("LISTEN_PID").is_ok_and(|pid| pid == process::id().to_string());
    if let Some(count) = count.filter(|&count| is_meant && count > 0) {
        variables.push(format!("LISTEN_FDS={count}"));
        variables.push("LISTEN_PID=1".to_owned());
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::demand_open;

    #[test]
    fn a_descriptor_that_is_not_open_is_named() {
        assert!(demand_open(0).is_ok());

        let error = demand_open(60_000).unwrap_err();

        assert!(error.to_string().contains("it is not open"), "{error}");
    }
}
