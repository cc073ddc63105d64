//! `krun ps`: the processes of a container, by their numbers on the host.

use std::io;
use std::process::Command;

use super::VerbError;
use crate::cli::{Global, Ps, Table};
use crate::container::{cgroups, process};

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PsError {
    /// The host's ps(1) cannot be started.
    #[error("run the host's ps")]
    Start(#[source] io::Error),
    /// It does not like its options.
    #[error("ps: {0}")]
    Failed(String),
    /// Which line is whose cannot be told.
    #[error("couldn't find PID field in ps output: choose options that show it")]
    NoPid,
}

pub(super) fn ps(global: &Global, arguments: &Ps) -> Result<(), VerbError> {
    let record = super::store(global).find(&arguments.id)?.load()?;
    // A virtual machine's kernel thread is in the cgroup, too, and no process of the container's.
    let mut processes = cgroups::processes(&record.cgroups);
    processes.retain(|&pid| !process::look(pid).is_some_and(|look| look.is_of_the_kernel));
    if arguments.format == Table::Json {
        return super::print(&format!("{}\n", serde_json::json!(processes)));
    }
    let table = run_ps(&arguments.options)?;
    super::print(&lines_of(&table, &processes)?)
}

fn run_ps(options: &[String]) -> Result<String, PsError> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    }
    let output = command.args(options).output().map_err(PsError::Start)?;
    if !output.status.success() {
        return Err(PsError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header, and the lines whose `PID` is one of `processes`.
fn lines_of(table: &str, processes: &[i32]) -> Result<String, PsError> {
    let header = table.lines().next().unwrap_or_default();
    let column = header.split_whitespace().position(|word| word == "PID").ok_or(PsError::NoPid)?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid| processes.contains(&pid))
    };
    let ours = table.lines().skip(1).filter(is_ours);
    Ok(std::iter::once(header).chain(ours).fold(String::new(), |all, line| all + line + "\n"))
}

#[cfg(test)]
mod tests {
    use super::lines_of;

    #[test]
    fn only_lines_of_the_container_follow_the_header() {
        let table = "UID  PID  PPID CMD\nroot 1 0 init 7\nroot 7 1 sh\n";

        assert_eq!(lines_of(table, &[7, 9]).unwrap(), "UID  PID  PPID CMD\nroot 7 1 sh\n");
    }

    #[test]
    fn a_table_without_process_ids_is_refused() {
        assert!(lines_of("CMD\nsh\n", &[7]).is_err());
    }
}
