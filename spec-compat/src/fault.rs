//! What can be wrong with a `config.json`, said so that it can be put right at once.

use std::fmt;

/// One thing that is wrong: where, what is there, what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `process.args` or `mounts[3].destination`.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.field, self.found, self.expected)
    }
}

/// Why bytes are no usable `config.json`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The bytes are not JSON.
    #[error("not valid JSON: {reason} at line {line} column {column}")]
    Syntax {
        /// What the parser stumbled over.
        reason: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The JSON says something that cannot be run. Never empty.
    #[error("{}", listed(.0))]
    Faults(Vec<Fault>),
}

fn listed(faults: &[Fault]) -> String {
    match faults {
        [only] => only.to_string(),
        many => {
            let lines = many.iter().enumerate().map(|(i, fault)| format!("({}) {fault}", i + 1));
            format!("{} faults: {}", many.len(), lines.collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, Fault};

    fn fault(field: &str) -> Fault {
        Fault { field: field.into(), found: "nothing".into(), expected: "a path".into() }
    }

    #[test]
    fn one_fault_is_said_without_a_number() {
        let error = ConfigError::Faults(vec![fault("root.path")]);

        assert_eq!(error.to_string(), "root.path: found nothing, expected a path");
    }

    #[test]
    fn several_faults_are_counted_and_numbered() {
        let error = ConfigError::Faults(vec![fault("a"), fault("b")]);

        assert_eq!(
            error.to_string(),
            "2 faults: (1) a: found nothing, expected a path; (2) b: found nothing, expected a path"
        );
    }
}
