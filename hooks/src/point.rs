//! The six points, in the order a container reaches them.

use std::fmt;

/// A moment of a container's life at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The namespaces exist. Deprecated, but it is what dockerd sets networks up with.
    Prestart,
    /// The namespaces exist; runs in the host's.
    CreateRuntime,
    /// Before the root file system is entered; runs in the container's namespaces.
    CreateContainer,
    /// `start` was called; runs in the container, before the program.
    StartContainer,
    /// The program has been started; runs in the host's namespaces.
    Poststart,
    /// The container has been deleted; runs in the host's namespaces.
    Poststop,
}

impl Point {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The field of `config.json` that lists the point's hooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// The point with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.name() == name)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn every_point_is_found_by_its_name() {
        for point in Point::ALL {
            assert_eq!(Point::named(point.name()), Some(point));
        }
        assert_eq!(Point::named("prestop"), None);
    }
}
