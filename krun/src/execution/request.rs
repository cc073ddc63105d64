//! What is to be started: the bundle's process section with what the command line changes,
//! or the one in the file of `--process`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use spec_compat::{Config, LAST_ID};

use super::ExecError;
use crate::cli::Exec;
use crate::container::store::Entry;

/// The sets that `--cap` adds to. Not the inheritable set (CVE-2022-29162).
const CAPABILITY_SETS: [&str; 3] = ["bounding", "effective", "permitted"];

/// The container's configuration with the process that is to be started.
pub(super) fn config(entry: &Entry, arguments: &Exec) -> Result<Config, ExecError> {
    let kept = fs::read(entry.bundle_json()).map_err(ExecError::Kept)?;
    let mut document: Value =
        serde_json::from_slice(&kept).map_err(|error| ExecError::Kept(error.into()))?;
    let score = document["process"]["oomScoreAdj"].take();
    let name = if let Some(path) = &arguments.process {
        let given = read_process(path)?;
        let containers = std::mem::replace(&mut document["process"], given);
        complete(&mut document["process"], containers);
        format!("--process {}", path.display())
    } else {
        change(&mut document["process"], arguments)?;
        "exec".to_owned()
    };
    // As with runc: all programs of a container weigh the same. None is null.
    document["process"]["oomScoreAdj"] = score;
    Config::parse(document.to_string().as_bytes())
        .map_err(|source| ExecError::Config { name, source })
}

fn read_process(path: &Path) -> Result<Value, ExecError> {
    let fault = |source| ExecError::ReadProcess { path: path.into(), source };
    let bytes = fs::read(path).map_err(fault)?;
    serde_json::from_slice(&bytes).map_err(|error| fault(error.into()))
}

/// Takes what the file does not say from the container's own process, as runc does.
fn complete(process: &mut Value, mut containers: Value) {
    for name in ["capabilities", "rlimits", "apparmorProfile", "selinuxLabel"] {
        let said = &process[name];
        let is_empty = said.as_array().is_some_and(Vec::is_empty) || said == "";
        if said.is_null() || is_empty {
            process[name] = containers[name].take();
        }
    }
}

/// Changes the bundle's process as the options say, as runc does.
fn change(process: &mut Value, arguments: &Exec) -> Result<(), ExecError> {
    if arguments.command.is_empty() {
        return Err(ExecError::NoProgram);
    }
    process["args"] = json!(arguments.command);
    process["terminal"] = json!(arguments.tty);
    if let Some(cwd) = &arguments.cwd {
        process["cwd"] = json!(cwd);
    }
    if let Some(label) = &arguments.process_label {
        process["selinuxLabel"] = json!(label);
    }
    if let Some(profile) = &arguments.apparmor {
        process["apparmorProfile"] = json!(profile);
    }
    if arguments.no_new_privs {
        process["noNewPrivileges"] = json!(true);
    }
    if let Some(user) = &arguments.user {
        let (uid, gid) = parse_user(user).ok_or_else(|| ExecError::User(user.clone()))?;
        process["user"]["uid"] = json!(checked("--user", uid)?);
        if let Some(gid) = gid {
            process["user"]["gid"] = json!(checked("--user", gid)?);
        }
    }
    for gid in &arguments.additional_gids {
        checked("--additional-gids", i64::from(*gid))?;
    }
    append(process, "env", &arguments.env);
    append(&mut process["user"], "additionalGids", &arguments.additional_gids);
    if !arguments.cap.is_empty() {
        let sets = &mut process["capabilities"];
        for set in CAPABILITY_SETS {
            append(sets, set, &arguments.cap);
        }
    }
    Ok(())
}

