//! A container's name, which is also a file's name.

use std::fmt;
use std::path::Path;

/// The longest name of a file on Linux's file systems.
const LONGEST: usize = 255;

/// A name that is safe to use as a directory's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerId(String);

/// A name no container can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdError {
    /// Nothing at all.
    #[error("container id cannot be empty")]
    Empty,
    /// Characters outside `[A-Za-z0-9_+.-]`, `.` or `..`, or too many of them.
    #[error("invalid container ID format: {0:?}")]
    Format(String),
}

impl ContainerId {
    /// Accepts what runc accepts.
    pub(crate) fn parse(text: &str) -> Result<Self, IdError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        match text {
            "" => Err(IdError::Empty),
            "." | ".." => Err(IdError::Format(text.into())),
            _ if text.len() > LONGEST || !text.chars().all(is_allowed) => {
                Err(IdError::Format(text.into()))
            }
            _ => Ok(Self(text.into())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerId, IdError};

    #[test]
    fn names_of_engines_are_accepted() {
        for name in ["a", "0f3c", "web_1", "a+b", "x.y-z", "...", &"f".repeat(255)] {
            assert_eq!(ContainerId::parse(name).map(|id| id.as_str().to_owned()), Ok(name.into()));
        }
    }

    #[test]
    fn names_that_would_leave_the_state_directory_are_refused() {
        for name in [".", "..", "../x", "/x", "x/y", "x\0", "ä", "a b", "a\n", &"f".repeat(256)] {
            assert_eq!(ContainerId::parse(name), Err(IdError::Format(name.into())));
        }
        assert_eq!(ContainerId::parse(""), Err(IdError::Empty));
    }
}
