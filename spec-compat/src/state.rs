//! The state of a container, as `krun state` prints it and hooks read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has not returned yet.
    Creating,
    /// The program is ready and waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program is frozen.
    Paused,
    /// The program has ended, or never came to be.
    Stopped,
}

impl Status {
    /// The word the specification has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state document, with runc's additions to the specification's fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification the document follows.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The program's process ID on the host; 0 once it has ended.
    pub pid: i32,
    /// Where the container is in its life.
    pub status: Status,
    /// The bundle's directory.
    pub bundle: String,
    /// The root file system's directory.
    pub rootfs: String,
    /// When the container was created (RFC 3339).
    pub created: String,
    /// The bundle's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The creator's user name.
    pub owner: String,
    /// How the container's programs run, `vm` or `native`: krun's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// The rule of the host's policy that says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
}

impl State {
    /// The document with runc's indentation and without a line end.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text and numbers can always be written")
    }

    /// The document as hooks get it: the specification's own fields, on one line. Where there is no process
    /// there is no number.
    pub fn to_hook_json(&self) -> String {
        let mut document = serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": self.status,
        });
        if self.pid != 0 {
            document["pid"] = self.pid.into();
        }
        document["bundle"] = self.bundle.as_str().into();
        document["annotations"] = serde_json::json!(self.annotations);
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{State, Status};

    fn state() -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "web".into(),
            pid: 42,
            status: Status::Running,
            bundle: "/bundle".into(),
            rootfs: "/bundle/rootfs".into(),
            created: "2026-01-02T03:04:05.678901234Z".into(),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            mode: String::new(),
            rule: String::new(),
            owner: String::new(),
        }
    }

    #[test]
    fn the_state_has_every_field_runc_prints_in_its_order() {
        let expected = r#"{
  "ociVersion": "1.3.0",
  "id": "web",
  "pid": 42,
  "status": "running",
  "bundle": "/bundle",
  "rootfs": "/bundle/rootfs",
  "created": "2026-01-02T03:04:05.678901234Z",
  "annotations": {
    "a": "b"
  },
  "owner": ""
}"#;

        assert_eq!(state().to_json(), expected);
    }

    #[test]
    fn a_hook_reads_the_fields_of_the_specification() {
        let json = state().to_hook_json();

        assert!(!json.contains('\n'));
        for field in ["ociVersion", "id", "status", "pid", "bundle", "annotations"] {
            assert!(json.contains(&format!("\"{field}\":")), "{field} is missing in {json}");
        }
    }

    #[test]
    fn a_hook_reads_no_number_of_a_process_that_has_ended() {
        let ended = State { pid: 0, status: Status::Stopped, ..state() };

        assert!(!ended.to_hook_json().contains("pid"), "{}", ended.to_hook_json());
        assert!(ended.to_json().contains("\"pid\": 0"), "{}", ended.to_json());
    }
}