fn parse_user(text: &str) -> Option<(i64, Option<i64>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Some((uid.parse().ok()?, Some(gid.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// The number of a user or group, unless it is none. The configuration is checked, too: here the option is
/// named.
fn checked(option: &'static str, id: i64) -> Result<i64, ExecError> {
    let is_id = (0..=i64::from(LAST_ID)).contains(&id);
    is_id.then_some(id).ok_or(ExecError::Id { option, id })
}

/// Adds to the list called `name`, which may not be there, and need not be for no items.
fn append<T: serde::Serialize>(section: &mut Value, name: &str, items: &[T]) {
    if items.is_empty() {
        return;
    }
    let list = &mut section[name];
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().into_iter().for_each(|list| list.extend(items.iter().map(|i| json!(i))));
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::{LAST_ID, change, complete};
    use crate::cli::{Cli, Verb};

    fn changed(line: &[&str]) -> Result<Value, String> {
        let words = ["krun", "exec"].iter().chain(line);
        let Some(Verb::Exec(arguments)) = Cli::try_parse_from(words).unwrap().verb else {
            unreachable!("the verb is exec");
        };
        let mut process = json!({
            "args": ["init"], "terminal": true, "cwd": "/", "env": ["A=1"],
            "user": {"uid": 0, "gid": 5, "additionalGids": [7]},
            "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}
        });
        change(&mut process, &arguments).map_err(|error| error.to_string())?;
        Ok(process)
    }

    #[test]
    fn without_options_only_program_and_terminal_change() {
        let process = changed(&["web", "ls", "-l"]).unwrap();

        let expected = json!({
            "args": ["ls", "-l"], "terminal": false, "cwd": "/", "env": ["A=1"],
            "user": {"uid": 0, "gid": 5, "additionalGids": [7]},
            "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}
        });
        assert_eq!(process, expected);
    }

    #[test]
    fn every_option_finds_its_field() {
        let process = changed(&[
            "-t",
            "-u",
            "3:4",
            "-g",
            "8",
            "-e",
            "B=2",
            "--cwd",
            "/tmp",
            "--cap",
            "CAP_CHOWN",
            "--no-new-privs",
            "--apparmor",
            "p",
            "--process-label",
            "l",
            "web",
            "true",
        ])
        .unwrap();

        let expected = json!({
            "args": ["true"], "terminal": true, "cwd": "/tmp", "env": ["A=1", "B=2"],
            "user": {"uid": 3, "gid": 4, "additionalGids": [7, 8]},
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                "permitted": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"]
            },
            "noNewPrivileges": true, "apparmorProfile": "p", "selinuxLabel": "l"
        });
        assert_eq!(process, expected);
    }

    #[test]
    fn a_file_says_what_differs_from_the_containers_process() {
        let containers = json!({"capabilities": {"bounding": []}, "rlimits": [1], "env": ["A=1"]});
        let mut process = json!({"rlimits": [], "apparmorProfile": "p", "noNewPrivileges": true});

        complete(&mut process, containers);

        let expected = json!({
            "capabilities": {"bounding": []}, "rlimits": [1], "apparmorProfile": "p",
            "noNewPrivileges": true, "selinuxLabel": null
        });
        assert_eq!(process, expected);
    }

    #[test]
    fn users_and_groups_that_are_none_are_refused() {
        let refused = [
            ("--user", "2147483648"),
            ("--user", "4294967294"),
            ("--user", "4294967295"),
            ("--user", "4294967296"),
            ("--user", "-1"),
            ("--user", "0:4294967295"),
            ("--additional-gids", "4294967295"),
        ];
        for (option, value) in refused {
            let error = changed(&[&format!("{option}={value}"), "web", "true"]).unwrap_err();

            let id = value.trim_start_matches("0:");
            let words = "uids and gids must be in range 0-2147483647";
            assert_eq!(error, format!("{option}: found {id}: {words}"));
        }
        let last = "2147483647";
        let process = changed(&["-u", &format!("{last}:{last}"), "-g", last, "web", "true"]);
        assert_eq!(process.unwrap()["user"]["uid"], json!(LAST_ID));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert!(changed(&["web"]).unwrap_err().contains("process args cannot be empty"));
        for user in ["root", "1:", ":1", "1:2:3"] {
            let option = format!("--user={user}");
            let error = changed(&[&option, "web", "true"]).unwrap_err();

            assert!(error.contains("expected UID[:GID]"), "{user}: {error}");
        }
    }
}
