//! `RLIMIT_NOFILE` of a program, where it is too low for those who make the container.
//!
//! libcontainer sets it before anything else, and would then have too few descriptors. So it is told of more, and
//! the process that becomes the program takes them back in the end. That needs no rights. Hooks of the container
//! come before that.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use spec_compat::Config;

/// As many as are needed, and some.
const ENOUGH: u64 = 256;

/// The least that a virtual machine comes to be with.
const LEAST: u64 = 12;

const NAME: &str = "RLIMIT_NOFILE";

/// What the program is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles(u64, u64);

impl OpenFiles {
    /// The limits, if libcontainer is told of others.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let limits = config.document().pointer("/process/rlimits")?.as_array()?;
        let limit = limits.iter().find(|limit| limit["type"] == NAME)?;
        let found = Self(limit["soft"].as_u64()?, limit["hard"].as_u64()?);
        (found.0 < ENOUGH).then_some(found)
    }

    /// The number, if it is too low for the monitor of a program.
    pub(super) fn too_few(&self) -> Option<u64> {
        (self.1 < LEAST).then_some(self.1)
    }

    /// Gives them to this process.
    pub(super) fn set(&self) -> Result<(), String> {
        // None is no limit.
        let finite = |limit: u64| (limit != u64::MAX).then_some(limit);
        let limit = Rlimit { current: finite(self.0), maximum: finite(self.1) };
        setrlimit(Resource::Nofile, limit)
            .map_err(|errno| format!("process.rlimits: {NAME}: {errno}"))
    }
}

/// Tells libcontainer of more, as far as krun has them itself.
pub(crate) fn leave_room(process: &mut Value) {
    let limits = process.get_mut("rlimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter(|limit| limit["type"] == NAME) {
        let (Some(soft), Some(hard)) = (limit["soft"].as_u64(), limit["hard"].as_u64()) else {
            continue;
        };
        if soft < ENOUGH {
            let highest = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
            let enough = soft.max(ENOUGH.min(highest));
            limit["soft"] = json!(enough);
            limit["hard"] = json!(hard.max(enough));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec_compat::Config;

    use super::{ENOUGH, OpenFiles, leave_room};

    #[test]
    fn few_are_taken_back_and_enough_are_left_alone() {
        for (soft, hard, told) in
            [(7, 8, (ENOUGH, ENOUGH)), (7, 1024, (ENOUGH, 1024)), (512, 1024, (512, 1024))]
        {
            let document = json!({
                "ociVersion": "1.0.2", "root": {"path": "rootfs"},
                "process": {
                    "args": ["sh"], "cwd": "/",
                    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}],
                },
            });
            let config = Config::parse(document.to_string().as_bytes()).unwrap();
            let mut process = config.document()["process"].clone();
            leave_room(&mut process);

            let limit = &process["rlimits"][0];
            assert_eq!(
                (limit["soft"].as_u64(), limit["hard"].as_u64()),
                (Some(told.0), Some(told.1))
            );
            let taken_back = (soft < ENOUGH).then_some(OpenFiles(soft, hard));
            assert_eq!(OpenFiles::of(&config), taken_back);
        }
    }
}
